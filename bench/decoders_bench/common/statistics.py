"""The intervals that go with every measured share, and the tests of a difference between two."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from math import comb, sqrt

Z = 1.959964  # of a two-sided interval of 95 %


def wilson(right: float, n: float, z: float = Z) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % by default (Wilson 1927, JASA 22:209)."""
    if n == 0:
        return 0.0, 1.0
    p, zz = right / n, z * z / n
    centre, half = p + zz / 2, z * sqrt(p * (1 - p) / n + zz / (4 * n))
    return max(centre - half, 0.0) / (1 + zz), (centre + half) / (1 + zz)


def clustered(outcomes: Iterable[tuple[Hashable, bool]]) -> tuple[float, float]:
    """The Wilson interval of the share of right outcomes, where those of one cluster are not independent: over the
    effective number of outcomes, their number over the design effect (Kish 1965, Survey Sampling, section 8.2), which
    is what the clusters multiply the variance by. Never narrower than without clusters, and equal to it where each has
    one outcome."""
    sums: dict[Hashable, list[int]] = {}
    for cluster, right in outcomes:
        own = sums.setdefault(cluster, [0, 0])
        own[0], own[1] = own[0] + right, own[1] + 1
    n, C = sum(m for _, m in sums.values()), len(sums)
    if n == C:
        return wilson(sum(y for y, _ in sums.values()), n)
    p = sum(y for y, _ in sums.values()) / n
    effect = n / C  # where there is nothing to estimate it from: as if a cluster were one outcome
    if C > 1 and 0 < p < 1:
        effect = C / (C - 1) * sum((y - p * m) ** 2 for y, m in sums.values()) / (n * p * (1 - p))
    size = n / max(effect, 1.0)
    return wilson(p * size, size)


def disagreements(a: Sequence[bool], b: Sequence[bool]) -> tuple[int, int]:
    """Places where only `a` is true, and places where only `b` is."""
    pairs = list(zip(a, b, strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def mcnemar(lost: int, won: int) -> float:
    """The two-sided exact p-value that items lost and items won are equally likely (McNemar 1947, Psychometrika
    12:153)."""
    n, k = lost + won, min(lost, won)
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / (1 << n))


def paired_difference(gains: Sequence[float], z: float = Z) -> tuple[float, float]:
    """95 % interval of the mean of what each item gained, from -1 to 1, by one of two decoders against the other:
    Bonett and Price 2012, Statistics in Medicine 31:2, who add one item to each kind of disagreement before taking
    Wald's."""
    n = len(gains) + 2
    mean = sum(gains) / n
    half = z * sqrt(((sum(g * g for g in gains) + 2) / n - mean**2) / n)
    return max(mean - half, -1.0), min(mean + half, 1.0)


def difference(lost: int, won: int, n: int) -> tuple[float, float]:
    """95 % interval of a paired difference of two shares, from the items lost and the items won of `n`."""
    return paired_difference([1.0] * won + [-1.0] * lost + [0.0] * (n - won - lost))
