"""`decoders bench duel`: a threshold in disguise is not distinguishable from a threshold, whatever the grid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from decoders import UsageError, get
from decoders.cli import main
from decoders.core import options
from decoders_bench.duel.outcome import outcome
from decoders_bench.duel.refine import beyond, rounded, wanted, with_value
from decoders_bench.quality.rows import load
from support.quality_runs import SWEEPS, rows, write_run

DISGUISED = "support.disguised:SureDecay"
GRID = ("--sweep", "floor=0.2,0.4,0.6,0.8", "--sweep", "tau=0.5,0.7,0.9,0.97")
TASKS = ("-t", "chain/hard,sudoku/easy,extract/hard,shuffle/easy")
TAU = options(type(get("threshold")))["tau"]
STEPS = options(type(get("llada")))["steps"]


def duel(*args):
    return CliRunner().invoke(main, ["bench", "duel", *map(str, args)])


def fought(path: Path, items: int, *more) -> dict:
    done = duel(DISGUISED, "threshold", *GRID, *TASKS, "-n", items, "--workers", 1, "-o", path, "--json", *more)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert done.stdout.startswith(f"`{DISGUISED}` is not distinguishable from `threshold` at equal forwards.")
    return found


def test_a_threshold_in_disguise_is_not_distinguishable_from_a_threshold(tmp_path):
    """The grid that once gave it 14 points and p = 0.000: no tau between 0.7 and 0.9."""
    found = fought(tmp_path / "duel", 8, "--templates", "0")
    assert found["verdict"]["forwards"] == "not distinguishable"
    assert {"better", "worse"}.isdisjoint(x["verdict"] for v in found["verdicts"] for x in v["lines"])
    report = CliRunner().invoke(main, ["bench", "report", str(tmp_path / "duel"), "--json"])
    told = json.loads(report.stdout.splitlines()[-1])
    assert told["verdicts"]["all tasks"] == found["verdicts"]  # the page says what the duel says
    assert told["views"][0]["headline"] == f"`{DISGUISED}` is not distinguishable from `threshold` at equal forwards."
    runs = sorted(p.name for p in (tmp_path / "duel").iterdir())
    assert len(runs) == found["rounds"]
    before = {run: (tmp_path / "duel" / run / "rows.jsonl").read_bytes() for run in runs}
    again = fought(tmp_path / "duel", 8, "--templates", "0")  # nothing is left to decode
    assert again["verdicts"] == found["verdicts"]
    assert {run: (tmp_path / "duel" / run / "rows.jsonl").read_bytes() for run in runs} == before


@pytest.mark.slow
def test_the_run_that_misled_decides_nothing_until_the_grid_is_refined(tmp_path):
    """30 items a rung and wording."""
    found = fought(tmp_path / "duel", 30, "--rounds", 8)
    assert {x["verdict"] for v in found["verdicts"] if v["axis"] == "forwards" for x in v["lines"]} == {
        "not distinguishable"
    }
    coarse = outcome([tmp_path / "duel" / "0"], DISGUISED, "threshold", ())
    assert coarse.against["forwards"].word == "the baseline's settings are too far apart to tell"
    added = {r.decoder for i in range(1, found["rounds"]) for r in load(tmp_path / "duel" / str(i)).rows}
    assert any(0.7 < float(spec.partition("tau=")[2]) < 0.9 for spec in added)


def test_runs_that_are_there_are_compared_and_what_would_decide_is_named(tmp_path):
    """A decoder that is the threshold between two of its settings."""
    sweeps = {"threshold": ("tau", {0.5: (0.4, 4), 0.9: (0.97, 8)}), "factor": ("f", {1.0: (0.75, 6)})}
    run = write_run(tmp_path / "run", rows(items=60, sweeps=sweeps))
    done = duel("factor", "threshold", "--in", run, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["verdict"]["forwards"] == "the baseline's settings are too far apart to tell"
    (spec,) = found["wanted"]
    assert 0.5 < float(spec.removeprefix("threshold:tau=")) < 0.9
    assert f"What is open would be decided by `{spec}`." in done.stdout
    assert {p.name for p in run.iterdir()} == {"run.json", "rows.jsonl", "traces.jsonl"}


def test_a_report_takes_the_directory_of_a_duel(tmp_path):
    whole = rows(items=6, sweeps={name: SWEEPS[name] for name in ("threshold", "llada")})
    for number, spec in enumerate(("0.5", "0.7")):
        write_run(tmp_path / "duel" / str(number), [r for r in whole if r.curve == "llada" or spec in r.decoder])
    done = CliRunner().invoke(main, ["bench", "report", str(tmp_path / "duel"), "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 0, done.output


def test_the_directions_of_a_finer_sweep(tmp_path):
    assert with_value("threshold:temperature=0.0,tau=0.5", "tau", 0.85) == "threshold:temperature=0.0,tau=0.85"
    assert rounded(0.84321, 0.7, 0.9, TAU) == 0.84
    assert rounded(0.8501, 0.85, 0.9, TAU) is not None
    assert (rounded(5.4, 4, 8, STEPS), rounded(4.2, 4, 5, STEPS)) == (5, None)
    assert beyond([0.7, 0.9], TAU) == pytest.approx(0.95)  # half the way to 1
    assert beyond([0.9, 0.7, 0.5], TAU) == pytest.approx(0.3)
    assert beyond([8, 16], STEPS) == 24
    assert beyond([0.9, 1.0], TAU) is None


def test_a_baseline_without_a_knob_is_not_refined(tmp_path):
    sweeps = {"left_to_right": (None, {None: (0.5, 9)}), "factor": ("f", {1.0: (0.9, 12)})}
    found = outcome([write_run(tmp_path / "run", rows(items=60, sweeps=sweeps))], "factor", "left_to_right", ())
    assert found.against["forwards"].word == "outside the baseline's sweep"
    assert wanted(found.against["forwards"]) == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("threshold", "threshold:tau=0.9"), "are one decoder"),
        (("threshold", "factor", "-c", "dual", "-c", "exact"), "a duel has one cache"),
        (("thresold", "factor"), "did you mean 'threshold'"),
        (("threshold", "factor", "--in", "nowhere"), "holds no quality run"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    done = duel(*args, "--workers", 1)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_setting_of_the_baseline_is_no_opponent(tmp_path):
    run = write_run(tmp_path / "run", rows(items=6))
    with pytest.raises(UsageError, match="is a setting of threshold; a decoder is not compared with itself"):
        outcome([run], "threshold:tau=0.5", "threshold", ())
