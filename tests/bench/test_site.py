"""The site: its figures are well-formed, its links lead to pages, and rules are those of built-in strategies."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from decoders import load
from decoders_bench.site.chart import Mark, chart
from decoders_bench.site.figures import FIGURES, draw
from decoders_bench.site.replay import TOLD, Replay, kind, picture, replay, settling
from decoders_bench.site.strategies import RULES, Site, built_in

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_an_image_that_says_what_it_shows(name):
    root = ElementTree.fromstring(FIGURES[name]())
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}title").text == root.get("aria-label")


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(None, None, "open"), ("a", None, "back"), ("a", "a", "old"), (None, "a", "new")]
)
def test_a_cell_says_what_became_of_it(before, after, expected):
    assert kind(before, after) == expected


def test_a_replay_has_a_row_of_cells_for_every_forward():
    made = replay(load("nano"), "left_to_right", "Sort: k c x a t", 3)
    assert [sum(x is None for x in frame) for frame in made.frames] == [2, 1, 0]
    root = ElementTree.fromstring(picture(made))
    assert [r.get("class") for r in root.iter(f"{SVG}rect")] == [
        "new", "open", "open", "old", "new", "open", "old", "old", "new"
    ]  # fmt: skip


def test_the_picture_of_the_readme_is_what_nano_does():
    assert (ROOT / "docs" / "canvas.svg").read_text() == settling(), "make docs draws it again"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_the_concepts_is_kept_as_it_is_drawn(name):
    assert (ROOT / "docs" / "figures" / f"{name}.svg").read_text() == FIGURES[name](), "make docs draws it again"


def test_every_kept_figure_is_drawn(tmp_path):
    draw(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in (ROOT / "docs" / "figures").iterdir()}


def test_a_long_replay_says_how_much_is_not_shown():
    frames = tuple((None,) for _ in range(TOLD + 2))
    assert "and 2 more forwards" in picture(Replay("a", frames))


def test_a_chart_has_a_mark_for_every_setting():
    root = ElementTree.fromstring(chart([Mark(2, 0.5)], [Mark(1, 0.25), Mark(8, 1.0)], "mine"))
    assert [c.get("class") for c in root.iter(f"{SVG}circle")] == ["basedot", "basedot", "dot"]


def test_every_built_in_strategy_has_a_rule_and_no_other():
    assert {file.stem for file in RULES.glob("*.txt")} == {e.name for e in built_in()}


@pytest.mark.parametrize("file", sorted(RULES.glob("*.txt")), ids=lambda file: file.stem)
def test_a_rule_is_short(file):
    lines = file.read_text().splitlines()
    assert 0 < len(lines) <= 7
    assert max(map(len, lines)) <= 100


DRAWING = {"temperature", "top_k", "top_p"}
"""Options of many strategies that say how a token is drawn, and not which positions are committed: a rule may leave
them to the table of options."""


@pytest.mark.parametrize("entry", built_in(), ids=lambda entry: entry.name)
def test_a_rule_names_every_option_that_changes_it(entry):
    text = (RULES / f"{entry.name}.txt").read_text()
    asked = {o.name for o in entry.options} - DRAWING
    assert not {name for name in asked if not re.search(rf"\b{name}\b", text)}


def test_a_page_has_rule_source_options_replay_and_curve():
    [entry] = [e for e in built_in() if e.name == "wino"]
    files = dict(Site().page(entry))
    assert set(files) == {"wino.md", "wino-replay.svg", "wino-curve.svg"}
    page = files["wino.md"]
    assert (RULES / "wino.txt").read_text().rstrip() in page
    assert entry.source in page
    assert all(f"`{o.name}`" in page for o in entry.options)
    assert set(re.findall(r"\((wino-\w+\.svg)\)", page)) == {"wino-replay.svg", "wino-curve.svg"}


def test_a_strategy_of_the_grid_is_shown_with_all_of_its_settings():
    head, picture = Site().curve("llada")
    assert "steps-against-quality" in head
    marked = [c.get("class") for c in ElementTree.fromstring(picture).iter(f"{SVG}circle")]
    assert marked.count("dot") == marked.count("basedot") == 4


def test_a_strategy_that_no_embedded_model_runs_has_a_page_without_a_picture():
    [entry] = [e for e in built_in() if e.name == "ddim"]
    assert set(dict(Site().page(entry))) == {"ddim.md"}


def test_a_link_out_of_the_docs_leads_to_the_page_that_stands_for_it():
    hooks = pytest.importorskip("decoders_bench.site.hooks", reason="needs mkdocs, of the docs extra")
    source = "[a](../plugins/sglang/README.md#b) [c](cli.md)"
    found = hooks.LINK.sub(lambda m: hooks.link(m, "docs/x.md", "x.md"), source)
    assert found == "[a](plugins/sglang.md#b) [c](cli.md)"
    unknown = hooks.LINK.search("[a](../setup.cfg)")
    with pytest.raises(ValueError, match=r"no page for setup\.cfg"):
        hooks.link(unknown, "docs/x.md", "x.md")
