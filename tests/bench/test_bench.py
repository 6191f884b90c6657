"""The bench commands, through the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from decoders import UsageError
from decoders_bench.accuracy.measure import Cell, Job, evaluate
from decoders_bench.accuracy.tables import load_cells, spread_table, task_table
from decoders_bench.cli import bench
from decoders_bench.common.results import document, hardware, record, recorded_on, save, weights
from decoders_bench.common.statistics import wilson
from decoders_bench.step_time.measure import Timing, time_step
from decoders_bench.step_time.tables import load_timings, timing_table
from decoders_bench.tasks import TASKS, chosen, items


def run(*args):
    return CliRunner().invoke(bench, [str(a) for a in args], catch_exceptions=False)


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (50, 100, 0.4038, 0.5962), (0, 0, 0.0, 1.0)],
)
def test_wilson_is_the_textbook_interval(right, n, low, high):
    assert wilson(right, n) == pytest.approx((low, high), abs=1e-4)


def test_a_cell_is_what_decoding_and_grading_say():
    from decoders import Generator

    job = Job("list", "easy", "threshold:tau=0.9", n=6, batch=4)
    cell = evaluate(job)
    task, made = TASKS["list"], []
    for item in items(task, "easy", "test", 6):
        made += Generator("nano", "threshold:tau=0.9")([item.prompt], length=task.length["easy"], seed=0)
    grades = [task.grade(i.problem, g.text) for i, g in zip(items(task, "easy", "test", 6), made, strict=True)]
    assert cell.right == sum(g.exact for g in grades)
    assert cell.nfe == pytest.approx(sum(g.nfe for g in made) / 6)
    assert cell.tokens == pytest.approx(sum(len(g.tokens) for g in made) / 6)
    assert cell.work is None


def test_the_tasks_command_prints_and_saves_the_same_cells(tmp_path):
    out = tmp_path / "cells.json"
    done = run(
        "tasks", "-d", "threshold", "-d", "left_to_right", "-t", "shuffle/easy", "-n", 4, "--workers", 1, "-o", out
    )
    assert done.exit_code == 0, done.output
    cells = load_cells(out)
    assert [c.job.decoder for c in cells] == ["threshold", "left_to_right"]
    assert done.output.strip().endswith(task_table(cells).splitlines()[-1])
    assert "torch" in json.loads(out.read_text())["hardware"]
    assert "earlier weights" not in recorded_on(out)
    out.write_text(out.read_text().replace(weights(), "0123456789ab"))
    assert recorded_on(out).endswith(", earlier weights of `nano`")
    assert recorded_on(out, nano=False) == hardware()
    out.write_text('{"hardware": "a processor", "rows": []}')  # as files were before they said so
    assert recorded_on(out) == "a processor, earlier weights of `nano`"


def test_a_table_row_shows_accuracy_interval_work_nfe_and_tokens_per_forward():
    cell = Cell(Job("chain", "easy", "llada", n=10), right=8, work=7, nfe=20.0, tokens=10.0, seconds=1.0)
    assert "**80** (49-94), work 70<br>20.0 / 0.5" in task_table([cell])
    assert "chain/easy (n=10)" in task_table([cell])


def test_the_spread_of_a_rung_names_who_is_lowest_and_highest_and_the_widest_comes_first():
    def cell(rung, decoder, right):
        return Cell(Job("list", rung, decoder, n=40), right=right, work=None, nfe=1.0, tokens=1.0, seconds=1.0)

    alike = [cell("easy", x, 40) for x in ("a", "b", "c", "d")]
    apart = [cell("hard", "a", 10), cell("hard", "b", 30), cell("hard", "c", 30), cell("hard", "d", 20)]
    _, _, hard, easy = spread_table([*alike, *apart]).splitlines()
    assert hard == "| list/hard (n=40) | 50 | **25** `a` | **75** `b`, `c` |"
    assert easy == "| list/easy (n=40) | 0 | **100** 4 of 4 | **100** 4 of 4 |"


def test_timings_survive_the_disk(tmp_path):
    timing = Timing("threshold", "float32", 8, 32, 126464, 60.0, 40.0)
    save(tmp_path / "t.json", [timing])
    assert load_timings(tmp_path / "t.json") == [timing]
    assert "1.50" in timing_table([timing])


def test_every_command_can_end_with_json():
    for name, command in bench.commands.items():
        inner = getattr(command, "commands", {name: command})
        assert all("as_json" in {p.name for p in c.params} for c in inner.values()), name


@pytest.mark.parametrize(
    "command",
    ["step-time -d threshold --batch 1 --dtype float32 --vocab 64 --repeats 2", "demo -d threshold -t list/easy"],
)
def test_the_last_line_of_json_holds_what_was_printed(command):
    plain, done = run(*command.split()), run(*command.split(), "--json")
    said = json.loads(done.output.splitlines()[-1])
    assert said["command"] == command.split()[0]
    assert [r["decoder"] for r in said["rows"]] == ["threshold"]
    assert len(done.output.splitlines()) == len(plain.output.splitlines()) + 1


def test_a_record_holds_fields_and_properties_and_no_infinity():
    timing = Timing("threshold", "float32", 8, 32, 126464, 60.0, 40.0)
    assert record(timing)["ratio"] == 1.5
    assert record(replace(timing, step_ms=float("inf")))["step_ms"] is None
    assert document("step-time", [timing], threads=1)["threads"] == 1


@pytest.mark.parametrize("spec", ["threshold", "llada:temperature=1.0", "left_to_right"])
def test_step_time_measures_a_step_that_commits(spec):
    timing = time_step(spec, torch.float32, batch=2, block=4, vocab=3000, repeats=3)
    assert timing.step_ms > 0
    assert timing.bare_max_ms > 0
    assert timing.ratio == timing.step_ms / timing.bare_max_ms


def test_unknown_tasks_and_rungs_are_named():
    with pytest.raises(UsageError, match="unknown task 'sudokus'; did you mean 'sudoku'"):
        chosen(("sudokus",))
    with pytest.raises(UsageError, match="task list has no rung 'hrad'; did you mean 'hard'"):
        chosen(("list/hrad",))
    assert chosen(("list", "chain/hard")) == [("list", "easy"), ("list", "hard"), ("chain", "hard")]


def test_the_demo_shows_prompts_answers_and_verdicts():
    done = run("demo", "-d", "threshold", "-t", "list/easy")
    (item,) = items(TASKS["list"], "easy", "test", 1, 0)
    assert item.prompt in done.output
    assert "threshold" in done.output
    assert any(word in done.output for word in ("yes", "no"))


@pytest.mark.slow
def test_training_is_resumable_and_gives_the_same_weights(tmp_path, monkeypatch):
    """A run of four steps, and one that is stopped after two and gone on with, end in the same model."""
    from safetensors.torch import load_file

    from decoders_bench.nano.train import Plan, train

    small = {
        "positions": 300, "widest": 300, "hidden": 32, "layers": 1, "heads": 2, "inner": 32, "save_every": 2,
        "workers": 2, "steps": 4,
    }
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(Plan(str(whole), **small), lambda row: None)

    def interrupt(row):
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Plan(str(parts), **small), interrupt)
    assert json.loads((parts / "checkpoint.json").read_text())["step"] == 2
    train(Plan(str(parts), **small), lambda row: None)
    a, b = load_file(whole / "model" / "model.safetensors"), load_file(parts / "model" / "model.safetensors")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    with pytest.raises(UsageError, match="another seed"):
        train(Plan(str(parts), **small, seed=1), lambda row: None)
