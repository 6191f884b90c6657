"""`decoders bench report`: what it merges, what it says and when, and the files that it writes. The page itself is
looked at in test_report_browser.py."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner

from decoders import UsageError
from decoders.cli import main
from decoders_bench.quality.wordings import flipped
from decoders_bench.report.document import document
from decoders_bench.report.findings import findings, headline
from decoders_bench.report.gather import gather
from decoders_bench.report.page import embedded, page
from decoders_bench.report.view import view, views
from support.quality_runs import NASTY, SWEEPS, row, rows, trace, write_run


def invoke(*args):
    return CliRunner().invoke(main, ["bench", "report", *map(str, args)])


def outcomes(decoder: str, right: list[bool], nfe: int, template: int = 0, task: str = "chain/easy"):
    cell = f"{decoder}|{task}|{template}"
    made = [row(cell, decoder, decoder, None, None, "exact", task, template, 0, i, 0.5, nfe) for i in range(len(right))]
    return [replace(r, right=x, nfe=nfe) for r, x in zip(made, right, strict=True)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "first", rows(items=20))


@pytest.mark.slow
def test_all_files_are_written_and_the_last_line_is_one_document(run, tmp_path):
    page_file, table = tmp_path / "deep" / "report.html", tmp_path / "report.md"
    done = invoke(
        run, "-o", page_file, "--markdown", table, "--png", tmp_path / "plots", "--svg", tmp_path / "plots", "--json"
    )
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout.splitlines()[-1])
    assert made["command"] == "report"
    assert [v["name"] for v in made["views"]] == ["all tasks", "chain/easy", "sudoku/hard"]
    assert len(made["settings"]) == sum(len(points) for _, points in SWEEPS.values())
    charts = {f"accuracy-{name}.{kind}" for name in ("nfe", "seconds", "tokens-per-forward") for kind in ("png", "svg")}
    assert {p.name for p in (tmp_path / "plots").iterdir()} == charts
    assert set(made["wrote"]) == {str(page_file), str(table), *(str(tmp_path / "plots" / name) for name in charts)}
    assert (tmp_path / "plots" / "accuracy-nfe.png").read_bytes().startswith(b"\x89PNG")
    assert "threshold" in (tmp_path / "plots" / "accuracy-nfe.svg").read_text()
    text = table.read_text()
    assert made["views"][0]["headline"] in text
    assert text.count("| `threshold:tau=0.9`") == 2  # among all settings, and by task; it is the baseline's
    assert "decoders bench quality -m nano -o first" in text


def test_the_same_run_gives_the_same_files(run, tmp_path):
    for name in ("a", "b"):
        assert invoke(run, "-o", tmp_path / name / "r.html", "--svg", tmp_path / name).exit_code == 0
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_the_charts_of_forwards_and_of_parallelism_join_the_settings_of_a_decoder(run, tmp_path):
    assert invoke(run, "--svg", tmp_path).exit_code == 0
    several = sum(len(points) > 1 for _, points in SWEEPS.values())
    for name, joined in (("nfe", several), ("tokens-per-forward", several), ("seconds", 0)):
        drawn = (tmp_path / f"accuracy-{name}.svg").read_text()
        lines = re.findall(r'<g id="curve-\d+">\s*<path d="([^"]*)"', drawn)
        assert sum("L" in d for d in lines) == joined
        for d in lines:
            xs = [float(x) for x in re.findall(r"[ML] ([\d.]+)", d)]
            assert xs == sorted(xs)


def test_the_page_asks_for_nothing_and_no_text_ends_its_data(run):
    text = page(document(gather([run])), NASTY)
    assert not re.search(
        r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\(""", text.split('<script type="application/json"')[0]
    )
    assert text.count("</script>") == 2
    data = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert not set("<>&\u2028") & set(data)
    assert any(NASTY in q["prompt"] for q in json.loads(data)["questions"])
    assert json.loads(embedded({"half": "\ud800", "nasty": NASTY})) == {"half": "\ud800", "nasty": NASTY}
    assert embedded({"half": "\ud800"}).isascii()


