"""The cost of statistics of rows, and its table."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from decoders.cli import main
from decoders.stats import compiled
from decoders_bench.step_time.rows import RowTime, rows_table


@pytest.mark.skipif(bool(compiled.problem()), reason=f"no kernel: {compiled.problem()}")
def test_every_statistic_is_timed_in_every_way(tmp_path):
    out = tmp_path / "rows.json"
    command = f"bench row-time --batch 2 --dtype bfloat16 --vocab 64 --repeats 2 -o {out}"
    done = CliRunner().invoke(main, command.split(), catch_exceptions=False)
    assert done.exit_code == 0
    rows = json.loads(out.read_text())["rows"]
    assert [r["asked"] for r in rows] == ["best", "entropy", "margin", "sample", "sample, 0.7", "race"]
    assert all(r[f"{way}_ms"] > 0 for r in rows for way in ("bare_max", "naive", "torch", "compiled"))
    assert "| 64 | 2 | bfloat16 |" in done.output


def test_a_table_has_a_line_for_each_shape_and_multiples_of_a_bare_maximum():
    made = [RowTime(asked, "float32", 8, 32_000, 2.0, 5.0, 3.0, 1.0) for asked in ("best", "entropy")]
    header, _, line = rows_table(made).splitlines()
    assert header == "| vocabulary | rows | logits | bare max, ms | best | entropy |"
    assert line == "| 32,000 | 8 | float32 | 2.000 | 2.5 / 1.5 / **0.50** | 2.5 / 1.5 / **0.50** |"
