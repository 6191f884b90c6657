"""The intervals that go with every measured share, and the tests of a difference between two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import comb, erfc, expm1, fsum, log1p, sqrt
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Z = 1.959964  # of a two-sided interval of 95 %


def wilson(right: float, n: float, z: float = Z) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % by default (Wilson 1927, JASA 22:209)."""
    if n == 0:
        return 0.0, 1.0
    p, zz = right / n, z * z / n
    centre, half = p + zz / 2, z * sqrt(p * (1 - p) / n + zz / (4 * n))
    return max(centre - half, 0.0) / (1 + zz), (centre + half) / (1 + zz)


def clustered(
    outcomes: Iterable[tuple[Hashable, bool]], stratum: Callable[[Hashable], Hashable] = lambda cluster: None,
    z: float = Z,
) -> tuple[float, float]:
    """The Wilson interval of a share of right outcomes, where clusters weigh equally within a stratum and strata
    equally, and those of one cluster are not independent: over the effective number of outcomes (Kish 1965, Survey
    Sampling, section 8.2), at which independent outcomes would scatter as much as the clusters do. Never narrower than
    as if all were independent, and Wilson's own where each cluster has one outcome and each stratum equally many."""
    sums: dict[Hashable, list[int]] = {}
    for cluster, right in outcomes:
        own = sums.setdefault(cluster, [0, 0])
        own[0], own[1] = own[0] + right, own[1] + 1
    weights = balanced([stratum(c) for c in sums])
    own_shares = [y / m for y, m in sums.values()]
    p = fsum(w * y for w, y in zip(weights, own_shares, strict=True))
    most = 1 / sum(w * w / m for w, (_, m) in zip(weights, sums.values(), strict=True))
    size = C = len(sums) if len(set(weights)) == 1 else 1 / sum(w * w for w in weights)
    if any(m > 1 for _, m in sums.values()) and len(sums) > 1 and 0 < p < 1:
        scatter = sum((w * (y - p)) ** 2 for w, y in zip(weights, own_shares, strict=True)) * C / (C - 1)
        size = min(most, p * (1 - p) / scatter) if scatter else most
    return wilson(p * size, size, z)


def balanced(strata: Sequence[Hashable]) -> list[float]:
    """What each of some things weighs, given the stratum that it is in: all of a stratum equally, strata equally, 1 in
    all."""
    sizes = Counter(strata)
    return [1 / (len(sizes) * sizes[s]) for s in strata]


def disagreements(a: Sequence[bool], b: Sequence[bool]) -> tuple[int, int]:
    """Places where only `a` is true, and places where only `b` is."""
    pairs = list(zip(a, b, strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def mcnemar(lost: int, won: int) -> float:
    """The two-sided exact p-value that items lost and items won are equally likely (McNemar 1947, Psychometrika
    12:153)."""
    n, k = lost + won, min(lost, won)
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / (1 << n))


F = TypeVar("F", float, "NDArray[np.float64]")


def bonett_price(mean: F, square: F, n: float) -> tuple[F, F]:
    """Centre and standard error of the mean of what each of `n` items gained, from -1 to 1, by one of two decoders
    against the other, from the mean gain and the mean squared gain: Bonett and Price 2012, Statistics in Medicine 31:2,
    who add one item to each kind of disagreement before taking Wald's."""
    centre = mean * (n / (n + 2))
    return centre, (((n * square + 2) / (n + 2) - centre**2) / (n + 2)) ** 0.5


def paired_difference(gains: Sequence[float], z: float = Z) -> tuple[float, float]:
    """95 % interval of the mean of what each item gained (`bonett_price`)."""
    n = len(gains)
    mean, error = bonett_price(sum(gains) / n, sum(g * g for g in gains) / n, n)
    return max(mean - z * error, -1.0), min(mean + z * error, 1.0)


def student(z: float, freedom: float) -> float:
    """The quantile of Student's t at the level at which the normal one is `z` (Wallace 1959, Annals of Mathematical
    Statistics 30:1121, turned round)."""
    wide = z * (8 * freedom + 3) / (8 * freedom + 1)
    return sqrt(freedom * expm1(wide * wide / freedom))


def two_sided(t: float, freedom: float) -> float:
    """The p-value of a value of Student's t: `student`, the other way."""
    z = (8 * freedom + 1) / (8 * freedom + 3) * sqrt(freedom * log1p(t * t / freedom))
    return erfc(z / sqrt(2))


def difference(lost: int, won: int, n: int) -> tuple[float, float]:
    """95 % interval of a paired difference of two shares, from the items lost and the items won of `n`."""
    return paired_difference([1.0] * won + [-1.0] * lost + [0.0] * (n - won - lost))