def test_the_document_holds_every_outcome_and_the_replays(run):
    found = gather([run])
    made = document(found)
    at = {s["decoder"]: i for i, s in enumerate(made["settings"])}
    questions = {(q["task"], q["template"], q["seed"], q["item"]): i for i, q in enumerate(made["questions"])}
    for r in found.rows:
        outcome = made["outcomes"][at[r.decoder]][questions[f"{r.task}/{r.rung}", r.template, r.seed, r.item]]
        assert outcome[0] == int(r.right)
        assert outcome[3:6] == [r.nfe, r.tokens, r.positions]
        assert made["strings"][outcome[1]] == r.output
        assert (None if outcome[2] is None else made["strings"][outcome[2]]) == r.answer
    assert len(made["traces"]) == len({r.cell for r in found.rows})
    t, source = made["traces"][0], trace(found.rows[0])
    assert [t["pieces"][p] for p in t["initial"]] == ["<mask>"] * 12
    assert t["pieces"][t["mask"]] == "<mask>"
    place, piece, kind, sure = t["frames"][3][1][0]
    assert (place + t["start"], t["pieces"][piece], kind, sure) == (9, source["vocab"]["5"], "edit", 0.88)


def test_runs_are_merged_and_what_their_environments_differ_in_is_named(run, tmp_path):
    other = write_run(
        tmp_path / "second", rows(items=20, cache="dual"), hardware="another processor",
        started="2026-12-01T00:00:00+00:00",
    )
    made = gather([run, other])
    assert len(made.rows) == 2 * len(gather([run]).rows)
    assert made.clashes == ["The runs differ in hardware: a processor of tests (first); another processor (second)."]
    settings = document(made)["settings"]
    assert {"threshold:tau=0.9 · cache exact", "threshold:tau=0.9 · cache dual"} <= {s["label"] for s in settings}
    done = invoke(run, other, "--markdown", tmp_path / "r.md")
    assert done.exit_code == 0
    assert made.clashes[0] in done.stderr
    assert made.clashes[0] in (tmp_path / "r.md").read_text()


def test_an_item_that_two_runs_have_counts_once(run, tmp_path):
    own = gather([run]).rows
    again = write_run(tmp_path / "again", [replace(r, seconds=2 * r.seconds) for r in own])
    made = gather([run, again])
    assert made.rows == own
    assert len(made.traces) == len(gather([run]).traces)
    assert made.clashes == []


def test_runs_that_disagree_are_refused_in_one_line(run, tmp_path):
    own = [r for r in gather([run]).rows if r.decoder == "threshold:tau=0.5"]
    wrong = write_run(tmp_path / "wrong", [replace(own[0], right=not own[0].right)])
    with pytest.raises(
        UsageError,
        match=r"disagree about item 0 of chain/easy under threshold:tau=0.5 \(right .*report them separately",
    ):
        gather([run, wrong])
    asked = write_run(
        tmp_path / "asked", [replace(own[0], cell="x", decoder="other", curve="other", prompt="something else")]
    )
    with pytest.raises(
        UsageError, match=r"is one question for .* and another for .*: the runs were made with different versions"
    ):
        gather([run, asked])


def test_bad_input_is_one_line(run, tmp_path):
    empty = write_run(tmp_path / "empty", rows(items=1))
    (empty / "rows.jsonl").write_text("")
    (tmp_path / "file").write_text("")
    cases = {
        "holds no quality run": (tmp_path / "nowhere", "-o", tmp_path / "r.html"),
        "no item has an outcome yet": (empty, "-o", tmp_path / "r.html"),
        "there is nothing to write": (run,),
        "cannot be written": (run, "-o", tmp_path / "file" / "r.html"),
    }
    for message, args in cases.items():
        done = invoke(*args)
        assert done.exit_code == 2, args
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "r.html").exists()


TEXTS = "output", "answer", "prompt", "expected", "decoder", "curve", "task"


