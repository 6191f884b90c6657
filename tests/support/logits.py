"""Rows of logits of many kinds."""

from __future__ import annotations

import torch

KINDS = ["random", "peaked", "flat", "ties", "adversarial"]


def rows_of(kind: str, V: int, dtype: torch.dtype, R: int) -> torch.Tensor:
    """(R, V) logits, at least 6 rows of the adversarial kind."""
    g = torch.Generator().manual_seed(V)
    x = 3 * torch.randn(R, V, generator=g)
    if kind == "peaked":
        x[torch.arange(R), torch.randint(V, (R,), generator=g)] = 40.0
    elif kind == "flat":
        x = x * 1e-3
    elif kind == "ties":
        x = x.round().clamp(max=4)
    elif kind == "adversarial":
        x[0] = -torch.inf
        x[1] = 0.5
        x[2, : V - 1] = -torch.inf  # a single possible token, the last one
        x[3] = torch.arange(V).flip(0) * (30000 / V)  # falling, and beyond what exp can hold
        x[4, V // 2 :] = -torch.inf
        x[5] = torch.finfo(dtype).min
    return x.to(dtype)
