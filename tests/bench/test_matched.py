"""Verdicts at equal cost: what a bracket lets be said, and how often that is wrong, on curves that are known."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from decoders_bench.common.statistics import Z, student
from decoders_bench.quality.matched import (
    BETTER,
    BOTH,
    EVEN,
    OUTSIDE,
    WIDE,
    WORSE,
    Sweep,
    Table,
    between,
    cost_at,
    critical,
    front,
    gains,
    sample,
    verdicts,
)  # fmt: skip
from support.simulated_sweeps import fought

N = 200
OVER = sample(["one"] * N, resamples=500)
LUCK = [Random(i).random() for i in range(N)]


def sweep(*settings: tuple[float, float]) -> Sweep:
    """Settings of (accuracy, cost); the same problems are easy for all."""
    right = np.array([[float(luck < accuracy) for luck in LUCK] for accuracy, _ in settings])
    own = np.array([[luck - 0.5 for luck in LUCK]])
    return Sweep(right, np.array([[cost] for _, cost in settings]) + 0.2 * own)


def said(mine: Sweep, base: Sweep) -> tuple[list[str], str]:
    (found,) = verdicts([(mine, base)], OVER)
    return [s.verdict for s in found.standings], found.word


@pytest.mark.parametrize(
    ("mine", "base", "word"),
    [
        ([(0.9, 3)], [(0.5, 2), (0.7, 4)], BETTER),
        ([(0.5, 3)], [(0.7, 2), (0.9, 4)], WORSE),
        ([(0.7, 3)], [(0.7, 2), (0.7, 4)], EVEN),
        ([(0.7, 3)], [(0.5, 2), (0.9, 4)], WIDE),
        ([(0.9, 3)], [(0.5, 2), (0.9, 4)], WIDE),
        ([(0.5, 3)], [(0.5, 2), (0.9, 4)], WIDE),
        ([(0.9, 5)], [(0.5, 2), (0.7, 4)], OUTSIDE),
        ([(0.5, 1)], [(0.7, 2), (0.9, 4)], OUTSIDE),
        ([(0.9, 1)], [(0.7, 2), (0.9, 4)], BETTER),  # in fewer forwards than any of the baseline's
        ([(0.7, 5)], [(0.7, 2), (0.9, 4)], WORSE),  # in more than any
        ([(0.7, 3), (0.5, 6)], [(0.5, 2), (0.5, 4), (0.9, 5), (0.9, 7)], BETTER),  # its own cheaper setting is as good
        ([(0.7, 3), (0.75, 6)], [(0.5, 2), (0.5, 4), (0.95, 5), (0.95, 7)], BOTH),
    ],
)
def test_what_a_bracket_lets_be_said(mine, base, word):
    assert said(sweep(*mine), sweep(*base))[1] == word


def test_a_baseline_that_is_worse_in_more_forwards_is_held_at_its_best():
    """Better than the dearer neighbour is not better than what the baseline does with fewer forwards."""
    verdict, _ = said(sweep((0.8, 3)), sweep((0.8, 1), (0.4, 2), (0.5, 4)))
    assert verdict == [EVEN]


def test_costs_that_chance_could_exchange_are_no_bracket():
    """The neighbour seems dearer, by less than its error: what is dearer beyond chance is the bracket's end."""
    rng = np.random.default_rng(0)
    spread = Sweep(np.ones((1, N)), 3 + rng.normal(size=(1, N)))
    near = Sweep(np.array([np.zeros(N), np.ones(N)]), np.stack([3.02 + rng.normal(size=N), np.full(N, 6.0)]))
    table = Table(spread, near, OVER)
    assert (table.below, table.above, table.near(0).tolist()) == ([None], [1], [True, False])
    assert said(spread, near) == ([EVEN], EVEN)


def test_a_cost_that_may_be_off_for_all_at_once_is_told_apart_beyond_that():
    mine, base = sweep((0.9, 3)), sweep((0.5, 2.5), (0.6, 3.3))
    assert said(mine, base)[1] == BETTER
    shaky = Sweep(base.right, base.cost, slack=0.3)
    assert said(mine, shaky)[1] == OUTSIDE


