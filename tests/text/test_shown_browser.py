"""The replay of a `Generation` in a headless Chromium: it scrubs, plays, and runs nothing that a model wrote."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decoders import Generator
from decoders.text.trace import Trace
from support.browser import browser, needs_browser, wait

pytestmark = [
    needs_browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # selenium's sockets
]
NASTY = "</script><script>document.title='boom'</script><img src=x onerror=\"document.title='boom'\">"


@pytest.fixture
def shown(tmp_path):
    nothing = {"committed": [], "edited": [], "reopened": []}
    one, two = ({"position": p, "token": t, "confidence": 0.5} for p, t in ((3, 1), (4, 2)))
    steps = nothing | {"committed": [one, two]}, nothing | {"reopened": [two]}, nothing | {"committed": [two]}
    (g,) = Generator("nano")("Sort: b a", length=8)
    g = replace(g, commit_steps=(0, 2), nfe=3, finish_reason="length", trace=Trace((3, 4), steps, {1: " a", 2: NASTY}))
    (tmp_path / "x.html").write_text(f"<title>fine</title>{g._repr_html_()}{g._repr_html_()}", encoding="utf-8")
    driver = browser()
    driver.get((tmp_path / "x.html").as_uri())
    yield driver
    driver.quit()


def slots(driver) -> list[str]:
    return driver.execute_script("return [...document.querySelectorAll('div[id] span[title]')].map(x => x.textContent)")


def test_the_replay_scrubs_plays_and_runs_nothing(shown):
    assert slots(shown) == [" a", NASTY] * 2
    scrub = """
        const slider = document.querySelector('input'); slider.value = arguments[0];
        slider.dispatchEvent(new Event('input'));
        const [text, control] = document.querySelector('div[id]').children;
        return [[...text.children].map(x => x.textContent), control.lastChild.textContent];
    """
    assert shown.execute_script(scrub, 0) == [["\u00b7", "\u00b7"], "forward 0 of 3"]
    assert shown.execute_script(scrub, 1) == [[" a", NASTY], "forward 1 of 3"]
    assert shown.execute_script(scrub, 2) == [[" a", "\u00b7"], "forward 2 of 3"]
    assert slots(shown)[2:] == [" a", NASTY]  # the other one stands still
    shown.execute_script("document.querySelector('button').click()")
    label = "return document.querySelector('div[id]').children[1].lastChild.textContent"
    wait(lambda: shown.execute_script(label) == "forward 3 of 3")
    assert shown.title == "fine"
    assert shown.get_log("browser") == []
