"""A headless Chromium, for tests of pages."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARGUMENTS = "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"
WITHOUT = "needs chromium and chromedriver: apt-get install chromium chromium-driver"
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=WITHOUT)


def browser(*more: str):
    """A driver, whose console is kept; `more`: arguments beside the usual ones. Skips where one of the two programs
    or selenium is missing."""
    if not (CHROMIUM and DRIVER):
        pytest.skip(WITHOUT)
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, of the dev extra")
    options = webdriver.ChromeOptions()
    for argument in (*ARGUMENTS, *more):
        options.add_argument(argument)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
