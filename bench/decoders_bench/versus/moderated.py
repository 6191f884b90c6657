"""Tests over few seeds that estimate the variation between seeds from all comparisons together.

Three seeds say little about their own scatter, so separate tests of the comparisons would find almost nothing. Here the
scatter of each comparison is shrunk towards that of all: variances are assumed to follow a scaled inverse chi-square
distribution, whose two parameters are fitted to all of them (Smyth 2004, Statistical Applications in Genetics and
Molecular Biology 3:3, section 6.2), and Student's t has the degrees of freedom of both. What the comparisons have in
common is not the variance itself but its ratio to the variance due to the items alone, so the ratio is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from statistics import fmean, median, variance

import torch

from decoders_bench.common.statistics import Z, student, two_sided

LEAST = 1e-2
"""The lower limit of a ratio, as a share of the median: smaller ratios are raised to it, as a few equal differences
would otherwise dominate the fit."""


@dataclass(frozen=True)
class Prior:
    """The ratio of the variance of seeds to that of the items, and its certainty in degrees of freedom."""

    scale: float = 1.0
    freedom: float = 0.0


def polygamma(n: int, x: float) -> float:
    return float(torch.polygamma(n, torch.tensor(x, dtype=torch.double)))


def trigamma_inverse(y: float) -> float:
    """Computed with Newton's method, as in Smyth 2004, appendix."""
    x = 0.5 + 1 / y
    for _ in range(50):
        here = polygamma(1, x)
        step = here * (1 - here / y) / polygamma(2, x)
        x += step
        if -step / x < 1e-8:
            break
    return x


def fitted(ratios: Sequence[float], freedom: float) -> Prior:
    """The prior fitted to ratios of variances with `freedom` degrees of freedom each. Fewer than three ratios are not
    used."""
    known = [r for r in ratios if r > 0]
    if len(known) < 3:
        return Prior()
    floor = LEAST * median(known)
    shift = polygamma(0, freedom / 2) - log(freedom / 2)
    logs = [log(max(r, floor)) - shift for r in ratios]
    spread = variance(logs) - polygamma(1, freedom / 2)
    if spread <= 0:
        return Prior(exp(fmean(logs)), inf)
    own = 2 * trigamma_inverse(spread)
    return Prior(exp(fmean(logs) + polygamma(0, own / 2) - log(own / 2)), own)


def ratio(differences: Sequence[float], noise: float) -> float:
    """The ratio of the variance of the seeds' differences to that of the items; `noise` is the standard error of their
    mean due to the items alone."""
    return variance(differences) / (len(differences) * noise**2)


def interval(differences: Sequence[float], noise: float, prior: Prior) -> tuple[float, float, float | None]:
    """The 95 % interval and the p-value of the mean difference; the p-value is None for a single seed. If the noise of
    the items is known, the standard error is at least as large."""
    n, mean = len(differences), fmean(differences)
    if n == 1:
        return mean - Z * noise, mean + Z * noise, None
    freedom, error = n - 1.0, sqrt(variance(differences) / n)
    if noise:
        own = ratio(differences, noise)
        pooled = prior.scale if prior.freedom == inf else (
            (prior.freedom * prior.scale + freedom * own) / (prior.freedom + freedom)
        )
        error, freedom = noise * sqrt(max(pooled, 1.0)), min(prior.freedom + freedom, 1e6)
    half = student(Z, freedom) * error
    return mean - half, mean + half, two_sided(mean / error, freedom) if error else 1.0 if mean == 0 else 0.0
