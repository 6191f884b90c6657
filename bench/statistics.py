"""The intervals that go with every measured share."""

from __future__ import annotations

from math import sqrt


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 % by default (Wilson 1927, JASA 22:209)."""
    if n == 0:
        return 0.0, 1.0
    p, zz = right / n, z * z / n
    centre, half = p + zz / 2, z * sqrt(p * (1 - p) / n + zz / (4 * n))
    return max(centre - half, 0.0) / (1 + zz), (centre + half) / (1 + zz)
