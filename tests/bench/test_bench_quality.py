"""`decoders bench quality`: what a grid is, that every outcome is written once whatever happens, and what is computed
from them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from decoders import Generator, UsageError
from decoders.cli import main
from decoders_bench.common.models import loaded
from decoders_bench.common.workers import spread
from decoders_bench.quality.grid import Grid
from decoders_bench.quality.journal import Journal
from decoders_bench.quality.rows import lines, load
from decoders_bench.quality.runner import decode, jobs_of, key, measure
from decoders_bench.quality.summary import (
    points,
)  # fmt: skip
from decoders_bench.tasks import GENERATED, chosen, task_of
from support.deadly_jobs import always_dies, dies_once

ROOT = Path(__file__).parents[2]
SMALL = Grid(
    "nano", ("threshold", "left_to_right"), (), ("shuffle/easy", "sort/easy"), (None,), None, (0,), 3, "test",
    {"tau": ("0.5", "0.9")}
)
INFO = {"command": "test", "environment": {}, "grid": {"items": 3, "decoders": [], "caches": [], "tasks": []}}


def quality(*args):
    return CliRunner().invoke(main, ["bench", "quality", *map(str, args)])


def timeless(rows):
    """What has to be equal between runs of the same grid."""
    return sorted((replace(r, seconds=0.0) for r in rows), key=lambda r: r.key)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    measure(SMALL, path, command="test", traced=1)
    return load(path)


# What a run is


def test_a_run_has_every_item_of_every_cell_once_and_says_what_it_was(run):
    assert len(run.rows) == 3 * 2 * 2 * 3  # points, places, wordings, items
    assert len({r.key for r in run.rows}) == len(run.rows) == len(lines(run.path / "rows.jsonl"))
    grid = run.info["grid"]
    assert (grid["decoders"], grid["caches"], grid["tasks"]) == (
        ["threshold", "left_to_right"],
        ["exact"],
        ["shuffle/easy", "sort/easy"],
    )
    assert (grid["templates"], grid["seeds"], grid["items"], grid["split"]) == ([0, 1], [0], 3, "test")
    assert {"hardware", "python", "torch", "transformers", "decoders", "commit", "started", "threads"} <= set(
        run.info["environment"]
    )
    found = [(r.decoder, r.curve, r.swept, r.value) for r in run.rows]
    assert list(dict.fromkeys(found)) == [
        ("threshold:tau=0.5", "threshold", "tau", 0.5), ("threshold:tau=0.9", "threshold", "tau", 0.9),
        ("left_to_right", "left_to_right", None, None),
    ]


def test_a_row_is_what_decoding_its_item_alone_gives(run):
    r = next(r for r in run.rows if r.decoder == "threshold:tau=0.9" and r.item == 2 and r.template == 1)
    task, _ = task_of(r.task)
    item = task.items(r.rung, "test", 3, r.seed, r.template)[2]
    (g,) = Generator(loaded("nano"), r.decoder)([item.prompt], length=task.length[r.rung], seed=key(0, 2))
    assert (r.prompt, r.expected, r.output) == (item.prompt, item.answer, g.text)
    assert (r.nfe, r.tokens, r.positions) == (g.nfe, g.generated_tokens, g.positions_computed)
    assert r.right == task.grade(item.problem, g.text).exact
    assert r.flops == g.flops > 0


def test_the_items_of_two_decoders_and_of_two_wordings_are_the_same_problems(run):
    asked = {}
    for r in run.rows:
        asked.setdefault(r.question, set()).add(r.prompt)
        asked.setdefault(r.problem, set()).add(tuple(sorted(r.expected.split())))
    assert all(len(x) == 1 for x in asked.values())


def test_rows_do_not_depend_on_the_batch_also_where_they_are_sampled(tmp_path):
    grid = replace(SMALL, decoders=("threshold:temperature=1.0",), tasks=("shuffle/easy",), sweeps={}, seeds=(0, 1))
    measure(grid, tmp_path / "a", command="", batch=25)
    measure(grid, tmp_path / "b", command="", batch=2)
    a, b = load(tmp_path / "a"), load(tmp_path / "b")
    assert timeless(a.rows) == timeless(b.rows)
    assert len({r.prompt for r in a.rows}) == len(a.rows)  # seeds draw other items
    assert {r["cell"] + str(r["item"]): r for r in a.traces} == {r["cell"] + str(r["item"]): r for r in b.traces}


def test_a_budget_larger_than_the_canvas_is_the_canvas(tmp_path):
    grid = replace(SMALL, decoders=("llada",), tasks=("sort/easy",), templates=(0,), sweeps={"steps": ("8", "64")})
    measure(grid, tmp_path / "run", command="")
    a, b = (p.rows for p in points(load(tmp_path / "run").rows))
    assert [(r.output, r.nfe) for r in a] == [(r.output, r.nfe) for r in b]


def test_one_option_is_swept_the_first_that_is_not_set():
    grid = replace(
        SMALL, decoders=("dream", "dream:steps=4", "threshold:tau=0.8", "s2d2"),
        sweeps={"steps": ("2",), "tau": ("0.5", "0.6")},
    )
    assert [p[:3] for p in grid.points()] == [
        ("dream:steps=2", "dream", "steps"), ("dream:steps=4,tau=0.5", "dream:steps=4", "tau"),
        ("dream:steps=4,tau=0.6", "dream:steps=4", "tau"), ("threshold:tau=0.8", "threshold:tau=0.8", None),
        ("s2d2:tau=0.5", "s2d2", "tau"), ("s2d2:tau=0.6", "s2d2", "tau"),
    ]


def test_a_preset_brings_its_cache_and_caches_multiply():
    assert {p[4] for p in replace(SMALL, decoders=("fast-dllm",)).points()} == {"dual"}
    assert [p[4] for p in replace(SMALL, decoders=("left_to_right",), caches=("none", "exact")).points()] == [
        "none",
        "exact",
    ]


def test_a_cell_is_known_by_the_same_name_in_every_run():
    (cell, _), *_ = SMALL.cells()
    assert cell.id == "ec41859f5ef1f030"
    ids = {c.id for c, _ in SMALL.cells()}
    assert len(ids) == len(SMALL.cells()) == 12
    assert ids < {c.id for c, _ in replace(SMALL, seeds=(0, 1)).cells()}


# Traces


def test_a_trace_replays_to_the_text(run):
    traced = {(t["cell"], t["item"]): t for t in run.traces}
    assert set(traced) == {r.key for r in run.rows if r.item == 0}
    decoded = loaded("nano").tokenizer
    for r in run.rows:
        if r.item:
            continue
        t = traced[r.key]
        canvas = list(t["initial"])
        assert set(canvas) == {t["mask"]}
        for frame in t["frames"]:
            for position, token, kind, confidence in frame["changes"]:
                assert kind == "commit"
                assert 0 < confidence <= 1
                canvas[position - t["start"]] = token
        assert decoded.decode([x for x in canvas if x != t["mask"]]).startswith(r.output)
        assert len(t["frames"]) == r.nfe == t["frames"][-1]["step"]
        assert t["start"] == len(decoded.encode(r.prompt))
        assert {str(x) for x in canvas} <= set(t["vocab"])


def test_a_trace_tells_editing_and_reopening_from_committing(tmp_path):
    # a decoder that takes back what it wrote
    revising = ("llada2:tau_mask=0.0,tau_edit=0.3", "t2m:tau_mask=0.0,tau=0.9")
    grid = replace(SMALL, decoders=revising, tasks=("shuffle/hard",), sweeps={}, templates=(0,), items=4)
    measure(grid, tmp_path / "run", command="", traced=4)
    kinds = {change[2] for t in load(tmp_path / "run").traces for f in t["frames"] for change in f["changes"]}
    assert kinds == {"commit", "edit", "reopen"}


# Exactly once


def test_what_a_killed_process_left_is_cut_off_and_the_run_goes_on_to_the_same_rows(tmp_path, run):
    """Rows cut anywhere; traces, which are written before their rows, anywhere behind those of the rows that are
    left."""
    rng, rows, traces = Random(0), (run.path / "rows.jsonl").read_bytes(), (run.path / "traces.jsonl").read_bytes()
    for n in range(4):
        path = tmp_path / str(n)
        path.mkdir()
        (path / "run.json").write_text((run.path / "run.json").read_text())
        (path / "rows.jsonl").write_bytes(rows[: rng.randrange(len(rows))])
        needed = {x["cell"] for x in lines(path / "rows.jsonl")}
        end = sum(len(line) for line in traces.splitlines(keepends=True) if json.loads(line)["cell"] in needed)
        (path / "traces.jsonl").write_bytes(traces[: rng.randint(end, len(traces))])
        measure(SMALL, path, command="again", batch=2)
        again = load(path)
        assert timeless(again.rows) == timeless(run.rows)
        assert len(lines(path / "rows.jsonl")) == len(run.rows)
        assert len(lines(path / "traces.jsonl")) == len(run.traces)


def test_a_finished_run_decodes_nothing(run, monkeypatch):
    monkeypatch.setattr("decoders_bench.quality.runner.decode", None)
    before = (run.path / "rows.jsonl").read_bytes()
    heard = []
    measure(SMALL, run.path, command="again", notify=lambda items, weight: heard.append(items))
    assert heard == [len(run.rows)]
    assert (run.path / "rows.jsonl").read_bytes() == before


KILLED = (
    "-d", "threshold", "-d", "llada", "-t", "shuffle,list/easy", "-n", 6, "--steps", "4,8", "--workers", 1, "--batch",
    2,
)


def command(path, *more):
    return [
        sys.executable,
        "-m",
        "decoders.cli",
        "bench",
        "quality",
        *map(str, KILLED),
        "-o",
        str(path),
        *map(str, more),
    ]


@pytest.mark.slow
def test_ten_kills_at_random_moments_and_a_resume_give_the_rows_of_an_uninterrupted_run(tmp_path):
    """With one worker and with two, in turns."""
    whole, cut, rng = tmp_path / "whole", tmp_path / "cut", Random(0)
    subprocess.run(command(whole), check=True, capture_output=True, timeout=600)
    expected, kills, partial = load(whole), 0, set()
    while kills < 10:
        process = subprocess.Popen(
            command(cut, "--workers", 1 + kills % 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        rows = cut / "rows.jsonl"
        before = rows.stat().st_size if rows.exists() else 0
        wait_for = rng.randrange(3)  # while it starts; after a first line; some lines later
        deadline = time.monotonic() + (rng.uniform(0, 8) if wait_for == 0 else 300)
        while time.monotonic() < deadline and process.poll() is None:
            if wait_for and rows.exists() and rows.stat().st_size > before + (wait_for - 1) * 1000:
                time.sleep(rng.uniform(0, 0.05))
                break
            time.sleep(0.002)
        finished = process.poll() is not None
        process.kill()
        process.wait()
        if finished:  # too late: take some of it away, so that there is something left to interrupt
            data = rows.read_bytes()
            rows.write_bytes(data[: rng.randrange(len(data))])
            continue
        kills += 1
        partial.add(len(lines(rows)))
    subprocess.run(command(cut), check=True, capture_output=True, timeout=600)
    assert timeless(load(cut).rows) == timeless(expected.rows)
    assert len(lines(cut / "rows.jsonl")) == len(expected.rows)
    assert len(partial) > 2  # it was interrupted at different places


def test_a_run_of_another_grid_is_refused_in_one_line_and_left_as_it_is(run):
    before = (run.path / "run.json").read_text()
    with pytest.raises(UsageError, match=r"another grid \(items: 3 there, 4 here\); take another directory"):
        measure(replace(SMALL, items=4), run.path, command="")
    assert (run.path / "run.json").read_text() == before


def test_a_run_that_has_ended_can_be_packed_and_read_and_is_not_written_to(run, tmp_path):
    at = shutil.copytree(run.path, tmp_path / "run")
    subprocess.run(["gzip", at / "rows.jsonl", at / "traces.jsonl"], check=True)
    assert (load(at).rows, load(at).traces) == (run.rows, run.traces)
    with pytest.raises(UsageError, match=r"packed; to go on with it: gunzip .*rows\.jsonl\.gz"):
        Journal(at, run.info)
    (at / "rows.jsonl.gz").write_bytes((at / "rows.jsonl.gz").read_bytes()[:-9])
    with pytest.raises(UsageError, match=r"rows\.jsonl\.gz cannot be read"):
        load(at)


def test_two_processes_cannot_write_one_run(tmp_path):
    with Journal(tmp_path / "run", INFO), pytest.raises(UsageError, match="another process is writing"):
        Journal(tmp_path / "run", INFO)


def test_a_directory_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"holds thesis\.tex and no run"):
        Journal(tmp_path, INFO)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file"):
        Journal(tmp_path / "thesis.tex", INFO)


def test_a_row_is_written_once_however_often_it_comes(tmp_path):
    line = {"cell": "c", "item": 1}
    with Journal(tmp_path / "run", INFO) as journal:
        assert journal.add([line, line], []) == 1
        assert journal.add([line], []) == 0
    assert lines(tmp_path / "run" / "rows.jsonl") == [line]


def test_reading_refuses_two_outcomes_of_an_item_and_damaged_lines(run, tmp_path):
    data = (run.path / "rows.jsonl").read_text()
    first = json.loads(data.splitlines()[0])
    (tmp_path / "run.json").write_text((run.path / "run.json").read_text())
    rows = tmp_path / "rows.jsonl"
    rows.write_text(data + json.dumps(first | {"seconds": 9.0}) + "\n")
    assert len(load(tmp_path).rows) == len(run.rows)
    rows.write_text(data + json.dumps(first | {"nfe": 999}) + "\n")
    with pytest.raises(UsageError, match="two outcomes that differ"):
        load(tmp_path)
    rows.write_text("{}\n" + data)
    with pytest.raises(UsageError, match="line 1, has no 'cell'"):
        load(tmp_path)
    rows.write_text("nonsense\n" + data)
    with pytest.raises(UsageError, match="line 1, is damaged"):
        load(tmp_path)
    with pytest.raises(UsageError, match="holds no quality run"):
        load(tmp_path / "elsewhere")


# Workers


def test_results_that_were_heard_of_before_a_worker_died_are_kept(monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    begun, heard = [], []

    def attempt(work, jobs, workers, notify, results):
        for i, job in enumerate(jobs):
            if i not in results:
                begun.append(job)
                if len(begun) in (2, 4, 5):
                    raise BrokenProcessPool
                results[i] = work(job)
                notify(results[i])

    monkeypatch.setattr("decoders_bench.common.workers.attempt", attempt)
    assert spread(str, [1, 2, 3], 2, heard.append) == ["1", "2", "3"]
    assert (begun, heard) == ([1, 2, 2, 3, 3, 3], ["1", "2", "3"])


@pytest.mark.slow
def test_the_jobs_of_a_worker_that_dies_are_begun_again_and_heard_of_once(tmp_path):
    heard = []
    jobs = [(tmp_path / "flag", i) for i in range(6)]
    assert spread(dies_once, jobs, 2, heard.append) == [0, 1, 4, 9, 16, 25]
    assert (tmp_path / "flag").exists()
    assert sorted(heard) == [0, 1, 4, 9, 16, 25]


@pytest.mark.slow
def test_workers_that_die_again_and_again_end_the_run_with_one_line():
    with pytest.raises(UsageError, match="died 4 times over the same jobs"):
        spread(always_dies, [None], 1, print)


@pytest.mark.slow
def test_a_worker_does_not_outlive_a_parent_that_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests'); from decoders_bench.common.workers import "
        "spread\n"
        "from support.deadly_jobs import sleeps\n"
        f"if __name__ == '__main__': spread(sleeps, [Path({str(tmp_path / 'pid')!r})], 1, print)"
    )
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], cwd=ROOT)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    worker = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: not alive(worker))


def wait_until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_two_ray_workers_one_that_is_killed_and_one_process_give_the_same_rows(tmp_path):
    pytest.importorskip("ray")
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(command(one), check=True, capture_output=True, timeout=600)
    process = subprocess.Popen(
        command(two, "--workers", 2, "--ray"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    killed = []
    while process.poll() is None and not killed:
        time.sleep(0.05)
        if (two / "rows.jsonl").exists() and lines(two / "rows.jsonl"):
            killed = [pid for pid in descendants(process.pid) if "on_one_thread" in name_of(pid)][:1]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert killed
    assert timeless(load(one).rows) == timeless(load(two).rows)
    assert len(lines(two / "rows.jsonl")) == len(load(one).rows)


def descendants(pid):
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    out, todo = [], [pid]
    while todo:
        new = children.get(todo.pop(), [])
        out += new
        todo += new
    return out


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


# The command


def test_the_command_prints_tables_and_one_document(tmp_path):
    args = ("-d", "threshold", "-d", "left_to_right", "-t", "sort/easy,shuffle/easy",
    "-n", 2, "--workers", 1, "--thresholds", "0.5,0.9",
            "-o", tmp_path / "run", "--json")  # fmt: skip
    done = quality(*args)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout.strip().splitlines()[-1])
    assert document["finished"]
    assert document["outcomes"] == 3 * 2 * 2 * 2
    assert [p["decoder"] for p in document["points"]] == ["threshold:tau=0.5", "threshold:tau=0.9", "left_to_right"]
    assert [c["curve"] for c in document["curves"]] == ["threshold", "left_to_right"]
    assert len(document["cells"]) == 12
    first = document["verdicts"][0]
    assert (first["axis"], first["curve"], first["baseline"]) == ("forwards", "left_to_right", "threshold")
    assert [line["decoder"] for line in first["lines"]] == ["left_to_right"]
    for words in ("| `left_to_right`", "AUP", "template spread", "verdict"):
        assert words in done.stdout
    assert quality(*args).stdout == done.stdout  # nothing left to do, and the same tables


ZIGZAG = "decoders_zigzag:ZigZag"


def test_a_users_own_decoder_is_measured_by_naming_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "plugins" / "example")
    done = quality(
        "-d", ZIGZAG, "-t", "shuffle/easy", "-n", 2, "--workers", 1, "--steps", "2,4", "-o", tmp_path / "run"
    )
    assert done.exit_code == 0, done.output
    assert [(p.curve, p.swept, p.value) for p in points(load(tmp_path / "run").rows)] == [
        (ZIGZAG, "block_steps", x) for x in (2, 4)
    ]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-d", "treshold"], "did you mean 'threshold'"),
        (["-t", "shufle"], "did you mean 'shuffle'"),
        (["-t", "shuffle/odd"], "has no rung 'odd'"),
        (["-t", "gsm8k"], "write gsm8k:FILE.jsonl"),
        (["-t", "gsm8k:/nowhere.jsonl"], "/nowhere.jsonl cannot be read"),
        (["-t", "shuffle,shuffle/easy"], "stands twice among the tasks"),
        (["-d", "threshold", "-d", "threshold"], "would be measured twice"),
        (["-d", "threshold", "-d", "threshold:temperature=0.0,tau=0.9"], "would be measured twice"),
        (["-d", "threshold", "--thresholds", "2"], "tau must be between 0 and 1"),
        (["-d", "left_to_right", "--thresholds", "0.5"], "none of the decoders has an option 'tau'"),
        (["-d", "threshold", "--sweep", "speed=1,2"], "none of the decoders has an option 'speed'"),
        (["--sweep", "tau"], "write OPTION=VALUE,VALUE"),
        (["--templates", "x"], "numbers that count from 0"),
        (["--templates", "9" * 5000], "numbers that count from 0"), (["--block", "9" * 5000], "a number of positions"),
        (["-t", "shuffle/easy", "--templates", "7"], "has the templates 0 to 1"),
        (["--block", "0"], "a number of positions"),
        (["-m", "nanoo"], "did you mean 'nano'"),
        (["-c", "exakt"], "did you mean 'exact'"),
        (["-d", "threshold", "-c", "block", "-t", "shuffle/easy"], "is for block-causal models"),
        (["-d", "llada", "--steps", "5", "--block", "4", "-t", "shuffle/easy"], "cannot be split evenly over 2 blocks"),
        (["-d", "threshold", "--baseline", "llada"], "not among the decoders"),
        (["-t", "shuffle/easy", "-n", "1", "--length", "5000"], "beyond the"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    done = quality(*args, "--workers", 1)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch):
    calls = []

    def interrupted(job):
        calls.append(job)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(job)

    monkeypatch.setattr("decoders_bench.quality.runner.decode", interrupted)
    args = ("-d", "left_to_right", "-t", "shuffle/easy", "-n", 4, "--batch", 1, "--workers", 1, "-o", tmp_path / "run")
    done = quality(*args)
    assert done.exit_code == 130
    assert done.stderr == f"Interrupted: 2 of 8 items are in {tmp_path / 'run'}; the same command goes on from there.\n"
    assert len(load(tmp_path / "run").rows) == 2
    assert quality(*args).exit_code == 0
    assert len(load(tmp_path / "run").rows) == 8


def test_the_full_grid_has_every_task_that_needs_no_file():
    from decoders_bench.quality.cli import NANO, REST

    names = [*NANO, *REST]
    assert len(set(names)) == len(names)
    made = chosen([x for x in names if x.partition("/")[0] in GENERATED])
    assert set(made) == set(chosen(tuple(GENERATED)))


@pytest.mark.parametrize(("model", "takes", "sampled"), [
    ("nano", "ancestral:temperature=0.0", "ddim"),
    ("nano-latent", "ddim", "ancestral"),
])  # fmt: skip
def test_the_full_grid_has_the_decoders_that_suit_the_model(model, takes, sampled):
    """Samplers of latents have no temperature of 0, and are not refused for that."""
    from decoders_bench.quality.cli import able

    found, skipped = able(model)
    assert takes in found
    assert not [x for x in found if x.partition(":")[0] == sampled]
    assert not [x for x in skipped if "temperature" in x]
    assert [x for x in skipped if x.startswith(f"without {sampled}: ") and "latents" in x]


def test_the_default_grid_has_eight_decoders_and_a_run_of_its_own_name():
    from decoders_bench.quality.cli import EIGHT, FACTORS, NANO, STEPS, THRESHOLDS, default_directory, listed

    assert len(set(EIGHT)) == 8
    grid = Grid("nano", EIGHT, (), NANO, (None,), None, (0,), 10, "test",
                {"steps": listed(STEPS), "tau": listed(THRESHOLDS), "f": listed(FACTORS)})  # fmt: skip
    assert len(grid.points()) == 7 * 4 + 1
    assert default_directory(grid) == default_directory(replace(grid))
    assert default_directory(grid) != default_directory(replace(grid, items=11))
    assert jobs_of(grid, set(), 25, 1)[0].length == max(grid.canvas(p) for p in grid.places())
