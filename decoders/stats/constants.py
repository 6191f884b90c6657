"""Small tensors of values that are known beforehand: made once per device, so that no step copies anything from the
host."""

from __future__ import annotations

import torch
from torch import Tensor

_MADE: dict[tuple[tuple[float, ...], torch.device, torch.dtype], Tensor] = {}
"""Nothing is ever taken out: a captured graph knows a tensor by its address alone."""


def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.long) -> Tensor:
    """(len(values),) of `dtype`: the same tensor every time, never to be written to."""
    if torch.compiler.is_compiling():
        return torch.tensor(values, dtype=dtype, device=device)
    key = values, device, dtype
    if key not in _MADE:
        made = torch.tensor(values, dtype=dtype, device=device)
        if type(made) is not Tensor:  # inside a mode that stands for tensors
            return made
        _MADE[key] = made
    return _MADE[key]


def among(tokens: Tensor, ids: tuple[int, ...]) -> Tensor:
    """Like `tokens`, bool: those that are one of `ids`."""
    if not ids:
        return torch.zeros_like(tokens, dtype=torch.bool)
    return (tokens[..., None] == constant(ids, tokens.device)).any(-1)
