"""`decoders bench quantised`: what is measured of weights in fewer bits."""

from __future__ import annotations

import json

import torch
from click.testing import CliRunner

from decoders_bench.cli import bench
from decoders_bench.quantised import measure
from decoders_bench.quantised.tables import load_quantised, quantised_table


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "LLADA", {**measure.LLADA, "hidden_size": 128, "intermediate_size": 192})
    output = tmp_path / "q.json"
    done = CliRunner().invoke(bench, ["quantised", "-n", "2", "-t", "shuffle/easy", "-o", str(output), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert [(r["method"], r["asked"]) for r in rows] == [
        ("none", 2), ("int8", None if rows[1]["problem"] else 2), ("int4", 2), ("none", None), ("int8", None),
        ("int4", None),
    ]
    for plain, small in ((rows[0], rows[2]), (rows[3], rows[5])):
        assert plain["error"] == 0
        assert 0 < small["error"] < 0.5
        assert small["bytes"] < 0.35 * plain["bytes"]
    assert quantised_table(load_quantised(output)) in done.stdout


def test_what_is_measured():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert measure.against(logits, logits) == (0.0, 1.0)
    error, same = measure.against(logits, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    assert (round(error, 6), same) == (1.0, 0.5)
