"""What a `Generation` is to a notebook and to a terminal, and where its trace comes from."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from decoders import Generator, UsageError
from decoders.cli.trace import TraceFile
from decoders.text.shown import canvases, printable, some
from decoders.text.trace import Trace

NASTY = "</script><script>boom()</script><img src=x onerror=boom()>&\x1b[31m"
PROMPTS = ["Chain: 3 ; + 4 ; - 2", "Sort: c a b", "Reverse: a b c"]


@pytest.fixture(scope="module")
def nano():
    return Generator("nano")


def change(position, token, confidence=0.5):
    return {"position": position, "token": token, "confidence": confidence}


def made(g, **how):
    """A generation whose third position is committed, edited, taken back and committed again."""
    nothing = {"committed": [], "edited": [], "reopened": []}
    steps = (
        nothing | {"committed": [change(5, 1), change(6, 2, 0.25)]}, nothing | {"edited": [change(6, 3, float("nan"))]},
        nothing | {"reopened": [change(6, 3)]}, nothing | {"committed": [change(6, 2, 0.9)]},
    )
    trace = Trace((5, 6), steps, {1: " a", 2: NASTY, 3: " c"})
    return replace(g, trace=trace, text=f" a{NASTY}", commit_steps=(0, 3), finish_reason="length", nfe=4, **how)


def test_a_trace_is_what_the_command_writes_and_ends_in_the_text(nano):
    traced, file = nano(PROMPTS, trace=True, length=24), io.StringIO()
    plain = nano(PROMPTS, length=24, batch=2)
    assert traced == plain
    assert all(g.trace is None for g in plain)
    list(nano.run(PROMPTS, length=24, watch=TraceFile(file, range(3), nano.decoder)))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    for i, g in enumerate(traced):
        rows = [row for line in lines for row in line["rows"] if row["prompt"] == i]
        assert [dict(step) for step in g.trace.steps] == [{k: v for k, v in r.items() if k != "prompt"} for r in rows]
        assert len(g.trace.steps) == g.nfe
        last = canvases(g)[-1]
        assert "".join(x.text for x in last[: g.generated_tokens]) == g.text
        assert tuple(x.step for x in last[: g.generated_tokens]) == g.commit_steps


@pytest.mark.parametrize(
    "how",
    [{"decoder": "wino:tau=0.3", "block": 8}, {"batch": 1}, {"n": 2, "seed": 3, "temperature": 1.0}, {"block": 4}],
)
def test_every_way_of_decoding_has_a_trace(nano, how):
    heard = []
    for g in nano(PROMPTS, trace=True, length=16, on_batch=heard.append, **how):
        assert "".join(x.text for x in canvases(g)[-1][: g.generated_tokens]) == g.text
    assert heard


def test_a_prompt_that_cannot_be_decoded_has_none(nano):
    results = dict(nano.run(["Sort: b a", ""], trace=True, length=8))
    assert isinstance(results[1], UsageError)
    assert results[0].trace.steps


def test_what_stands_after_each_forward(nano):
    (g,) = nano("Sort: b a", length=8)
    rows = made(g).trace.canvases()
    assert [[x and (x.text, x.step) for x in row] for row in rows] == [
        [(" a", 0), (NASTY, 0)], [(" a", 0), (" c", 1)], [(" a", 0), None], [(" a", 0), (NASTY, 3)],
    ]


def test_the_page_is_text_whatever_the_model_wrote_and_asks_for_nothing(nano):
    (g,) = nano("Sort: b a", length=8)
    for shown in (made(g), replace(made(g), trace=None)):
        html = shown._repr_html_()
        assert "<img" not in html
        assert html.count("<script>") == html.count("</script>") == (shown.trace is not None)
        assert not re.search(r"https?:|src=|href=|import|fetch", re.sub(r"&lt;.*?&gt;", "", html.split("<script>")[0]))
        assert "4 forwards" in html
    frames = json.loads(re.search(r"frames = (\[.*\]);", made(g)._repr_html_()).group(1))
    assert [[x[:2] for x in frame] for frame in frames] == [
        [[0, " a"], [1, NASTY]], [[1, " c"]], [[1, None]], [[1, NASTY]],
    ]
    assert frames[1][0][2] == 0.65  # what is no number is no confidence
    assert made(g)._repr_html_() != made(g)._repr_html_()  # two in one notebook do not meddle with each other


def test_a_notebook_tells_the_stop_token_from_the_text_and_says_what_the_colours_mean(nano):
    (g,) = nano("Sort: c a b", length=8, trace=True)
    assert g.finish_reason == "stop"
    slots = re.findall(r'<span style="([^"]*)" title=', g._repr_html_())
    assert ["opacity" in style for style in slots] == [False] * g.generated_tokens + [True]
    assert "amber: low confidence; underlined: changed by this forward" in g._repr_html_()
    assert "1 forward, 1 token," in replace(g, nfe=1, generated_tokens=1)._repr_html_()


def test_the_table_shows_the_canvases_without_control_characters(nano):
    (g,) = nano("Sort: b a", length=8)
    for shown in (made(g), replace(made(g), trace=None)):
        console = Console(file=io.StringIO(), width=200, force_terminal=False)
        console.print(shown)
        text = console.file.getvalue()
        assert "\x1b" not in text
        assert "boom()" in text
        assert "4 forwards" in text
    assert printable("a\nb\x1b") == "a\u23ceb\ufffd"
    assert some(3) == [0, 1, 2]
    assert some(1) == [0]
    assert len(some(100)) == 16
    assert some(100)[-1] == 99


def test_names_that_people_bring_along(nano):
    same = nano("Sort: c a b", length=8, n=2, seed=5, temperature=1.0)
    assert nano("Sort: c a b", max_new_tokens=8, num_return_sequences=2, seed=5, temperature=1.0) == same
    assert nano.submit("Sort: c a b", max_new_tokens=8).result().text == nano("Sort: c a b", length=8)[0].text
    with pytest.raises(UsageError, match="length=8 and max_new_tokens=9 are two names for one thing"):
        nano("Sort: b a", length=8, max_new_tokens=9)
    with pytest.raises(UsageError, match="n=3 and num_return_sequences=2"):
        nano("Sort: b a", n=3, num_return_sequences=2)


def test_any_number_of_prompts_with_a_bar(nano, capsys):
    assert nano([]) == []
    texts = [g.text for g in nano(["Sort: b a"] * 70, length=4, progress=True)]
    assert len(texts) == 70
    assert len(set(texts)) == 1
    out, err = capsys.readouterr()
    assert not out
    assert "100%" in err
