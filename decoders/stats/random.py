"""Random numbers without a generator: hashes of integers.

A number depends only on the row's key, the step, the position and a salt; so a row's tokens never depend on the batch
it was decoded in, and a trace replays without a model.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scramble(h: Tensor) -> Tensor:
    """64 well-mixed bits of each int64: the finaliser of SplitMix64 (Steele, Lea and Flood 2014). int64 arithmetic
    wraps."""
    h = (h ^ (h >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    h = (h ^ (h >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return h ^ (h >> 31 & 0x1FFFFFFFF)


def unit(h: Tensor) -> Tensor:
    """float64 in [0, 1) from the upper 53 bits of an int64 hash."""
    return (h >> 11 & 0x1FFFFFFFFFFFFF).double() / (1 << 53)


def gumbel(u: Tensor) -> Tensor:
    """Standard Gumbel noise from uniform numbers in [0, 1)."""
    return -(-u.clamp(min=torch.finfo(torch.float64).tiny).log()).log()


def normal(h: Tensor, width: int) -> Tensor:
    """(...) int64 -> (..., width) float32: standard normal numbers of each hash, by Box and Muller, in float64."""
    i = 2 * torch.arange(width, device=h.device)
    radius, angle = (unit(scramble(h[..., None] + i + k)) for k in (0, 1))
    return ((-2 * torch.log1p(-radius)).sqrt() * (2 * torch.pi * angle).cos()).float()