def test_half_a_character_of_a_pair_breaks_no_file(tmp_path):
    """Half a surrogate pair and a dollar sign, which begins a formula in a chart, wherever a run may hold a text."""
    odd = "\ud800 $x$ "
    made = [
        replace(r, **{field: odd + (getattr(r, field) or "") for field in TEXTS})
        for r in rows(items=2, tasks=("chain/easy",))
    ]
    run = write_run(tmp_path / "run", made)
    info = json.loads((run / "run.json").read_text())
    info["command"] += odd
    info["environment"]["hardware"] = odd
    (run / "run.json").write_text(json.dumps(info))
    traces = [json.loads(x) for x in (run / "traces.jsonl").read_text().splitlines()]
    traces = [{**x, "vocab": dict.fromkeys(x["vocab"], odd)} for x in traces]
    (run / "traces.jsonl").write_text("".join(json.dumps(x) + "\n" for x in traces))
    page_file, table = tmp_path / "r.html", tmp_path / "r.md"
    done = invoke(run, "-o", page_file, "--markdown", table, "--png", tmp_path, "--svg", tmp_path, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    assert r"\ud800 $x$" in table.read_text("utf-8")
    assert r"\ud800 $x$" in page_file.read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", "[]", "run.json holds '[]' alone"), ("run.json", "{", "run.json cannot be read: not JSON"),
        ("run.json", '{"format": {}}', "is a run of format '{}'"),
        ("run.json", '{"format": 1, "command": 3}', "run.json has no 'environment'"),
        ("rows.jsonl", "[]\n", "line 1, is damaged"), ("rows.jsonl", "{}\n", "line 1, has no 'cell'"),
        ("traces.jsonl", '{"cell": [], "item": 0}\n', "line 1, has no 'start'"),
        (
            "traces.jsonl",
            '{"cell": "a", "item": 0, "start": 0, "mask": 0, "vocab": {}, "initial": [0], "frames": [{"step": 1, '
            '"changes": [[0]]}]}\n',
            "line 1, holds '[0]' in frames.0.changes.0",
        ),
    ],
)
def test_a_damaged_run_is_one_line(tmp_path, file, content, message):
    run = write_run(tmp_path / "run", rows(items=1))
    (run / file).write_text(content)
    done = invoke(run, "-o", tmp_path / "r.html")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_plots_without_matplotlib_say_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = invoke(run, "--png", tmp_path / "plots")
    assert done.exit_code == 2
    assert done.stderr.strip() == "Error: plots need matplotlib: pip install 'dllm-decoders[plots]'"


