"""Tests over few seeds that learn from each other how much seeds differ.

Three seeds say little about their own scatter, so a test of each comparison by itself finds almost nothing. The scatter
of one comparison is here drawn towards that of all: variances are taken to come from a scaled inverse chi-square, whose
two parameters are fitted to all of them (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3:3,
section 6.2), and Student's t has the degrees of freedom of both. What is common to comparisons is not the variance
itself but how many times that of the items alone it is, so that is what is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from statistics import fmean, median, variance

import torch

from decoders_bench.common.statistics import Z, student, two_sided

LEAST = 1e-2
"""Of the median: smaller ratios count as so large, as a few equal numbers would otherwise rule the fit."""


@dataclass(frozen=True)
class Prior:
    """How many times the variance of the items that of seeds is, and how sure that is, in degrees of freedom."""

    scale: float = 1.0
    freedom: float = 0.0


def polygamma(n: int, x: float) -> float:
    return float(torch.polygamma(n, torch.tensor(x, dtype=torch.double)))


def trigamma_inverse(y: float) -> float:
    """By Newton's method, as in Smyth 2004, appendix."""
    x = 0.5 + 1 / y
    for _ in range(50):
        here = polygamma(1, x)
        step = here * (1 - here / y) / polygamma(2, x)
        x += step
        if -step / x < 1e-8:
            break
    return x


def fitted(ratios: Sequence[float], freedom: float) -> Prior:
    """From ratios of variances that have so many degrees of freedom each. Of fewer than three nothing is learnt."""
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
    """How many times the variance of the items that of the seeds' differences is; `noise` is the standard error of
    their mean by the items alone."""
    return variance(differences) / (len(differences) * noise**2)


def interval(differences: Sequence[float], noise: float, prior: Prior) -> tuple[float, float, float | None]:
    """95 % interval and p-value of the mean difference; none of one seed. Where the noise of the items is known, the
    error is not below it."""
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
