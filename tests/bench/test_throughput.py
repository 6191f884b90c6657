"""`decoders bench throughput`."""

from __future__ import annotations

import json

from click.testing import CliRunner

from decoders_bench.cli import bench
from decoders_bench.throughput.first import batched, flowing
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
