"""What a trace keeps of a forward: what was predicted where a token was decided, and in which way it came to that; and
replays that are recorded afterwards."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from decoders import UsageError
from decoders.cli import main
from decoders_bench.quality.grid import Grid
from decoders_bench.quality.rows import load
from decoders_bench.quality.runner import measure
from decoders_bench.report.gather import gather
from decoders_bench.report.replays import with_replays
from support.quality_runs import rows, write_run

GRID = Grid("nano", ("threshold:tau=0.999", "s2d2", "wino"), (), ("chain/hard",), (None,), (0,), (0,), 2, "test", {})


def test_a_trace_has_what_the_model_predicted_where_a_token_was_decided(tmp_path):
    measure(GRID, tmp_path / "run", command="", traced=2)
    run = load(tmp_path / "run")
    decoders, ways, phases = {r.cell: r.curve for r in run.rows}, {}, {}
    for t in run.traces:
        for frame in t["frames"]:
            phases.setdefault(decoders[t["cell"]], set()).add(frame["phase"])
            for (_, token, kind, sure), x in zip(frame["changes"], frame["details"], strict=True):
                if kind != "commit":
                    assert x is None or x["way"] is None
                    continue
                ways.setdefault(decoders[t["cell"]], set()).add(x["way"])
                assert 1 <= x["rank"] <= x["asked"]
                assert x["entropy"] >= 0
                probability = [p for _, p in x["likeliest"]]
                assert probability == sorted(probability, reverse=True)
                assert sum(probability) <= 1.002
                assert dict(map(tuple, x["likeliest"]))[token] == pytest.approx(sure, abs=1e-3)
                assert {str(i) for i, _ in x["likeliest"]} <= set(t["vocab"])
    assert ways["threshold:tau=0.999"] == {"threshold passed", "forced minimum"}
    assert phases["threshold:tau=0.999"] == {None}
    assert ways["s2d2"] <= {"base", "accepted", "resampled"}
    assert "draft" in phases["s2d2"]


def test_a_trace_of_an_older_run_has_nothing_of_that_and_a_damaged_one_is_refused(tmp_path):
    path = write_run(tmp_path / "run", rows(items=1))
    frame = load(path).traces[0]["frames"][1]
    assert (frame["phase"], frame["details"]) == (None, [None, None])
    lines_ = (path / "traces.jsonl").read_text().splitlines()
    cases = (([None], "has 1 details of 2 changes"), ([{"way": 3}, None], "no 'entropy'"))
    for details, said in cases:
        first = json.loads(lines_[0])
        first["frames"][0] |= {"details": details}
        (path / "traces.jsonl").write_text("\n".join([json.dumps(first), *lines_[1:]]) + "\n")
        with pytest.raises(UsageError, match=said):
            load(path)
    for name in ("cell", "item"):
        less = json.loads(lines_[0])
        del less[name]
        (path / "traces.jsonl").write_text("\n".join([json.dumps(less), *lines_[1:]]) + "\n")
        with pytest.raises(UsageError, match=f"line 1, has no '{name}'"):
            load(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two settings that differ in what they get right, without a trace."""
    path = tmp_path_factory.mktemp("runs") / "run"
    measure(replace(GRID, decoders=("llada:steps=4", "threshold:tau=0.999"), items=4), path, command="", traced=0)
    return path


def test_replays_of_the_items_that_decide_are_recorded_afterwards(run, tmp_path):
    assert gather([run]).traces == []
    found = with_replays(gather([run]), 2, None, None)
    assert found.clashes == []
    assert len(found.traces) == 4  # two items under both
    byrow = {r.key: r for r in found.rows}
    for t in found.traces:
        r = byrow[t["cell"], t["item"]]
        assert len(t["frames"]) == r.nfe
        assert any(any(f["details"]) for f in t["frames"])
    assert {byrow[t["cell"], t["item"]].curve for t in found.traces} == {"llada:steps=4", "threshold:tau=0.999"}
    again = with_replays(found, 2, None, None)
    assert again.traces == found.traces  # those that are there are not decoded once more
    done = CliRunner().invoke(main, ["bench", "report", str(run), "--replays", "2", "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output
    data = json.loads((tmp_path / "r.html").read_text().split('id="data">')[1].split("</script>")[0])
    (pair,) = data["views"][0]["against"][0]["axes"]["forwards"]
    there = {(t["setting"], t["question"]) for t in data["traces"]}
    assert all({(a, q), (b, q)} <= there for q, _, a, b in pair["items"][:2])


def test_a_replay_that_is_not_what_the_run_has_is_left_out_and_said_to_be(run):
    found = gather([run])
    changed = [replace(r, rows=[replace(x, output=x.output + " else") for x in r.rows]) for r in found.runs]
    told = with_replays(replace(found, runs=changed), 1, None, None)
    assert told.traces == []
    assert len(told.clashes) == 2
    assert "is decoded to something else than in the run" in told.clashes[0]


def test_replays_of_a_task_that_is_not_here_are_said_to_be_missing(tmp_path):
    own = [replace(r, task="gsm8k") for r in rows(items=6, sweeps=TWO, templates=1)]
    told = with_replays(gather([write_run(tmp_path / "run", own, traces=0)]), 1, None, None)
    assert "There is no replay of item" in told.clashes[0]
    assert "gsm8k" in told.clashes[0]


TWO = {"threshold": ("tau", {0.9: (0.97, 9)}), "factor": ("f", {1.0: (0.4, 9)})}
