"""Control a headless Chromium, for tests and pictures of the operator's page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.ui import WebDriverWait

from local.console.scene import Scene
from local.console.server import ConsoleServer

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S = 30


@contextmanager
def served(scene: Scene) -> Iterator[ConsoleServer]:
    """Serve a scene in which virtual time does not pass."""
    with ConsoleServer(0, scene, speed=0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


@contextmanager
def chromium(width: int = 1_100, height: int = 1_000) -> Iterator[Chrome]:
    """
    Start the browser, and end it afterwards. Sizes are in pixels.

    Raises:
        FileNotFoundError: Chromium or its driver is not installed.
    """
    binary = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        raise FileNotFoundError("Chromium and its driver are needed: Debian's chromium-driver")
    options = ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",  # containers and CI run as root; only our own page is loaded
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    browser = Chrome(options=options, service=ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def drawn(browser: Chrome) -> int:
    """Return how many pages have been drawn since the shell was loaded."""
    return int(
        browser.execute_script("return document.getElementById('widget').dataset.drawn") or 0
    )


def wait_for_page(browser: Chrome, before: int) -> None:
    """Wait until more than `before` pages have been drawn."""
    WebDriverWait(browser, _PATIENCE_S).until(lambda _: drawn(browser) > before)


def open_page(browser: Chrome, server: ConsoleServer, theme: str) -> None:
    """Open the overview, without its periodic refresh."""
    browser.get(f"{server.address}?still&theme={theme}")
    wait_for_page(browser, 0)
