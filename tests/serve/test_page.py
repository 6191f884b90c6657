"""The page at `/` in a headless Chromium: two canvases settle, the slider goes back, mistakes are told, and it fits a
phone."""

from __future__ import annotations

import pytest

from support.browser import browser
from support.serving import until


def test_the_page_is_self_contained(server):
    answer = server.http.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "/* style */" not in answer.text
    assert "https://" not in answer.text


@pytest.fixture(scope="module")
def driver():
    found = browser()
    yield found
    found.quit()


def opened(driver, server, width):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.get(server.url)
    until(lambda: driver.execute_script("return model"))


def value(driver, name, text):
    driver.execute_script("document.getElementById(arguments[0]).value = arguments[1]", name, text)


def run(driver):
    driver.execute_script("document.getElementById('ask').requestSubmit()")
    until(lambda: driver.execute_script("return document.getElementById('run').textContent === 'Run'"), 60)


def canvases(driver):
    return driver.execute_script("return lanes.map(l => l.canvas.textContent)")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium's sockets
@pytest.mark.parametrize("width", [1280, 390])
def test_two_canvases_settle_and_can_be_gone_back_in(driver, server, alone, width):
    opened(driver, server, width)
    value(driver, "prompt", "Sort: k c x a t"), value(driver, "length", "12")
    run(driver)
    own = alone("Sort: k c x a t", length=12)[0]
    assert canvases(driver) == [own.text] * 2
    assert driver.execute_script("return lanes[0].end.forwards") == own.nfe
    driver.execute_script("$('step').value = 1; $('step').dispatchEvent(new Event('input'))")
    assert canvases(driver)[1].count("·") > 5
    driver.execute_script("document.querySelector('[value=sure]').click()")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert [e for e in driver.get_log("browser") if e["level"] == "SEVERE"] == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_marked_span_is_filled_and_a_mistake_told(driver, server):
    opened(driver, server, 1280)
    value(driver, "prompt", "Sort: d b a c\n a b c d")
    driver.execute_script("$('prompt').setSelectionRange(17, 18); $('hole').click()")
    assert driver.execute_script("return $('prompt').value") == "Sort: d b a c\n a<|mask|> c d"
    run(driver)
    assert canvases(driver) == ["Sort: d b a c\n a b c d"] * 2
    driver.execute_script("lanes[1].spec.value = 'os:system'")
    run(driver)
    told = driver.execute_script("return $('problem').textContent")
    assert "which a request may not" in told
