"""How well decoders are attested, and the mark of those that are known from an abstract alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from decoders.registry import entries
from decoders.specs import DISTRIBUTION, load
from decoders_bench import golden
from decoders_bench.areas.measure import Spot
from decoders_bench.areas.tables import spot_table
from decoders_bench.common.attested import marked
from decoders_bench.quality.rows import Row
from decoders_bench.quality.shelf import shelf_against
from decoders_bench.quality.summary import curves, points
from decoders_bench.quality.tables import curve_table, place_table, point_table
from decoders_bench.report.document import labels


@pytest.mark.parametrize(
    ("spec", "due"),
    [
        ("frontier", True), ("pard:tau=0.5", True), ("threshold", False), ("prophet:base=(pard)", True),
        ("no_such_thing:x=1", False),
    ],
)
def test_what_is_known_from_an_abstract_is_marked_also_inside_another(spec, due):
    assert marked(spec, "`") == f"`{spec}`" + " (abstract only)" * due
    assert marked(spec) == spec + " (abstract only)" * due


def test_a_recorded_spec_of_an_older_spelling_is_marked_without_a_warning(recwarn):
    assert marked("hybrid:mode=two-model") == "hybrid:mode=two-model (abstract only)"
    assert not recwarn.list


def test_every_table_that_ranks_decoders_has_the_mark():
    setting = {"cell": "c", "model": "nano", "swept": None, "value": None, "cache": "exact", "block": None}
    asked = {"item": 0, "task": "t", "rung": "easy", "template": 0, "seed": 0, "prompt": "p", "expected": "1"}
    found = {"right": True, "answer": "1", "output": "1", "nfe": 2, "tokens": 4, "positions": 8, "seconds": 0.5}
    rows = [Row(decoder=d, curve=d, **setting, **asked, **found) for d in ("threshold:tau=0.9", "pard:tau=0.5")]
    spot = Spot("pard:tau=0.5", "pard", 1, 1, 0.0, 1.0, 2.0, 2.0, 8.0)
    for table in (
        point_table(points(rows)), place_table(rows), curve_table(curves(points(rows)), points(rows)),
        shelf_against(points(rows)), spot_table([spot]),
    ):
        assert "`pard:tau=0.5` (abstract only)" in table
        assert "`threshold:tau=0.9` (abstract only)" not in table
    assert set(labels(points(rows)).values()) == {"threshold:tau=0.9", "pard:tau=0.5 (abstract only)"}


def test_what_is_replayed_has_a_place_in_the_replay():
    """It makes the decoder, by its name or by its class."""
    source = "".join(p.read_text() for p in sorted(Path(golden.__file__).parent.glob("*.py")))
    for entry in entries("strategies"):
        if entry.attested == "replayed" and entry.distribution == DISTRIBUTION:
            cls = load("strategies", entry.name)
            made = f'"{entry.name}' in source or cls.__name__ in source or cls.__module__ in source
            assert made, entry.name