def test_the_interval_holds_the_difference_and_the_verdict_is_where_it_leaves_0_out():
    for seed in range(20):
        for s in fought(seed, 0.05, each=15, rounds=1).standings:
            low, high = -1 if s.low is None else s.low, 1 if s.high is None else s.high
            assert low <= s.difference <= high
            assert (s.verdict == BETTER) == (low > 0)
            assert (s.verdict == WORSE) == (high < 0)


def test_between_two_settings_the_baseline_is_a_mixture_of_them():
    costs, accuracy = np.array([4.0, 2.0, 8.0]), np.array([0.6, 0.5, 0.9])
    assert between(costs, accuracy, 3.0) == (pytest.approx(0.55), 1, 0)
    assert between(costs, accuracy, 4.0) == (0.6, 0, 0)
    assert between(costs, accuracy, 9.0) == (0.9, 2, None)
    assert between(costs, accuracy, 1.0) == (0.5, None, 1)


def test_what_an_accuracy_costs_is_that_of_a_mixture_of_settings_on_the_front():
    """Whichever order they come in; a setting that is no better than a cheaper one counts nowhere, and beyond an end
    the end does."""
    costs, accuracy = np.array([7.0, 2.0, 9.0, 6.0, 2.0]), np.array([0.75, 0.25, 0.5, 0.75, 0.2])
    assert front(costs, accuracy) == [1, 3]
    assert [cost_at(costs, accuracy, x) for x in (0.1, 0.25, 0.5, 0.75, 0.9)] == pytest.approx([2, 2, 4, 6, 6])


def test_rungs_weigh_equally_and_are_drawn_apart():
    over = sample(["a"] * 3 + ["b"] * 9, resamples=50)
    assert over.weight.tolist() == pytest.approx([1 / 6] * 3 + [1 / 18] * 9)
    assert over.draws[:, :3].sum(1) == pytest.approx(np.full(50, 0.5))
    a, b = np.array([[1.0] * 3 + [0.0] * 9]), np.zeros((1, 12))
    mean, variance = gains(a, b, over)
    assert (mean.item(), variance.item()) == (pytest.approx(0.5), pytest.approx(0))  # nothing scatters within a rung


def test_results_that_are_the_same_count_once_in_the_interval():
    """Thirty decoders with one and the same outcome widen nothing."""
    mine, base = sweep((0.8, 3)), sweep((0.7, 2), (0.75, 4))
    one = Table(mine, base, OVER)
    assert critical([one] * 30) == critical([one])
    (alone,) = verdicts([(mine, base)], OVER)
    assert verdicts([(mine, base)] * 30, OVER) == [alone] * 30
    assert critical([one]) >= Z
    assert student(Z, 60) > Z


@pytest.mark.slow
def test_a_real_difference_is_found_with_its_sign_in_95_of_100_grids():
    """480 problems of 12 rungs in two wordings, eight points more or less at every number of forwards, in turns."""
    gains_ = [0.08 if seed % 2 else -0.08 for seed in range(100)]
    found = [fought(seed, gain).word == (BETTER if gain > 0 else WORSE) for seed, gain in enumerate(gains_)]
    assert sum(found) >= 95


@pytest.mark.slow
def test_a_decoder_with_the_baselines_curve_is_called_different_in_5_of_100_grids_at_most():
    found = Counter(fought(seed, 0.0).word for seed in range(100))
    assert found[BETTER] + found[WORSE] + found[BOTH] <= 5
    assert found[EVEN] >= 90  # and the baseline is refined until that can be said


def test_without_refinement_a_coarse_grid_says_that_it_is_coarse():
    found = Counter(fought(seed, 0.0, rounds=0).word for seed in range(40))
    assert found[BETTER] + found[WORSE] + found[BOTH] <= 2
    assert found[WIDE] >= 30
