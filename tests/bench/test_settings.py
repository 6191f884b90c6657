"""Equal settings that are written differently are one, and those that differ in one number are a curve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decoders_bench.quality.rows import Row
from decoders_bench.quality.settings import known, unified
from decoders_bench.quality.summary import curves, points
from decoders_bench.quality.verdicts import found_curve, opponents
from decoders_bench.report.gather import gather
from support.quality_runs import row, write_run


def rows(decoder: str, curve: str, swept: str | None = None, value: float | None = None, items: int = 3) -> list[Row]:
    return [
        row(f"{curve}|{decoder}", decoder, curve, swept, value, "exact", "chain/easy", 0, 0, i, 0.5, 4)
        for i in range(items)
    ]


def outcomes(found: list[Row], own: list[Row]) -> list[Row]:
    """The rows of one with the outcomes of the other."""
    said = {"right", "nfe", "output", "answer", "positions"}
    return [replace(r, **{name: getattr(o, name) for name in said}) for r, o in zip(found, own, strict=True)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("threshold:tau=0.9", "threshold"),
        ("threshold:temperature=0.0,tau=0.90", "threshold:tau=0.9"),
        ("nucleus:base=threshold", "nucleus:base=(threshold:tau=0.9)"),
        ("fast-dllm:tau=0.5", "threshold:tau=0.5"),
        ("nobody:x=1,y=2", "nobody:y=2,x=1"),
    ],
)
def test_equal_decoders_are_known_as_equal(a, b):
    assert known(a) == known(b)
    assert known(a) != known("threshold:tau=0.8")


def test_a_setting_that_is_written_in_two_ways_is_one_in_merged_runs(tmp_path):
    first = rows("threshold:tau=0.5", "threshold", "tau", 0.5)
    again = outcomes(rows("threshold:temperature=0.0,tau=0.5", "threshold:temperature=0.0", "tau", 0.5), first)
    other = rows("threshold:temperature=0.0,tau=0.7", "threshold:temperature=0.0", "tau", 0.7)
    made = gather([write_run(tmp_path / "a", first), write_run(tmp_path / "b", [*again, *other])])
    assert {(r.decoder, r.curve) for r in made.rows} == {
        ("threshold:tau=0.5", "threshold"),
        ("threshold:temperature=0.0,tau=0.7", "threshold"),
    }
    assert len(made.rows) == 6
    assert len(curves(points(made.rows))) == 1


def test_a_setting_that_was_given_alone_is_on_the_curve_that_it_is_a_point_of():
    swept = [r for value in (0.5, 0.7) for r in rows(f"threshold:tau={value}", "threshold", "tau", value)]
    (curve,) = curves(points(unified([*swept, *rows("threshold:tau=0.85", "threshold:tau=0.85")])))
    assert sorted((p.decoder, p.value) for p in curve.points) == [
        ("threshold:tau=0.5", 0.5), ("threshold:tau=0.7", 0.7), ("threshold:tau=0.85", 0.85)
    ]  # fmt: skip


def test_settings_that_were_given_one_by_one_are_a_curve():
    own = [r for value in (0.8, 0.9) for r in rows(f"threshold:tau={value}", f"threshold:tau={value}")]
    (curve,) = curves(points(unified(own)))
    assert (curve.curve, curve.swept) == ("threshold", "tau")
    assert [p.value for p in curve.points] == [0.8, 0.9]  # the default of the second, too


def test_the_baseline_is_no_rival_of_itself_under_another_setting():
    own = [r for value in (0.5, 0.7) for r in rows(f"threshold:tau={value}", "threshold", "tau", value)]
    own += rows("threshold:tau=0.85", "threshold:tau=0.85") + rows("threshold:tau=0.8", "threshold:tau=0.8")
    own += rows("threshold:tau=0.6,temperature=0.5", "threshold:tau=0.6,temperature=0.5") + rows("factor", "factor")
    own += rows("dream:by=entropy", "dream:by=entropy") + rows("dream:by=margin", "dream:by=margin")
    found = curves(points(unified(own)))
    names = lambda baseline: [c.curve for c, _ in opponents(found, found_curve(found, baseline))]
    assert names("threshold:tau=0.8") == names("threshold") == ["factor", "dream:by=entropy", "dream:by=margin"]
    assert "dream:by=margin" in names("dream:by=entropy")  # another way of choosing is another decoder
