"""Canvases and forwards as tensors of fixed addresses."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from decoders.core import mapped
from decoders.engine.backends import CannotCapture

T = TypeVar("T")


def owned(x: T) -> T:
    """A copy with its own contiguous tensors."""
    return mapped(lambda t: t.clone(memory_format=torch.contiguous_format), x)


def leaves(x: Any) -> list[Tensor]:
    """All tensors, in the order of the structure."""
    if is_dataclass(x) and not isinstance(x, type):
        return [t for f in fields(x) for t in leaves(getattr(x, f.name))]
    if isinstance(x, Tensor):
        return [x]
    return [t for y in tree_leaves(x) if y is not x for t in leaves(y)]


def assign(buffers: Any, x: Any) -> None:
    """Copy the tensors of `x` into those of `buffers`, which may be views of them. Raises `CannotCapture` if shapes or
    types have changed."""
    into, new = leaves(buffers), leaves(x)
    if len(into) != len(new) or any((a.shape, a.dtype) != (b.shape, b.dtype) for a, b in zip(into, new, strict=False)):
        raise CannotCapture("what is carried from step to step changes its structure")
    held = {a.untyped_storage().data_ptr() for a in into}
    # what looks into a buffer is read before any is written
    read = [
        b if b is a or b.untyped_storage().data_ptr() not in held else b.clone() for a, b in zip(into, new, strict=True)
    ]
    kinds: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for a, b in zip(into, read, strict=True):
        if b is a:
            continue
        if b.is_contiguous():  # then all of a type are copied by few kernels
            for side, x in zip(kinds.setdefault(a.dtype, ([], [])), (a, b), strict=True):
                side.append(x)
        else:
            a.copy_(b)
    for own, others in kinds.values():
        torch._foreach_copy_(own, others)
