"""Take the pictures of the operator's page for the README (`make pictures`)."""

import sys
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from local.console.browser import chromium, drawn, open_page, served, wait_for_page
from local.console.scene import Scene

FOLDER = Path("docs/pictures")
_ARRAY = '[aria-label="Array render-film"]'


def main() -> int:
    """Take all pictures again. Return the exit status."""
    with served(Scene()) as server, chromium() as browser:
        for theme in ("light", "dark"):
            open_page(browser, server, theme)
            _take(browser, f"overview-{theme}.png", 980)
            before = drawn(browser)
            browser.find_element(By.CSS_SELECTOR, _ARRAY).click()
            wait_for_page(browser, before)
            _take(browser, f"array-{theme}.png", 760)
    return 0


def _take(browser: Chrome, name: str, height: int) -> None:
    # The shell's header is not a part of the page.
    browser.execute_script("document.querySelector('header').hidden = true")
    browser.execute_script("document.querySelector('header').style.display = 'none'")
    browser.set_window_size(1_100, height)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_bytes(browser.get_screenshot_as_png())


if __name__ == "__main__":
    sys.exit(main())
