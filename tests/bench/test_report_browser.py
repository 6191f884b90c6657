"""The page of `decoders bench report` in a headless Chromium: it loads without a complaint, sorts, scrubs, plays, and
fits a phone."""

from __future__ import annotations

from collections import Counter

import pytest

from support.browser import choose, click, find, needs_browser, opened, press, report_of, texts, wait
from support.quality_runs import NASTY, rows, write_run

pytestmark = [
    needs_browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # selenium's sockets
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A driver, the document, and the address of its page."""
    where = tmp_path_factory.mktemp("page")
    own = rows(items=12, seeds=2)
    parts = [[r for r in own if (r.decoder == "left_to_right") == alone] for alone in (False, True)]
    runs = [
        write_run(where / name, part, traces=2, hardware=name)
        for name, part in zip(("first", "second"), parts, strict=True)
    ]
    yield from report_of(runs, where / "report.html")


@pytest.fixture
def desk(shown):
    return opened(shown, 1280)


def test_it_loads_without_a_complaint_and_shows_what_the_document_says(shown):
    driver, _, address = shown
    driver.get_log("browser")  # what was said before
    driver, made = opened(shown, 1280)
    assert driver.get_log("browser") == []
    assert driver.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)") == []
    assert driver.current_url == address
    view = made["views"][0]
    assert texts(driver, "#headline") == [made["pair"]["sentence"].replace("`", "")]
    assert texts(driver, "#findings li") == [text.replace("`", "") for text in [view["headline"], *view["findings"]]]
    for chart in ("nfe", "seconds", "tpf"):
        assert len(texts(driver, f"#chart-{chart} .mark")) == len(view["points"])
        assert len(texts(driver, f"#chart-{chart} .mark .interval")) == len(view["points"])
    assert len(texts(driver, "#chart-tpf .curve")) == sum(len(c["points"]) > 1 for c in view["curves"])
    assert len(texts(driver, "#every tbody tr")) == len(view["points"])
    assert "0123456789abcdef" in texts(driver, "#runs")[0]
    assert texts(driver, "#runs .command code") == [run["command"] for run in made["runs"]]
    assert (
        texts(driver, "#clashes li")
        == made["clashes"]
        == ["The runs differ in hardware: first (first); second (second)."]
    )


def test_what_a_prompt_says_is_text(desk):
    driver, _ = desk
    (prompt, *_) = texts(driver, "#detail dd.text")
    assert NASTY in prompt
    made = driver.execute_script(
        "return [typeof boom, document.querySelectorAll('#detail img, #detail script').length]"
    )
    assert made == ["undefined", 0]


def test_the_table_sorts_by_any_column_both_ways_and_filters(desk):
    driver, made = desk
    points = made["views"][0]["points"]

    def column(n: int) -> list[float]:
        return [float(text.split()[0].replace(",", "")) for text in texts(driver, f"#every tbody tr > :nth-child({n})")]

    def sorts() -> list[str]:
        heads = "[...document.querySelectorAll('#every th[aria-sort]')]"
        return driver.execute_script(f"return {heads}.map((e) => e.textContent + ' ' + e.ariaSort)")

    assert sorts() == ["% right descending"]
    assert column(2) == sorted(column(2), reverse=True)
    click(driver, "#every th:nth-child(4) button")
    assert sorts() == ["Forwards descending"]
    assert column(4) == sorted((round(p["nfe"], 1) for p in points), reverse=True)
    click(driver, "#every th:nth-child(4) button")
    assert sorts() == ["Forwards ascending"]
    assert column(4) == sorted(column(4))
    press(driver, "#every th:nth-child(1) button", "\n")
    names = texts(driver, "#every tbody th")
    assert names == sorted(
        names, key=lambda s: (s.split(":")[0], [float(x) for x in s.split("=")[-1:] if x[0].isdigit()])
    )
    choose(driver, "#find", "threshold")
    assert texts(driver, "#found") == [f"3 of {len(points)}"]
    assert len(texts(driver, "#every tbody tr")) == 3


def test_every_row_is_held_against_the_baseline_and_at_the_cost_that_are_chosen(desk):
    driver, made = desk
    options = [x["baseline"] for x in made["views"][0]["against"]]
    assert options[0] == made["baseline"] == "threshold"
    assert len(options) == len(made["series"])

    def shown(selector: str) -> list[list[str]]:
        lines = f"[...document.querySelectorAll('{selector} tbody tr')]"
        return driver.execute_script(f"return {lines}.map((r) => [...r.children].map((c) => c.textContent))")

    for chosen, axis in ((0, "forwards"), (options.index("llada"), "seconds")):
        choose(driver, "#baseline", chosen)
        choose(driver, "#axis", axis)
        axes = made["views"][0]["against"][chosen]["axes"]
        lines = {made["settings"][x["setting"]]["label"]: x["cells"] for c in axes[axis] for x in c["lines"]}
        rows_ = shown("#against .lines")
        assert {row[0] for row in rows_} == set(lines)
        for name, verdict, points, _, right, cost, base, beside in rows_:
            told = [right, cost, base, *points.split(" ", 1), beside, verdict]
            assert [x.strip() for x in told] == [x.replace("`", "") for x in lines[name]]
        words = {
            made["series"][c["series"]]: [own[i]["verdict"] for own in axes.values()] for i, c in enumerate(axes[axis])
        }
        assert {name: said for name, *said in shown("#against .scroll:first-child")} == words
    assert texts(driver, "#against-title") == ["Against llada at equal cost"]


def test_a_task_alone_changes_everything(desk):
    driver, made = desk
    choose(driver, "#view", 2)
    view = made["views"][2]
    first = next(c for c in view["against"][0]["axes"]["forwards"] if c["series"] == made["mine"])
    assert texts(driver, "#headline") == [first["sentence"].replace("`", "")]
    assert texts(driver, "#findings li") == [text.replace("`", "") for text in [view["headline"], *view["findings"]]]
    shares = {made["settings"][p["setting"]]["label"]: f"{100 * p['accuracy']:.1f}" for p in view["points"]}
    for name, share in zip(
        texts(driver, "#every tbody th"), texts(driver, "#every tbody td:nth-child(2) .main"), strict=True
    ):
        assert share == shares[name]
    assert texts(driver, "#detail .byline")[0].startswith("sudoku/hard")


def test_one_curve_can_be_shown_alone(desk):
    driver, made = desk
    click(driver, "#legend button:nth-child(2)")
    marks = "[...document.querySelectorAll('#chart-nfe .mark')]"
    faint = driver.execute_script(f"return {marks}.filter((m) => m.getAttribute('opacity') < 0.2).length")
    alone = sum(s["series"] == 1 for s in made["settings"])
    assert faint == len(made["settings"]) - alone
    click(driver, "#legend [aria-pressed='true']")
    assert not texts(driver, "#legend [aria-pressed='true']")


def test_the_theme_can_be_chosen(desk):
    driver, _ = desk
    papers = []
    for _ in range(2):
        click(driver, "#theme")
        papers.append(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert texts(driver, "#theme") == ["Theme: dark"]
    assert papers == ["rgb(251, 250, 247)", "rgb(19, 21, 24)"]


def test_the_replay_scrubs_steps_and_plays(desk):
    driver, made = desk
    frames = made["traces"][0]["frames"]

    def state() -> tuple[str, Counter[str]]:
        classes = driver.execute_script(
            "return [...document.querySelectorAll('.replay .canvas .piece')].flatMap((e) => [...e.classList])"
        )
        return texts(driver, ".replay .count")[0], Counter(classes)

    slider = ".replay input[type=range]"
    choose(driver, slider, 0)
    assert state() == ("forward 0 of 5", {"piece": 12, "open": 12})
    press(driver, slider, "\ue014")  # right
    assert state() == ("forward 1 of 5", {"piece": 12, "open": 10, "commit": 2, "now": 2})
    choose(driver, slider, 2)
    assert state()[1] == {"piece": 12, "open": 8, "commit": 3, "provisional": 1, "now": 2}
    choose(driver, slider, 4)
    assert state()[1] == {"piece": 12, "open": 6, "commit": 4, "edit": 1, "was-edited": 1, "reopen": 1, "now": 2}
    press(driver, slider, "\ue010")  # end
    assert state()[0] == f"forward {len(frames)} of {len(frames)}"
    assert driver.execute_script(
        "return document.querySelector('.replay button[aria-label=\"One forward on\"]').disabled"
    )
    press(driver, slider, " ")  # play, from the beginning
    assert texts(driver, ".replay .count") == ["forward 0 of 5"]
    wait(lambda: texts(driver, ".replay .count") == ["forward 1 of 5"])
    press(driver, slider, " ")
    assert driver.execute_script("return document.querySelector('.replay .play').ariaLabel") == "Play"


def test_confidence_shows_on_hover_and_by_keyboard(desk):
    driver, _ = desk
    from selenium.webdriver import ActionChains

    choose(driver, ".replay input[type=range]", 1)
    ActionChains(driver).move_to_element(find(driver, ".replay .canvas [data-place='3']")).perform()
    tip = wait(lambda: texts(driver, "#tip:not([hidden])"))[0]
    assert "committed at forward 1" in tip
    assert "confidence 0.912" in tip
    press(driver, ".replay .canvas", "\ue014")
    assert "place 2" in texts(driver, "#tip")[0]
    press(driver, ".replay .canvas", "\ue00c")  # escape
    assert not texts(driver, "#tip:not([hidden])")


def test_the_grid_and_the_chart_lead_to_an_item_by_keyboard(desk):
    driver, _ = desk
    before = texts(driver, "#detail .byline")[0]
    press(driver, ".grid td[tabindex='0']", "\ue014")
    assert texts(driver, "#detail .byline")[0] != before
    assert driver.execute_script("return document.activeElement.classList.contains('on')")
    press(driver, "#chart-nfe .plot", "\ue010")  # end: the most forwards
    assert "left_to_right" in texts(driver, "#tip")[0]
    press(driver, "#chart-nfe .plot", "\ue007")
    assert texts(driver, "#detail h3") == ["left_to_right"]


def test_a_phone_has_no_sideways_scroll(shown):
    driver, _ = opened(shown, 375)
    for view in (0, 1):
        choose(driver, "#view", view)
        assert driver.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [375, 375]
    small = driver.execute_script(
        "return [...document.querySelectorAll('.controls button')].filter((b) => Math.min(b.offsetWidth, "
        "b.offsetHeight) < 34).length"
    )
    assert small == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(shown, scheme):
    """At least 4.5 against the page, as WCAG 2 asks of small text."""
    driver, _ = opened(shown, 1280)
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    poor = driver.execute_script("""
      const light = (text) => {
        const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = text.match(/[\\d.]+/g).map((x) => linear(x / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const page = light(getComputedStyle(document.body).backgroundColor);
      const of = "h1, p, li, td, th, dt, dd, figcaption, .note, .quiet, .verdict, .range, .badge, .key path, .count";
      const own = (e) => light(getComputedStyle(e)[e instanceof SVGElement ? "fill" : "color"]);
      const pale = [...document.querySelectorAll(of)].filter((e) => contrast(own(e), page) < 4.5);
      return pale.map((e) => e.outerHTML.slice(0, 90));
    """)
    assert poor == []
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
