"""What is computed from the rows of a quality run: means, intervals, areas, comparisons of two settings."""

from __future__ import annotations

from math import exp
from random import Random

import pytest

from decoders import UsageError
from decoders_bench.common.statistics import clustered, student, two_sided, wilson
from decoders_bench.quality.shelf import ranges
from decoders_bench.quality.summary import (
    Curve,
    adjusted,
    area,
    compare,
    curves,
    holm,
    kept,
    pareto,
    points,
    ranked,
    summarise,
    worded,
)  # fmt: skip
from support.plain_rows import row


def test_a_summary_counts_what_the_rows_say():
    s = summarise([row(item=i, right=i < 8, nfe=2 + i % 2, tokens=5, positions=10 + i, seconds=0.1) for i in range(10)])
    assert (s.n, s.right, s.accuracy) == (10, 8, 0.8)
    assert (s.low, s.high) == wilson(8, 10)
    assert (s.nfe, s.tokens, s.tokens_per_forward, s.positions) == (2.5, 5.0, 2.0, 14.5)
    assert s.seconds == pytest.approx(0.1)


def test_wordings_of_one_problem_are_not_counted_as_independent():
    once = [((i,), i < 8) for i in range(10)]
    assert clustered(once) == wilson(8, 10)
    # three wordings with the same outcome are about one
    assert clustered(once * 3)[0] == pytest.approx(wilson(8, 10)[0], abs=0.03)
    assert clustered([((0,), True)] * 9) == wilson(1, 1)
    # wordings that disagree always: no wider than independent ones
    even = [((i,), t == i % 2) for i in range(50) for t in range(2)]
    assert clustered(even) == wilson(50, 100)
    rng = Random(0)
    free = [((i,), rng.random() < 0.7) for i in range(500) for _ in range(2)]
    assert clustered(free) == pytest.approx(wilson(sum(r for _, r in free), 1000), abs=0.006)


def test_clustered_intervals_cover_what_they_promise():
    """Five problems in four wordings that always agree: the truth is in about 95 % of the intervals, and in far fewer
    of Wilson's."""
    rng, kept_, naive = Random(1), 0, 0
    for _ in range(400):
        outcomes = [((i,), right) for i in range(40) for right in [rng.random() < 0.7] * 4]
        low, high = clustered(outcomes)
        kept_ += low <= 0.7 <= high
        low, high = wilson(sum(r for _, r in outcomes), len(outcomes))
        naive += low <= 0.7 <= high
    assert kept_ / 400 > 0.92
    assert naive / 400 < 0.8


def test_the_area_is_d3llms():
    """By hand: x_1 y_1 + sum of trapezia of y w(y), w against the best of all decoders."""
    w = lambda y: min(exp(-3 * (1 - y / 80)), 1)
    where = [(1.0, 80.0), (2.0, 78.0), (4.0, 76.0)]
    by_hand = 80 + 0.5 * (78 * w(78) + 80 * w(80)) + (76 * w(76) + 78 * w(78))
    assert area(where, 80.0) == pytest.approx(by_hand)
    assert area([*where, (9.0, 60.0)], 80.0) == pytest.approx(by_hand)  # it lost too much, and does not count
    assert kept([*where, (9.0, 60.0), (10.0, 75.0)]) == [*where, (10.0, 75.0)]
    assert area([(3.0, 50.0)], 100.0) == 150.0
    assert area([], 100.0) == area([(1.0, 0.0)], 0.0) == 0.0


def curve_rows():
    out = []
    for value, right, nfe in ((0.5, 6, 2), (0.9, 9, 4)):
        out += [
            row(
                decoder=f"threshold:tau={value}", curve="threshold", swept="tau", value=value, item=i, right=i < right,
                nfe=nfe, tokens=8,
            )
            for i in range(10)
        ]
    return out + [
        row(decoder="left_to_right", curve="left_to_right", item=i, right=i < 7, nfe=8, tokens=8) for i in range(10)
    ]


def test_points_of_a_sweep_are_joined_to_a_curve_and_the_front_is_what_nothing_beats():
    own = points(curve_rows())
    assert [p.decoder for p in own] == ["threshold:tau=0.5", "threshold:tau=0.9", "left_to_right"]
    threshold, alone = curves(own)
    # from the fewest tokens per forward
    assert [p.decoder for p in threshold.points] == ["threshold:tau=0.9", "threshold:tau=0.5"]
    assert (threshold.kept, threshold.aup) == (1, 2.0 * 90)
    assert alone.aup == 70.0
    assert [p.decoder for p in pareto(own, lambda p: p.summary.nfe)] == ["threshold:tau=0.5", "threshold:tau=0.9"]


def test_the_spread_is_between_wordings_in_which_everything_was_asked():
    rows = [row(template=t, item=i, right=i < 9 - 3 * t) for t in range(2) for i in range(10)]
    assert points(rows)[0].spread == pytest.approx(0.3)
    # only this has a third wording
    extra = [row(task="other", template=t, item=i, right=t < 2) for t in range(3) for i in range(10)]
    assert points(rows + extra)[0].spread == pytest.approx(0.15)


