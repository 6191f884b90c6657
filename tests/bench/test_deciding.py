"""The items that decide between two decoders, and the band of a curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from decoders_bench.quality.summary import comparable, curves
from decoders_bench.quality.verdicts import Field, against, band
from decoders_bench.report.deciding import LISTED, counted, decision, gain, right, said
from support.plain_rows import row
from support.quality_runs import rows


def held(own):
    """(against, what `decision` reads besides) of the first curve that is held against the threshold."""
    points, whole = comparable(own)
    assert all(whole)
    return against(curves(points), "threshold")["forwards"][0], right(points)


def outcomes(decoder: str, swept: str, value: float, answers: str, nfe: int):
    return [
        row(
            cell=decoder, item=i, decoder=decoder, curve=decoder.partition(":")[0], swept=swept, value=value,
            right=x == "1", nfe=nfe,
        )
        for i, x in enumerate(answers)
    ]  # fmt: skip


def test_what_the_items_add_is_the_difference():
    """Over a whole rung, of every setting, whatever its mixture of two settings of the baseline."""
    own = [r for r in rows(items=30, tasks=("chain/easy",)) if r.curve in ("threshold", "factor")]
    a, (_, answers) = held(own)
    assert any(0 < x.standing.share < 1 for x in a.lines)
    for line in a.lines:
        assert gain(line, answers).mean() == pytest.approx(line.standing.difference)


def test_the_most_telling_items_come_first_with_settings_that_differ_on_them():
    mine = [*outcomes("factor:f=1.0", "f", 1.0, "1101100", 4), *outcomes("factor:f=2.0", "f", 2.0, "1001000", 4)]
    base = outcomes("threshold:tau=0.9", "tau", 0.9, "0001111", 4)
    a, (questions, answers) = held([*mine, *base])
    found = decision(a, questions, answers)
    assert (found.won, found.lost) == (2, 2)
    first = {d.question[3]: round(d.gain, 6) for d in found.items}
    assert next(iter(first)) in (0, 5, 6)
    assert [abs(x) for x in first.values()] == sorted((abs(x) for x in first.values()), reverse=True)
    assert set(first) == {0, 1, 5, 6}
    assert first[0] > 0 > first[5]
    for d in found.items:
        one, other = ({r.question: r.right for r in p.rows}[d.question] for p in (d.mine, d.base))
        assert (one, other) == (d.gain > 0, d.gain < 0)
    assert counted(found, "factor", "threshold") == "Items that speak for `factor`: 2; for `threshold`: 2."
    assert "The most telling: t/easy item" in said(found, "factor", "threshold")


def test_of_equally_telling_items_those_with_replays_of_both_come_first():
    mine = outcomes("factor:f=1.0", "f", 1.0, "1" * 40, 4)
    base = [r for tau in (0.5, 0.9) for r in outcomes(f"threshold:tau={tau}", "tau", tau, "0" * 40, 4)]
    a, (questions, answers) = held([*mine, *base])
    there = {("factor:f=1.0", 37), ("threshold:tau=0.9", 37), ("factor:f=1.0", 20)}
    found = decision(a, questions, answers, lambda p, q: (p.decoder, q[3]) in there)
    assert [d.question[3] for d in found.items[:3]] == [37, 20, 0]
    assert len(found.items) == LISTED
    assert found.won == 40


def test_decoders_that_are_right_alike_have_no_item_that_decides():
    own = [*outcomes("factor:f=1.0", "f", 1.0, "1010", 4), *outcomes("threshold:tau=0.9", "tau", 0.9, "1010", 4)]
    a, (questions, answers) = held(own)
    found = decision(a, questions, answers)
    assert found.items == ()
    assert said(found, "factor", "threshold") == "No item tells `factor` from `threshold` at equal cost."


def test_a_band_holds_for_all_settings_at_once_and_never_vanishes():
    own = [r for r in rows(items=40) if r.curve == "threshold"]
    best = [replace(r, decoder="best", curve="best", swept=None, right=True) for r in own[:160]]
    made = curves(comparable([*own, *best])[0])
    curve, sure = made
    found = band(curve, Field.of(made))
    for p, (low, high) in zip(curve.points, found, strict=True):
        assert low < p.summary.low
        assert high > p.summary.high or high == pytest.approx(1.0)
    ((low, high),) = band(sure, Field.of(made))
    assert low < 0.99
    assert high == pytest.approx(1.0)


def test_a_band_covers_the_whole_curve_in_most_samples():
    """Three settings of true accuracies 0.5, 0.7 and 0.9 that know nothing of one another: simultaneous bands cover
    more often than one setting's interval does for all three."""
    truth, rng, inside, alone = (0.5, 0.7, 0.9), np.random.default_rng(0), 0, 0
    for _ in range(120):
        own = [
            r for k, p in enumerate(truth)
            for answers in ["".join("01"[int(x < p)] for x in rng.random(60))]
            for r in outcomes(f"threshold:tau=0.{k + 1}", "tau", k, answers, k + 2)
        ]
        (curve,) = curves(comparable(own)[0])
        named = {p.decoder: truth[int(p.value)] for p in curve.points}
        found = band(curve, Field.of([curve]))
        inside += all(low <= named[p.decoder] <= high for p, (low, high) in zip(curve.points, found, strict=True))
        alone += all(p.summary.low <= named[p.decoder] <= p.summary.high for p in curve.points)
    assert inside >= 110
    assert inside > alone
