"""The page in a real browser: what an operator clicks, in both themes."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from local.console.browser import chromium, drawn, open_page, served, wait_for_page
from local.console.scene import Scene
from local.console.server import ConsoleServer

pytestmark = [pytest.mark.browser, pytest.mark.enable_socket]

POISON = "<img src=x onerror=alert(1)></cwdb-action><script>alert(2)</script>"
_NAMED = {"button", "link", "textbox", "combobox", "checkbox", "image", "table", "region"}


@pytest.fixture(scope="module")
def scene() -> Scene:
    scene = Scene()
    tags = {"note": "x" * 50_000}
    scene.day.batch.submit(POISON, "cpu", seconds=3_600, array_size=3, tags=tags)
    scene.day.pass_time(2)
    return scene


@pytest.fixture(scope="module")
def server(scene: Scene) -> Iterator[ConsoleServer]:
    with served(scene) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


class Operator:
    """Somebody who looks at the page, and clicks."""

    def __init__(self, browser: Chrome) -> None:
        self._browser = browser

    @property
    def text(self) -> str:
        return str(self._browser.find_element(By.ID, "widget").text)

    def click(self, name: str, *, confirm: bool | None = None, starts: bool = False) -> None:
        """Click a control by its accessible name (or its start), and answer what it asks."""
        before = drawn(self._browser)
        self._control(name, starts=starts).click()
        if confirm is not None:
            self._browser.find_element(By.ID, "yes" if confirm else "no").click()
        if confirm is not False:
            wait_for_page(self._browser, before)

    def press(self, name: str) -> None:
        """Press Enter on a control."""
        before = drawn(self._browser)
        self._control(name).send_keys(Keys.ENTER)
        wait_for_page(self._browser, before)

    def write(self, field: str, text: str) -> None:
        self._browser.find_element(By.NAME, field).send_keys(text)

    def unnamed(self) -> list[str]:
        """The controls, pictures and sections that have no accessible name."""
        tree = self._browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [
            node["role"]["value"]
            for node in tree
            if node.get("role", {}).get("value") in _NAMED - {"table", "region"}
            and not node.get("ignored")
            and not node.get("name", {}).get("value")
        ]

    def _control(self, name: str, *, starts: bool = False) -> Any:
        every = self._browser.find_elements(By.CSS_SELECTOR, "#widget a[role=button]")
        named = [
            each
            for each in every
            if name in (each.accessible_name, each.text)
            or (starts and each.accessible_name.startswith(name))
        ]
        assert named, f"{name}: there are {[each.accessible_name for each in every]}"
        return named[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_operator_looks_at_an_array_and_a_job_and_exempts_it(
    browser: Chrome, server: ConsoleServer, theme: str
) -> None:
    open_page(browser, server, theme)
    operator = Operator(browser)
    assert "Arrays at work" in operator.text
    assert operator.unnamed() == []

    operator.click("Array render-film")
    assert "All indices" in operator.text
    assert "OutOfMemoryError" in operator.text
    assert operator.unnamed() == []

    operator.click("Overview")
    operator.click("Job segment-scans")
    assert "no-gpu-instances" in operator.text
    assert operator.unnamed() == []

    operator.write("by", "jane")
    operator.click("Exempt from limits", confirm=True)
    assert re.search(r"exempt: \S+ is exempt from limits until", operator.text)

    operator.click("Overview")
    assert "Exempt from limits" in operator.text
    assert "jane (by the page's word)" in operator.text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_operator_holds_the_watchdog_and_resumes_it(
    browser: Chrome, server: ConsoleServer, theme: str
) -> None:
    open_page(browser, server, theme)
    operator = Operator(browser)

    operator.click("Hold", confirm=False)
    assert "Held since" not in operator.text

    operator.click("Hold", confirm=True)
    assert "Held since" in operator.text
    assert operator.unnamed() == []

    operator.click("Resume", confirm=True)
    assert "Held since" not in operator.text


@pytest.mark.parametrize("page", ["Actions", "Rules", "Check"])
def test_the_other_pages_are_drawn_and_reached_by_keyboard(
    browser: Chrome, server: ConsoleServer, page: str
) -> None:
    open_page(browser, server, "light")
    operator = Operator(browser)

    operator.press(page)

    headings = {"Actions": "Actions and commands", "Rules": "The policy in force"}
    assert headings.get(page, "Whether the watchdog can do its work") in operator.text
    assert operator.unnamed() == []


def test_the_two_themes_differ(browser: Chrome, server: ConsoleServer) -> None:
    colours = set()
    for theme in ("light", "dark"):
        open_page(browser, server, theme)
        page = browser.find_element(By.CSS_SELECTOR, ".bw")
        colours.add(page.value_of_css_property("background-color"))

    assert len(colours) == 2


def test_a_name_that_is_markup_is_text(browser: Chrome, server: ConsoleServer) -> None:
    open_page(browser, server, "light")
    operator = Operator(browser)

    for control in ("Array ‹img src=x onerror=alert(1)›", "Explain this job"):
        assert browser.find_elements(By.CSS_SELECTOR, "#widget img, #widget script") == []
        assert "onerror=alert(1)" in operator.text
        operator.click(control, starts=True)

    assert "note = xxxx" in operator.text
