"""A headless Chromium, for tests of pages."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decoders_bench.report.document import document
from decoders_bench.report.gather import gather
from decoders_bench.report.page import page

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


def report_of(runs, path: Path) -> Iterator[tuple[Any, dict[str, Any], str]]:
    """A driver, the document of a report of the runs, and the address of its page, which is written to `path`."""
    made = document(gather(runs))
    path.write_text(page(made, "a run"), encoding="utf-8")
    driver = browser("--force-prefers-reduced-motion")
    yield driver, made, path.as_uri()
    driver.quit()


def opened(shown, width: int):
    """The page of a report, in a window of that width: `shown` is a driver, the document, and the address."""
    driver, made, address = shown
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(address)
    wait(
        lambda: driver.execute_script(
            "return document.documentElement.dataset.ready === 'true' && !!document.querySelector('.mark')"
        )
    )
    return driver, made


def wait(until, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.02)
    return found


def texts(driver, selector: str) -> list[str]:
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector
    )


def find(driver, selector: str):
    """The element, in the middle of the window and clear of the bar, once the scrolling is over."""
    element = driver.find_element("css selector", selector)
    driver.execute_async_script(
        "arguments[0].scrollIntoView({block: 'center'}); requestAnimationFrame(() => "
        "requestAnimationFrame(arguments[1]))",
        element,
    )
    return element


def click(driver, selector: str) -> None:
    find(driver, selector).click()


def press(driver, selector: str, key: str) -> None:
    find(driver, selector).send_keys(key)


def choose(driver, selector: str, value: object) -> None:
    driver.execute_script(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new "
        "Event(arguments[2], {bubbles: true}))",
        selector, str(value), "input" if "range" in selector or "find" in selector else "change",
    )  # fmt: skip
