"""Backends for capturing a step: CUDA graphs, or on a CPU a recording of its operations.

Both have the same rules. Captured operations read and write tensors at fixed addresses; everything that the host
computed during the capture, including shapes, is frozen; and no operation may wait for a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

WARM_UPS = 2
"""The number of runs before a capture, for lazy initialisation, workspaces, and kernels that are compiled at their
first use."""


class CannotCapture(RuntimeError):  # noqa: N818 - a reason rather than an error: steps are then run eagerly
    """Why something cannot be captured."""


class Backend(Protocol):
    """Captures functions that take and return nothing, and counts the memory that they need between their runs."""

    @property
    def bytes(self) -> int:
        """Memory that is held for what was captured, without the tensors that it reads and writes."""

    def capture(self, body: Callable[[], None], restore: Callable[[], None]) -> Callable[[], None]:
        """A function that runs `body` again. Before the capture `body` is run a few times, and `restore` undoes each
        run. Raises `CannotCapture`."""

    def reset(self) -> None:
        """Release the memory of all captures so far; none of them is run again."""


class CudaGraphs:
    """CUDA graphs in one shared pool of memory: they are replayed one after the other, and leave nothing in the
    pool."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()

    def reset(self) -> None:
        self.pool, self.bytes = torch.cuda.graph_pool_handle(), 0

    def capture(self, body: Callable[[], None], restore: Callable[[], None]) -> Callable[[], None]:
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.stream(stream):
                    for _ in range(WARM_UPS):
                        body()
                        restore()
                torch.cuda.current_stream().wait_stream(stream)
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
                before = torch.cuda.memory_reserved()
                with torch.cuda.graph(graph, pool=self.pool, stream=stream):
                    body()
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as e:  # a synchronisation, an operation that is not allowed
                raise CannotCapture(next(iter(str(e).splitlines()), type(e).__name__)) from e
            self.bytes += max(torch.cuda.memory_reserved() - before, 0)
        return graph.replay


_A = torch.ops.aten
HOST = {
    "a value is read on the host": {_A._local_scalar_dense, _A.item, _A.equal, _A.is_nonzero, _A.allclose},
    "the shape of a result depends on values": {
        _A.nonzero, _A.nonzero_numpy, _A.argwhere, _A.masked_select, _A.unique_consecutive, _A._unique2, _A.unique_dim,
        _A.repeat_interleave, _A.bincount,
    },
    "a tensor is made from values of the host": {_A.lift_fresh},
}
"""Operations that a CUDA graph cannot contain, by reason."""


def reason(packet: Any, args: tuple[Any, ...]) -> str | None:
    """Why an operation cannot be captured."""
    if packet is _A.index and any(isinstance(x, Tensor) and x.dtype == torch.bool for x in args[1]):
        return "the shape of a result depends on values"
    if packet is _A.where and len(args) == 1:
        return "the shape of a result depends on values"
    if packet is _A.lift_fresh and args[0].dim() == 0:  # a number goes along with the operation that takes it
        return None
    return next((why for why, packets in HOST.items() if packet in packets), None)


class Slot(int):
    """The number of a tensor that a recording makes."""


class Tape(TorchDispatchMode):
    """Records operations while they run. Tensors that none of them made are identified by object, as a CUDA graph
    identifies them by address."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, list[Slot | None]]] = []
        self.slots: dict[int, Slot] = {}
        self.made: list[Tensor] = []  # alive until the recording ends, so that identities stay apart

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if why := reason(func.overloadpacket, args):
            raise CannotCapture(f"{why} ({func.overloadpacket.__name__})")
        taken, named = tree_map(self.known, args), tree_map(self.known, kwargs)
        given = {id(x) for x in tree_iter((args, kwargs))}
        out = func(*args, **kwargs)
        new = [self.slot(x) if isinstance(x, Tensor) and id(x) not in given else None for x in tree_iter(out)]
        self.operations.append((func, taken, named, new))
        return out

    def known(self, x: Any) -> Any:
        return self.slots.get(id(x), x) if isinstance(x, Tensor) else x

    def slot(self, x: Tensor) -> Slot:
        self.made.append(x)
        self.slots[id(x)] = Slot(len(self.made) - 1)
        return self.slots[id(x)]

    @property
    def bytes(self) -> int:
        storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in self.made}
        return sum(storages.values())


class Recorded:
    """A recording of the operations, run again on the same tensors: a CUDA graph for machines without CUDA. It shows
    that a step can be captured; it is not faster than running it."""

    def __init__(self) -> None:
        self.bytes = 0

    def reset(self) -> None:
        self.bytes = 0

    def capture(self, body: Callable[[], None], restore: Callable[[], None]) -> Callable[[], None]:
        for _ in range(WARM_UPS):
            body()
            restore()
        tape = Tape()
        try:
            with tape:
                body()
        finally:
            restore()  # unlike a capture, a recording runs what it records
        self.bytes += tape.bytes
        operations, size = tape.operations, len(tape.made)

        def replay() -> None:
            made: list[Any] = [None] * size
            for func, args, kwargs, new in operations:
                filled = tree_map(lambda x: made[x] if isinstance(x, Slot) else x, (args, kwargs))
                for slot, x in zip(new, tree_iter(func(*filled[0], **filled[1])), strict=True):
                    if slot is not None:
                        made[slot] = x

        return replay