def test_a_torn_run_shows_what_it_has(run, tmp_path):
    torn = write_run(tmp_path / "torn", gather([run]).rows[:500])
    with (torn / "rows.jsonl").open("a") as f:
        f.write('{"cell": "half')
    done = invoke(torn, "-o", tmp_path / "r.html", "--markdown", tmp_path / "r.md", "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout.splitlines()[-1])
    status = {made["settings"][p["setting"]]["label"]: p["status"] for p in made["views"][0]["points"]}
    # the one at which it stopped
    assert [name for name, x in status.items() if x == "other items"] == ["llada:steps=8"]
    assert "Asked other items than the rest and not compared: `llada:steps=8`." in (tmp_path / "r.md").read_text()


def test_a_baseline_that_is_unfinished_is_not_held_against(tmp_path):
    """The first decoder of the grid has half its items: the others are compared with the first that has all."""
    whole = rows(items=8)
    torn = write_run(tmp_path / "torn", [r for r in whole if r.curve != "threshold" or r.item < 4])
    done = invoke(torn, "-o", tmp_path / "r.html", "--markdown", tmp_path / "r.md", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["baseline"] == "factor"
    assert "Each against `factor` at equal cost" in (tmp_path / "r.md").read_text()
    assert invoke(torn, "-o", tmp_path / "r.html", "--baseline", "threshold").exit_code == 2


def test_only_decoders_with_the_same_items_are_compared():
    n = 30
    few = outcomes("few", [True] * (n - 1), 1)
    v = view("x", [*outcomes("good", [True] * n, 5), *outcomes("poor", [False] * n, 6), *few])
    assert v.whole == (True, True, False)
    assert [j.status for j in v.judged("good")] == ["front", "off the front", "other items"]
    assert [j.verdict for j in v.judged("good")] == [None, "worse", None]
    assert v.front == [0]
    assert v.questions == n
    more = view(
        "x",
        [
            *outcomes("good", [True] * n, 5), *outcomes("poor", [False] * n, 6),
            *outcomes("more", [False] * n + [True] * 9, 5),
        ],
    )
    assert more.whole == (True, True, True)
    assert more.points[2].summary.n == n  # on the shared items only


def test_worse_is_said_beyond_chance_only():
    n = 60
    good = outcomes("good", [True] * 55 + [False] * 5, 5)
    near = outcomes("near", [True] * 53 + [False] * 7, 6)
    poor = outcomes("poor", [True] * 30 + [False] * 30, 7)
    v = view("x", [*good, *near, *poor])
    assert [j.verdict for j in v.judged("good")] == [None, "not distinguishable", "worse"]
    said = findings(v, dict(enumerate(["good", "near", "poor"])), "good")
    assert said[0] == "At equal forwards against `good`, not distinguishable: `near`; worse: `poor`."
    pair = view("x", [*good, *poor])
    assert headline(pair, {}, "good") == "`poor` is worse than `good` at equal forwards."
    assert len(good) == n


def test_cheaper_is_called_as_good_only_if_its_loss_is_shown_to_be_small():
    names = {0: "best", 1: "cheap", 2: "cheapest"}
    best, equal = [True] * 400, [True] * 398 + [False] * 2
    v = view(
        "x",
        [
            *outcomes("best", best, 20), *outcomes("cheap", equal, 10),
            *outcomes("cheapest", [True] * 200 + [False] * 200, 5),
        ],
    )
    i, c = v.thrifty
    assert i == 1
    assert -0.05 < c.low < 0
    assert re.match(
        "`cheap` takes 50.% fewer forwards than the most accurate decoder and loses less than", headline(v, names)
    )
    few = view("x", [*outcomes("best", best[:10], 20), *outcomes("cheap", [*best[:9], False], 10)])
    assert few.thrifty is None  # one of ten is no difference shown, and no small loss shown either
    assert headline(few, names) == "`best` is right most often, and nothing markedly cheaper is shown to be as good."
    equally = view("x", [*outcomes("best", best, 100), *outcomes("cheap", equal, 99)])
    assert equally.thrifty is None  # one forward in a hundred is no saving to speak of
    alone = view("x", [*outcomes("best", best, 5), *outcomes("slow", equal, 9)])
    assert headline(alone, names) == "`best` is right most often, and in the fewest forwards."


def test_a_ranking_that_depends_on_the_wording_is_said_to():
    n = 40
    right, wrong = [True] * n, [False] * n
    a = [*outcomes("a", right, 5, 0), *outcomes("a", wrong, 5, 1)]
    b = [*outcomes("b", wrong, 5, 0), *outcomes("b", right, 5, 1)]
    v = view("x", [*a, *b])
    assert [(x.decoder, y.decoder, up, down) for x, y, up, down in flipped(v.points)] == [("a", "b", 0, 1)]
    assert any(
        "The ranking depends on the wording: `a` beats `b` in template 0" in text
        for text in findings(v, {0: "a", 1: "b"}, "b")
    )
    assert findings(v, {0: "a", 1: "b"}, "b")[-1] == (
        "The verdict depends on the wording: at equal forwards `a` is better than `b` in template 0 and worse in 1."
    )
    level = view("x", [*a, *outcomes("c", right, 5, 0), *outcomes("c", right, 5, 1)])
    assert flipped(level.points) == []


def test_a_task_alone_is_one_view():
    assert [v.name for v in views(outcomes("a", [True], 1))] == ["chain/easy"]
    both = [*outcomes("a", [True], 1), *outcomes("a", [True], 1, task="sudoku/hard")]
    assert [v.name for v in views(both)] == ["all tasks", "chain/easy", "sudoku/hard"]
