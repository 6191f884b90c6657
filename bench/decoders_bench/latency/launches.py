"""Kernel launches of a step: the number of operations that run something on a device, by region.

On a GPU each launch costs the host some microseconds, and in a captured graph it costs the device about two, however
small the tensors are. The number is independent of timing, and the same on every device: statistics of the logits are
counted in plain torch (a CUDA device's own kernels for them are fewer, and are not torch operations).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from decoders_bench.common.stopwatch import Stopwatch

STORE = "store"
"""The region of writing keys and values; it belongs to the network as much as to this library, and is a region of its
own here."""

_ROOM = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
_COPIES_FIRST = {"scatter", "scatter_add", "scatter_reduce", "masked_fill", "index_fill", "index_copy", "index_put"}
"""Operations that copy their input and then write to the copy."""


def launched(func: Any, args: Any, out: Any) -> int:
    """The least number of kernels that an operation launches: none for a view or an allocation, one for most, two for
    one that copies first, and one more for every number that becomes a tensor."""
    name = func.overloadpacket.__name__
    made = [x for x in tree_iter(out) if isinstance(x, Tensor)]
    if name in _ROOM or (made and not any(x.numel() for x in made)):
        return 0
    if not func._schema.is_mutable:
        given = {x.untyped_storage().data_ptr() for x in tree_iter(args) if isinstance(x, Tensor)}
        if made and all(x.untyped_storage().data_ptr() in given for x in made):
            return 0
    numbers = sum(not isinstance(x, Tensor) for x in args[1:]) if name == "where" else 0
    return 1 + (name in _COPIES_FIRST) + numbers


class Launches(TorchDispatchMode):
    """Counts the launches within its context."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.count += launched(func, args, out)
        return out

    def clock(self) -> Stopwatch:
        """A stopwatch that counts launches instead of milliseconds."""
        return Stopwatch(torch.device("cpu"), lambda: self.count / 1e3)