def test_a_comparison_is_of_the_accuracies_on_the_items_that_both_have():
    a = [row(item=i, right=i < 10) for i in range(20)]
    b = [row(item=i, right=i >= 5, decoder="b") for i in range(18)]
    c = compare(a, b)
    assert (c.problems, c.won, c.lost) == (18, 8, 5)
    assert c.difference == pytest.approx(summarise(b).accuracy - summarise(a[:18]).accuracy)
    # by hand, Bonett and Price: one item more of each kind
    centre, square = 3 / 20, (13 + 2) / 20
    error = ((square - centre**2) / 20) ** 0.5
    half = student(1.959964, 17) * error
    assert (c.low, c.high) == pytest.approx((centre - half, centre + half))
    assert c.p == pytest.approx(two_sided(centre / error, 17))
    assert c.verdict() == "not distinguishable"
    with pytest.raises(UsageError, match="no item in common"):
        compare(a, [row(task="other")])
    surely = compare([row(item=i, right=False) for i in range(12)], [row(item=i) for i in range(12)])
    assert surely.verdict() == "better"
    few = compare([row(item=i, right=False) for i in range(5)], [row(item=i) for i in range(5)])
    assert few.verdict() == "not distinguishable"  # five of five: p of the sign test 0.06


def test_a_t_quantile_and_its_level_belong_together():
    """Against the tables: 2.571 of 5 degrees of freedom and 2.009 of 50 are 5 %."""
    assert student(1.959964, 5) == pytest.approx(2.571, abs=0.01)
    assert student(1.959964, 50) == pytest.approx(2.009, abs=0.001)
    assert two_sided(student(2.5, 7), 7) == pytest.approx(0.01242, abs=1e-4)


def test_a_problem_in_several_wordings_is_won_once():
    a = [row(item=i, template=t, right=False) for i in range(4) for t in range(3)]
    b = [row(item=i, template=t, right=t < 2) for i in range(4) for t in range(3)]
    c = compare(a, b)
    assert (c.problems, c.won, c.lost) == (4, 4, 0)
    assert c.difference == pytest.approx(2 / 3)


def test_a_share_and_a_difference_weigh_problems_equally_in_a_rung_and_rungs_equally():
    """A rung of few problems in many wordings, and one of many in one: by items the first decoder is ahead, and by
    rungs the second; every number says the same."""
    few = [("few", i, t) for i in range(4) for t in range(9)]
    many = [("many", i, 0) for i in range(12)]
    a = [row(task=k, item=i, template=t, right=k == "few" and i < 3) for k, i, t in few + many]
    b = [row(task=k, item=i, template=t, right=k == "many", decoder="b", nfe=9) for k, i, t in few + many]
    first, second = summarise(a), summarise(b)
    assert first.right > second.right
    assert (first.accuracy, second.accuracy) == (0.375, 0.5)
    assert compare(a, b).difference == pytest.approx(second.accuracy - first.accuracy)
    assert second.nfe == 9
    costly = [row(task=k, item=i, template=t, nfe=30 if k == "few" else 10) for k, i, t in few + many]
    assert summarise(costly).nfe == 20


def test_holm_adjusts_in_steps():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_identical_results_take_one_of_holms_places():
    a = [row(item=i, right=i < 10) for i in range(40)]
    b = [row(item=i, right=i < 19) for i in range(40)]
    c = [row(item=i, right=i < 12) for i in range(40)]
    first, other = compare(a, b), compare(a, c)
    assert adjusted([first, other, compare(a, b), compare(a, b)]) == pytest.approx(
        [2 * first.p, other.p, 2 * first.p, 2 * first.p]
    )


def test_an_area_over_two_settings_is_not_ranked_above_one_over_four():
    own = points(curve_rows())
    curve = lambda name, kept, aup: Curve("nano", name, "exact", None, "tau", tuple(own), aup, kept)
    two, four, three = curve("two", 2, 492.0), curve("four", 4, 472.0), curve("three", 3, 300.0)
    assert [(c.curve, rank) for c, rank in ranked([two, three, four])] == [("four", 1), ("three", 2), ("two", None)]
    assert [rank for _, rank in ranked([two, four])] == [None, None]  # one alone has no rank either
    assert [(c.curve, rank) for c, rank in ranked([curve("one", 1, 2.0), curve("more", 1, 3.0)])] == [
        ("more", 1),
        ("one", 2),
    ]


def test_settings_with_equal_results_are_one_in_an_area():
    rows = [row(decoder=f"s2d2:tau={x}", curve="s2d2", swept="tau", value=x, item=i) for x in (1, 2) for i in range(4)]
    (curve,) = curves(points(rows))
    assert (curve.kept, len(curve.points)) == (1, 2)


def test_wordings_are_compared_on_the_tasks_that_were_asked_in_all_of_them():
    two = [row(task="two", template=t, item=i, right=False) for t in range(2) for i in range(3)]
    three = [row(task="three", template=t, item=i) for t in range(3) for i in range(3)]
    one = [row(task="one", item=i) for i in range(3)]
    own = worded([*two, *three, *one])
    assert {t: {r.task for r in rows} for t, rows in own.items()} == {0: {"two", "three"}, 1: {"two", "three"}}
    assert set(worded([*three, *one])) == {0, 1, 2}
    assert set(worded(one)) == {0}


def test_the_range_of_a_rung_is_that_of_its_decoders():
    def rows(decoder, right, rung):
        return [row(decoder=decoder, rung=rung, item=i, right=i < right) for i in range(4)]

    shares = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}
    own = [x for name, n in shares.items() for x in rows(name, n, "easy")] + rows("a", 4, "hard") + rows("b", 4, "hard")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ranges(own).splitlines()[2:]]
    assert lines == [
        ["t/easy", "4", "0.0", "25.0", "50.0", "75.0", "100.0", "1 of 5"],
        ["t/hard", "4", "100.0", "100.0", "100.0", "100.0", "100.0", "2 of 2"],
    ]
