"""How the time of a step grows: what is measured, the table and the chart."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from decoders_bench.cli import bench
from decoders_bench.site.scaling import chart, decades, short
from decoders_bench.step_time import scaling
from decoders_bench.step_time.measure import Timing
from decoders_bench.step_time.scaling import BASE, SWEPT, alike, shapes, swept

SVG = "{http://www.w3.org/2000/svg}"
MADE = [
    Timing("threshold", "float32", s["batch"], 32, s["vocab"], 2.0 * s["batch"], 0.5, "cpu", s["length"])
    for s in shapes()
]


def test_one_of_three_grows_and_the_base_is_measured_once():
    found = shapes()
    assert found.count(dict(BASE)) == 1
    assert len(found) == sum(map(len, SWEPT.values())) - 2
    assert all(sum(shape[axis] != BASE[axis] for axis in SWEPT) <= 1 for shape in found)


def test_a_sweep_is_ascending_and_of_one_axis():
    assert [x for x, _ in swept(MADE[::-1], "batch")] == list(SWEPT["batch"])
    assert [t.step_ms for _, t in swept(MADE, "batch")] == [2.0 * x for x in SWEPT["batch"]]
    assert {t.step_ms for _, t in swept(MADE, "length")} == {2.0}


def test_a_file_of_several_decoders_is_refused():
    assert alike(MADE) == MADE[0]
    with pytest.raises(ValueError, match="several decoders"):
        alike([*MADE, replace(MADE[0], decoder="llada")])


def test_the_chart_has_a_dot_for_each_time_inside_its_frame():
    root = ElementTree.fromstring(chart(MADE))
    dots = list(root.iter(f"{SVG}circle"))
    assert [c.get("class") for c in dots].count("dot") == sum(map(len, SWEPT.values()))
    assert [c.get("class") for c in dots].count("basedot") == sum(map(len, SWEPT.values()))
    _, _, width, height = map(float, root.get("viewBox").split())
    assert all(0 < float(c.get("cx")) < width and 0 < float(c.get("cy")) < height for c in dots)
    assert decades(MADE) == (-1, 3)
    assert [short(x) for x in (64, 1000, 126_464)] == ["64", "1k", "126k"]


def test_the_command_measures_every_shape(tmp_path, monkeypatch):
    small = {"length": (4, 8), "batch": (1, 2), "vocab": (50, 60)}
    monkeypatch.setattr(scaling, "SWEPT", small)
    monkeypatch.setattr(scaling, "BASE", {"length": 4, "batch": 1, "vocab": 50})
    out = tmp_path / "rows.json"
    command = f"step-time --scaling -d threshold --dtype float32 --block 4 --repeats 1 -o {out}"
    done = CliRunner().invoke(bench, command.split(), catch_exceptions=False)
    rows = json.loads(out.read_text())["rows"]
    assert [(r["length"], r["batch"], r["vocab"]) for r in rows] == [(4, 1, 50), (8, 1, 50), (4, 2, 50), (4, 1, 60)]
    assert "| `threshold` | float32 | 8 | 1 | 50 |" in done.output
