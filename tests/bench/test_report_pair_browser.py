"""One decoder against another at the top of the page of `decoders bench report`, in a headless Chromium: its charts,
the items that decide, and one of them under both, on a desk, on a phone and on paper."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from support.browser import choose, click, find, needs_browser, opened, press, report_of, texts, wait
from support.quality_runs import detailed, rows, write_run

pytestmark = [
    needs_browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # selenium's sockets
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A driver, the document, and the address of its page. Four items of every cell can be replayed, of the first
    wording with what the model predicted."""
    where = tmp_path_factory.mktemp("page")
    own = rows(items=12)
    runs = [
        write_run(where / "new", [r for r in own if r.template == 0], traces=4, traced=detailed),
        write_run(where / "old", [r for r in own if r.template == 1]),
    ]
    yield from report_of(runs, where / "report.html")


@pytest.fixture
def desk(shown):
    return opened(shown, 1280)


def pair_of(made, view: int = 0, baseline: int = 0, axis: str = "forwards", mine: int | None = None):
    own = made["views"][view]["against"][baseline]["axes"][axis]
    return next(c for c in own if c["series"] == (made["mine"] if mine is None else mine))


def test_it_is_the_first_thing_on_the_page_with_the_verdict_in_one_sentence(desk):
    driver, made = desk
    assert driver.execute_script("return document.querySelector('main > section').id") == "duel"
    found = pair_of(made)
    assert texts(driver, "#headline") == [found["sentence"].replace("`", "")]
    assert texts(driver, "#duel-title") == ["factor against threshold"]
    assert texts(driver, "#counted") == [found["counted"].replace("`", "")]
    settings = sum(s["series"] in (found["series"], found["base"]) for s in made["settings"])
    assert len(texts(driver, "#chart-duel .mark")) == settings
    assert len(texts(driver, "#chart-duel .curve")) == len(texts(driver, "#chart-duel .band")) == 2
    assert len(texts(driver, "#chart-gap .mark .interval")) == len(found["lines"])
    ends = sum((x["low"] is None) + (x["high"] is None) for x in found["lines"])
    assert len(texts(driver, "#chart-gap .open-end")) == ends
    assert len(texts(driver, "#chart-gap .curve")) == len(texts(driver, "#chart-gap .band")) == 1
    assert set(texts(driver, "#chart-duel .label")) <= {"f=1.0", "f=2.0", "tau=0.5", "tau=0.7", "tau=0.9"}
    first = "return ['duel', 'gap'].map((x) => document.querySelector(`#chart-${x} .axes text`).getAttribute('x'))"
    assert len(set(driver.execute_script(first))) == 1


def test_the_menus_choose_both_decoders_and_the_cost(desk):
    driver, made = desk
    baselines = [x["baseline"] for x in made["views"][0]["against"]]
    llada = made["series"].index("llada")
    choose(driver, "#mine", llada)
    assert texts(driver, "#headline") == [pair_of(made, mine=llada)["sentence"].replace("`", "")]
    choose(driver, "#baseline", baselines.index("factor"))
    choose(driver, "#axis", "positions")
    found = pair_of(made, baseline=baselines.index("factor"), axis="positions", mine=llada)
    assert texts(driver, "#headline") == [found["sentence"].replace("`", "")]
    assert texts(driver, "#duel-title") == ["llada against factor"]
    assert "positions an item →" in texts(driver, "#chart-duel .axes .name")
    assert len(texts(driver, "#deciding li")) == len(found["items"])
    choose(driver, "#baseline", baselines.index("llada"))  # a decoder is not held against itself: another one is
    assert texts(driver, "#duel-title")[0].endswith(" against llada")
    assert not texts(driver, "#duel-title")[0].startswith("llada")


def test_the_items_that_decide_lead_to_their_replays_under_both(desk):
    driver, made = desk
    found = pair_of(made)
    there = {(t["setting"], t["question"]) for t in made["traces"]}
    both = [(a, q) in there and (b, q) in there for q, _, a, b in found["items"]]
    assert any(both)
    assert len(texts(driver, "#deciding .replayed")) == sum(both)
    first = both.index(True)
    question, _, mine, base = found["items"][first]
    q = made["questions"][question]
    assert texts(driver, "#deciding [aria-pressed='true']")[0].startswith(f"{q['task']} · item {q['item']}")
    named = f"{q['task']} · item {q['item']} · wording {q['template']} · seed {q['seed']}"
    assert texts(driver, "#sides .byline") == [named]
    assert texts(driver, "#sides .side-head .plain") == [made["settings"][s]["label"] for s in (mine, base)]
    right = [made["outcomes"][s][question][0] for s in (mine, base)]
    assert texts(driver, "#sides .badge") == ["✓ right" if x else "✗ wrong" for x in right]
    assert sorted(right) == [0, 1]
    last = len(found["items"])
    click(driver, f"#deciding li:nth-child({last}) button")
    q = made["questions"][found["items"][-1][0]]
    assert texts(driver, "#sides .byline")[0].startswith(f"{q['task']} · item {q['item']} · wording {q['template']}")


