"""`decoders bench throughput`."""

from __future__ import annotations

import json
import signal
import sys
from tempfile import TemporaryFile

import pytest
from click.testing import CliRunner

from decoders import UsageError
from decoders_bench.cli import bench
from decoders_bench.throughput.first import batched, flowing
from decoders_bench.throughput.lines import Lines, lines_table, measure_lines, started
from decoders_bench.throughput.measure import RUNGS, items_of, prompts_of


def test_the_command_measures_both_ways_and_finds_the_same_texts():
    args = ["throughput", "-n", "6", "--batch", "2", "--repeats", "1", "-d", "threshold", "--clock", "cpu", "--json"]
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert (row["prompts"], row["same"]) == (6, True)
    assert row["engine_seconds"] > 0 < row["fixed_seconds"]
    assert 0.5 < row["engine_occupied"] <= 1 >= row["fixed_occupied"] > 0
    assert "| yes |" in done.stdout


def test_all_rungs_have_as_many_prompts():
    assert len(set(prompts_of(4 * len(RUNGS), 0))) > 3 * len(RUNGS)
    assert prompts_of(7, 1) == prompts_of(7, 1) != prompts_of(7, 2)


def test_clients_wait_for_their_first_token_both_ways():
    args = ["throughput", "--clients", "2", "-n", "6", "--repeats", "1", "-d", "threshold", "--clock", "cpu", "--json"]
    done = CliRunner().invoke(bench, args)
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert (row["clients"], row["prompts"], row["same"]) == (2, 6, True)
    assert 0 < row["engine_median"] <= row["engine_p95"]
    assert 0 < row["fixed_median"] <= row["fixed_p95"]


def test_in_batches_a_client_waits_for_the_slowest_row():
    """The clock counts how often it is read: both ways read it at each forward and at each first token."""
    job, items = items_of("left_to_right", "nano", 6, 24, 0)
    clock = iter(range(10**6))
    waits = [way(job, items, 2, lambda: float(next(clock))) for way in (flowing, batched)]
    assert all(sorted(w.asked) == sorted(w.first) == list(range(6)) for w in waits)
    assert [w.made[i].text for w in waits for i in range(3)] == 2 * [waits[0].made[i].text for i in range(3)]
    assert max(waits[0].seconds) < max(waits[1].seconds)


@pytest.mark.slow
def test_a_file_of_prompts_is_decoded_by_the_command_and_measured(tmp_path):
    out = tmp_path / "rows.json"
    args = ["throughput", "--lines", "3", "--batch", "2", "-d", "threshold", "--length", "8", "-o", str(out)]
    done = CliRunner().invoke(bench, args, catch_exceptions=False)
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["prompts"], row["batch"], row["length"]) == (3, 2, 8)
    assert 0 < row["seconds"] < 600
    assert 50 << 20 < row["peak"] < 8 << 30
    assert "| `threshold` | 2 | 3 |" in done.output


def test_what_the_command_refuses_is_said_in_its_line():
    with pytest.raises(UsageError, match=r"decoders generate --input: .*unknown strategy 'nothing'"):
        measure_lines("nothing", "nano", 2, 1, 8, 0)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_ends_the_measured_process_too(number, error):
    before = signal.getsignal(signal.SIGTERM)
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    with TemporaryFile("w+") as said, pytest.raises(error), started(sleeping, said) as child:
        signal.raise_signal(number)
    assert child.returncode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_table_of_files_gives_time_a_prompt_and_memory():
    made = lines_table([Lines("threshold", "nano", 8, 48, 1000, 25.0, 600 << 20)])
    assert made.splitlines()[-1] == "| `threshold` | 8 | 1,000 | 25.0 | 600 |"
