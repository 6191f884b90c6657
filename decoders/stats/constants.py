"""Small tensors of values that are known beforehand: made once per device, so that no step copies anything from the
host."""

from __future__ import annotations

import torch
from torch import Tensor

_MADE: dict[tuple[tuple[float, ...], torch.device, torch.dtype], Tensor] = {}
"""Tensors are never removed, because a captured graph knows a tensor by its address alone."""


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


_COUNTED: dict[torch.device, Tensor] = {}
"""For each device the numbers 0, 1, 2, ..., doubled whenever more are needed."""


def counting(n: int, device: torch.device) -> Tensor:
    """(n,) long: 0, 1, 2, ..., never to be written to."""
    if torch.compiler.is_compiling():
        return torch.arange(n, device=device)
    known = _COUNTED.get(device)
    if known is None or len(known) < n:
        known = torch.arange(1 << max(n - 1, 1023).bit_length(), device=device)
        if type(known) is not Tensor:
            return known[:n]
        _KEPT.append(known)
        _COUNTED[device] = known
    return known[:n]


_KEPT: list[Tensor] = []
"""Tensors that have become too short, kept for captured graphs."""


def number(value: float, like: Tensor) -> Tensor:
    """() of the type of `like`: the tensor that `torch.where` would create from a number in every step."""
    return constant((value,), like.device, like.dtype)[0]


def everywhere(value: float, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Of the shape of `like`, the same number everywhere, never to be written to: it has one element of memory."""
    return constant((value,), like.device, dtype or like.dtype)[0].expand(like.shape)


def made_once(x: Tensor) -> bool:
    """Whether a tensor shows a constant."""
    where = x.untyped_storage().data_ptr()
    return any(where == known.untyped_storage().data_ptr() for known in _MADE.values())


def but(a: Tensor, b: Tensor) -> Tensor:
    """`a & ~b` of bool tensors, as one operation: true is more than false."""
    return a > b


def among(tokens: Tensor, ids: tuple[int, ...]) -> Tensor:
    """Like `tokens`, bool: those that are one of `ids`."""
    if not ids:
        return torch.zeros_like(tokens, dtype=torch.bool)
    return (tokens[..., None] == constant(ids, tokens.device)).any(-1)