def test_both_go_step_by_step_with_what_was_predicted_and_why(desk):
    driver, _ = desk
    slider = "#sides input[type=range]"
    choose(driver, slider, 0)
    assert texts(driver, "#sides .changes h4 .whose ~ *") == []
    assert [x.split(": ")[-1] for x in texts(driver, "#sides .changes h4")] == ["nothing is decided yet"] * 2
    press(driver, slider, "\ue014")  # right
    assert texts(driver, "#sides .count") == ["forward 1 of 5"]
    for head, phase in zip(texts(driver, "#sides .changes h4"), (" (draft)", ""), strict=True):
        assert head.endswith(f"2 places in forward 1{phase}")
    told = driver.execute_script(
        "return [...document.querySelectorAll('#sides .side')].map((s) => "
        "[...s.querySelectorAll('.changes li')].map((e) => e.innerText))"
    )
    assert [len(x) for x in told] == [2, 2]
    mine, base = (x[0] for x in told)  # the less sure of the two comes first
    for text in (mine, base):
        assert "is 0.912 · forward 1 · entropy 0.25" in text.replace("\n", " ")
        assert "2nd surest of 5" in text
        assert "next: </script> 0.004   three 0.001" in " ".join(text.split("\n")).replace("\xa0", " ")
    assert "chosen by its rule" in mine
    assert "threshold passed" in base
    press(driver, "#sides .side:nth-child(2) .canvas", "\ue014")
    tip = texts(driver, "#tip:not([hidden])")[0]
    assert "place 2" in tip
    press(driver, "#sides .side:nth-child(2) .canvas", "\ue00c")
    press(driver, slider, " ")
    wait(lambda: texts(driver, "#sides .count") == ["forward 3 of 5"])
    press(driver, slider, " ")


def test_the_places_at_which_they_part_are_told_side_by_side(desk):
    driver, _ = desk
    rows_ = driver.execute_script(
        "return [...document.querySelectorAll('#sides .parting tbody tr')].map((r) => "
        "[...r.children].map((c) => c.innerText))"
    )
    assert [r[0] for r in rows_] == ["6"]
    assert rows_[0][1] != rows_[0][2]
    assert texts(driver, "#sides .piece.differs")


def test_a_run_without_what_was_predicted_says_so_and_one_without_a_replay_tells_how_to_get_it(desk):
    driver, made = desk
    found = pair_of(made)
    asked = [made["questions"][q] for q, *_ in found["items"]]
    old = next(i for i, q in enumerate(asked) if q["template"] == 1 and q["item"])
    click(driver, f"#deciding li:nth-child({old + 1}) button")
    assert "--replays 4" in texts(driver, "#sides .side .note")[0]
    choose(driver, "#item-template", 1)
    choose(driver, ".replay input[type=range]", 1)
    assert "what the model said here was not recorded" in texts(driver, ".replay .changes .why")[0]


def beyond(driver, selector: str, edge: int, without: str) -> list[str]:
    """What reaches over the right edge."""
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter((e) => "
        "e.getBoundingClientRect().right > arguments[1] && !e.closest(arguments[2]))"
        ".map((e) => e.outerHTML.slice(0, 80))",
        selector, edge + 1, without,
    )  # fmt: skip


def test_an_item_that_both_can_replay_is_shown_where_none_of_those_that_decide_can_be(tmp_path):
    own = [r for r in rows(items=12, templates=1) if r.curve in ("threshold", "llada")]
    alike = [replace(r, right=True) if r.item == 0 else r for r in own]  # the one that has a trace decides nothing
    for driver, made, address in report_of([write_run(tmp_path / "run", alike)], tmp_path / "r.html"):
        opened((driver, made, address), 1280)
        assert pair_of(made)["items"]
        assert not texts(driver, "#deciding .replayed, #deciding [aria-pressed='true']")
        assert len(texts(driver, "#sides .canvas")) == 2
        assert " · item 0 · " in texts(driver, "#sides .byline")[0]


def test_nothing_runs_off_the_page_on_a_phone(shown):
    driver, _ = opened(shown, 390)
    assert driver.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
    assert beyond(driver, "#duel *, .bar *", 390, ".spoken") == []
    tops = driver.execute_script(
        "return [...document.querySelectorAll('#sides .canvas, #sides .changes')].map((e) => "
        "[e.className, e.getBoundingClientRect().top])"
    )
    ordered = [name for name, _ in sorted(tops, key=lambda x: x[1])]
    assert ordered == ["canvas", "canvas", "changes", "changes"]


def test_it_fits_on_paper(shown):
    driver, _ = opened(shown, 1280)
    find(driver, "#duel")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    size = {"width": 700, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    there = driver.execute_script(
        "return [...document.querySelectorAll('.bar, .controls, .links, .side-head select')]"
        ".filter((e) => e.offsetParent !== null).length"
    )
    assert there == 0
    assert beyond(driver, "main *", 700, ".spoken, .grid") == []
    assert driver.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
