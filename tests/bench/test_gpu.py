"""What `bench/gpu.sh` writes down, in which order it does things, and what it does when they go wrong; the whole of it
is rehearsed in test_gpu_rehearsal.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from decoders import UsageError
from decoders.engine import Recorded
from decoders_bench.common.plain import see_both_ways
from decoders_bench.common.replay import Recording
from decoders_bench.common.shapes import build, scaled
from decoders_bench.common.stopwatch import Stopwatch
from decoders_bench.gpu import checks, cli, record, steps, tables, work
from decoders_bench.gpu.ledger import LOST, Ledger, file_of
from decoders_bench.gpu.nano import planned
from decoders_bench.gpu.parts import Clock, DeviceLostError, Part, Task, attempt, go
from decoders_bench.gpu.scale import FULL, TINY
from decoders_bench.latency.network import heard, replayed
from decoders_bench.latency.peers import PEERS
from decoders_bench.latency.recordings import Recordings, Wanted
from decoders_bench.latency.roofline import Ceilings
from decoders_bench.latency.rows import Case, Latency
from decoders_bench.latency.split import FORWARD
from decoders_bench.nano.lessons import LESSONS
from decoders_bench.tasks import LONG, TASKS

pytestmark = pytest.mark.usefixtures("frozen")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path):
    return Ledger.of("NVIDIA H100 80GB HBM3", "it, torch 2.11", tmp_path / "out", tmp_path / "earlier")


def broken():
    raise RuntimeError("illegal access\nand more")


# what is written down


def test_a_figure_is_on_disk_when_it_is_there_and_a_card_has_its_own_file(ledger, tmp_path):
    assert ledger.path.name == file_of("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3.json"
    ledger.found("a/x", {"ms": 1.5})
    ledger.fail("a/y", "no")
    again = Ledger.of(ledger.card, ledger.hardware, tmp_path / "out", tmp_path / "earlier")
    assert (again.rows, again.failed) == (ledger.rows, ledger.failed)
    assert Ledger.of("another card", "", tmp_path / "out", tmp_path / "earlier").rows == {}


def test_results_in_the_tree_are_gone_on_from_and_left_as_they_are(ledger, tmp_path):
    ledger.found("a/x", {"ms": 1.5})
    ledger.path.parent.rename(tmp_path / "earlier")
    before = (tmp_path / "earlier" / ledger.path.name).read_text()
    again = Ledger.of(ledger.card, ledger.hardware, tmp_path / "out", tmp_path / "earlier")
    again.found("a/y", {"ms": 2.0})
    assert set(json.loads(again.path.read_text())["rows"]) == {"a/x", "a/y"}
    assert (tmp_path / "earlier" / ledger.path.name).read_text() == before


def test_what_failed_is_tried_again_in_another_call_and_what_is_there_is_not(ledger):
    ledger.calls = 1
    ledger.found("a/x", {})
    ledger.fail("a/y", "no")
    assert [ledger.missing(f"a/{name}") for name in "xyz"] == [False, False, True]
    ledger.calls = 2
    assert [ledger.missing(f"a/{name}") for name in "xyz"] == [False, True, True]
    ledger.forget("a")
    assert all(ledger.missing(f"a/{name}") for name in "xyz")


def test_whoever_dies_leaves_behind_what_it_was_at(ledger, tmp_path):
    ledger.begin("a/x")
    again = Ledger.of(ledger.card, ledger.hardware, tmp_path / "out", tmp_path / "earlier")
    assert again.failed["a/x"]["why"] == LOST
    assert again.begun is None


# in which order


def test_parts_are_gone_through_within_their_shares_and_then_to_the_end(ledger, monkeypatch):
    now, done = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def task(key, seconds):
        def run():
            now[0] += seconds
            done.append(key)
            return {}

        return Task(key, run, seconds)

    first = Part("a", 0.2, [task(f"a/{i}", 15.0) for i in range(4)])
    second = Part("b", 1.0, [task("b/0", 10.0), task("b/1", 80.0), task("b/2", 10.0)])
    go([first, second], ledger, Clock(100.0))
    assert done == [
        "a/0",
        "a/1",
        "b/0",
        "a/2",
        "a/3",
    ]  # of b/1 too little was left, and what is behind it is worth less
    assert now[0] <= 100


def test_what_took_a_process_with_it_comes_last(ledger):
    ledger.calls, done = 1, []
    ledger.fail("a/0", LOST)
    ledger.calls = 2
    go(
        [Part("a", 1.0, [Task(f"a/{i}", lambda i=i: done.append(i) or {}) for i in range(3)])],
        ledger,
        Clock(time.monotonic() + 100),
    )
    assert done == [1, 2, 0]


def test_parts_that_are_named_are_the_only_ones(ledger):
    clock = Clock(time.monotonic() + 100)
    every = [part.name for part in work.parts(TINY, ledger, clock, ())]
    assert [part.name for part in work.parts(TINY, ledger, clock, ("kernel", "checks"))] == ["checks", "kernel"]
    with pytest.raises(UsageError, match=f"no part 'kernels'; there are {', '.join(every)}"):
        work.parts(TINY, ledger, clock, ("kernels",))


# when things go wrong


def test_a_failure_is_named_its_traceback_kept_and_the_run_goes_on(ledger):
    def cannot():
        raise UsageError("this model keeps no store")

    tasks = [Task("a/0", broken), Task("a/1", cannot), Task("a/2", dict)]
    go([Part("a", 1.0, tasks)], ledger, Clock(time.monotonic() + 100))
    assert list(ledger.rows) == ["a/2"]
    assert ledger.failed["a/0"]["why"] == "RuntimeError: illegal access"
    assert (ledger.failed["a/1"]["why"], ledger.failed["a/1"]["final"]) == ("this model keeps no store", True)
    text = (ledger.path.parent / "tracebacks.txt").read_text()
    assert "a/0" in text
    assert "in broken" in text
    assert "a/1" not in text
    assert work.told([Part("a", 1.0, tasks)], ledger) == 1


def test_a_lost_device_ends_the_process_and_another_goes_on(ledger, monkeypatch, tmp_path):
    monkeypatch.setattr("decoders_bench.gpu.parts.lost", lambda: True)
    with pytest.raises(DeviceLostError):
        attempt(Task("a/0", broken), ledger)
    codes, flags = [cli.AGAIN, -11, 0], []
    monkeypatch.setattr(cli, "once", lambda *asked: flags.append(asked[-1]) or codes.pop(0))
    with pytest.raises(SystemExit) as ended:
        cli.gpu(["first", "--out", str(tmp_path)], standalone_mode=False)
    assert ended.value.code == 0
    assert flags == [False, True, True]


def test_a_process_that_hangs_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/bin/sleep")
    monkeypatch.setattr(
        subprocess, "Popen", lambda asked, popen=subprocess.Popen, **how: popen(["/bin/sleep", "60"], **how)
    )
    began = time.monotonic()
    assert cli.once(began + 0.3, tmp_path, (), (), True, False) == cli.TIME_IS_UP
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_without_a_gpu_one_line_says_what_to_do(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    env = os.environ | {"OUT": str(tmp_path / "out"), "PYTHON": sys.executable}
    done = subprocess.run([ROOT / "bench" / "gpu.sh", "first"], capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 2
    assert (
        done.stdout.splitlines()[-1]
        == "Error: there is no CUDA device here; --rehearse does the same on a CPU at tiny shapes"
    )


# what is asked


def test_the_recordings_that_a_gpu_needs_are_there():
    """Of the cells that have names; a strategy that has come since is told there that it has none."""
    kept = Recordings(work.RECORDINGS)
    named = [steps.needed(cell, FULL) for cell in (*steps.ONE, *steps.many(FULL.batches))]
    assert all(isinstance(kept.made[w], Recording) for w in named if w)
    assert sum(isinstance(kept.made.get(w), Recording) for w in record.wanted()) > 40
    assert {w for cell in steps.every(TINY) if (w := steps.needed(cell, TINY))} <= set(record.wanted())


def test_nothing_is_recorded_where_recordings_are_fixed(tmp_path):
    with pytest.raises(UsageError, match="has no recording of threshold with none in blocks of 8"):
        Recordings(tmp_path / "none.json", fixed=True)[Wanted("threshold", "none", "nano", 8, 1)]


def test_every_cell_has_a_name_of_its_own():
    keys = (
        [cell.key for cell in steps.ONE],
        [cell.key for cell in steps.many(FULL.batches)],
        [cell.key for cell in steps.others()],
    )
    assert all(len(set(part)) == len(part) for part in keys)
    assert {cell.batch for cell in steps.many(FULL.batches)} == {8, 32}
    assert len(keys[2]) > 35


def test_the_tests_for_a_gpu_are_found():
    assert {"tests/hosts/test_device.py", "tests/hosts/test_graph.py", "tests/stats/test_stats_kernel.py"} <= set(
        checks.files()
    )


def outcomes(chosen, **tests):
    lines = [
        {"chosen": chosen},
        *({"id": name, "outcome": kind, "seconds": 0.1, "text": ""} for name, kind in tests.items()),
    ]
    return "".join(json.dumps(x) + "\n" for x in lines)


def test_tests_that_have_not_passed_are_told_and_run_again(tmp_path):
    (tmp_path / "0.jsonl").write_text(outcomes(2, a="passed", b="failed"))
    (tmp_path / "1.jsonl").write_text(outcomes(3, c="skipped", d="passed"))
    found = checks.Outcomes.read(tmp_path)
    assert (found.chosen, found.passed, list(found.failed), found.skipped) == (5, ["a", "d"], ["b"], ["c"])
    with pytest.raises(RuntimeError, match="3 passed, 1 failed, 1 skipped, 1 not run"):
        checks.row(["x"], found, 0, [0, 0])
    whole = replace(found, chosen=3, failed={})
    assert checks.row([], whole, 0, [0, 0]) == {"passed": 2, "skipped": 1}
    with pytest.raises(UsageError, match="no test was run"):
        checks.row([], checks.Outcomes(0, [], {}, []), 0, [5])


# the network by itself, and autoregression as graphs


def test_the_network_of_a_step_is_run_again_with_what_it_was_given():
    net = build(scaled("llada-8b-tiny"), "cpu", torch.float32, 16)
    given = {
        "input_ids": torch.tensor([[1, 2, 3]]),
        "position_ids": torch.arange(3)[None],
        "attention_mask": torch.zeros(1, 1, 3, 3),
    }
    with torch.inference_mode(), heard(net) as calls:
        logits = net.get_output_embeddings()(net.base_model(**given, use_cache=False).last_hidden_state)
    assert [module for module, _, _ in calls] == [net.base_model, net.get_output_embeddings()]
    (head, args, kwargs) = calls[1]
    with torch.inference_mode():
        assert torch.equal(head(*args, **kwargs), logits)
        assert replayed(calls, Recorded(), Stopwatch(torch.device("cpu")), 2) > 0
    assert not net.base_model._forward_pre_hooks


def test_captured_autoregression_has_the_tokens_of_the_other():
    net, prompts = build(scaled("llada-8b-tiny"), "cpu", torch.float32, 16), torch.tensor([[5, 6, 7], [8, 9, 1]])
    said = {}
    for way in ("autoregression", "autoregression, captured"):
        tell = said.setdefault(way, []).append
        hook = net.get_output_embeddings().register_forward_hook(
            lambda m, i, out, tell=tell: tell(out[:, -1].argmax(-1).tolist())
        )
        see_both_ways(net, False)
        PEERS[way].decode(net, prompts, 8, 8, (1,) * 3, 0, lambda: None)
        hook.remove()
    plain, captured = said.values()
    # the first runs of a capture are taken back; a replay does not go through the module again
    assert captured == [plain[0], plain[1], plain[1], plain[1]]


# the tables


def test_without_results_the_page_says_so(tmp_path):
    assert tables.page(tmp_path) == "**Nothing has been measured on a GPU yet.**"
    assert tables.summary(tmp_path) == "Nothing has been measured on a GPU yet."


def test_the_tables_say_the_card_and_what_was_found(ledger):
    case = Case("llada-8b", "cuda", "bfloat16", 1, 256, 256, 32, "threshold:tau=0.9", "none", graph=True)
    row = Latency(
        case, "decoders", 8 * 10**9, 3, 16, 27.0, 27, 256, 14.0, 15.0, 14.0, 14.0, None,
        {FORWARD: 12.0, "host": 2.0}, 13.9, 2**34, 1e12,
        2e10, Ceilings(3e12, 8e14), 2**20, 13.3, 13.3,
    )  # fmt: skip
    ledger.found("one/a", asdict(row))
    ledger.found("card/ceilings", {"dtype": "bfloat16", "bandwidth": 3e12, "flops": 8e14})
    ledger.found("checks/pytest", {"passed": 93, "skipped": 0})
    for asked, ms in (("copy", 1.0), ("best", 0.6)):
        row = {"launched": 1.1 * ms, "captured": ms, "gigabytes_per_second": 2000 / ms, "sets": 1}
        ledger.found(f"kernel/4096x126464/bfloat16/{asked}", row)
    ledger.fail("one/b", "it is too large")
    page = tables.page(ledger.path.parent)
    assert "### NVIDIA H100 80GB HBM3" in page
    assert "A copy moves 3000 GB/s, read and written; a matrix product in bfloat16 does 800 TFLOP/s" in page
    assert "all 93 passed" in page
    assert "| 4096x126464 bfloat16 | 1000.0 (100 %) | 600.0 (167 %) |" in page
    assert (
        "| llada-8b | `threshold:tau=0.9` | `none` | 1 | graph | 14.00 | 14.00 |  | 13.30 | 5.0 | 5.0 |  | 0.7 |"
        in page
    )
    assert "- `one/b`: it is too large" in page
    assert "| `threshold:tau=0.9`, `none`, graph | 14.00 | 5.0 | 677 |" in tables.summary(ledger.path.parent)


# training on a card


def test_the_embedded_model_goes_on_with_every_task(tmp_path):
    (begin, mix), = planned(tmp_path, rehearse=False).stages
    rungs = {f"{task}/{rung}" for task, kind in {**TASKS, **LONG}.items() for rung in kind.rungs}
    assert begin == 0
    assert set(mix) == rungs | set(LESSONS)
    assert min(mix.values()) > 0
