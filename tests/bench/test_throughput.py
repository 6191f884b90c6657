"""`decoders bench throughput`."""

from __future__ import annotations

import json

from click.testing import CliRunner

from decoders_bench.cli import bench
from decoders_bench.throughput.measure import RUNGS, prompts_of


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
