"""A control set: cache policies that each break one law, which show that the laws detect breaches. None is registered.

`CACHE_CONTROLS` maps each of them to the name of the law that is meant for it; it may break others on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from decoders.core import Cache, Canvas, Pred, State, refresh


@dataclass(frozen=True)
class FairCache(Cache):
    """The control's control: recomputes everything in every other forward, and between the window."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.where((after.step % 2 == 0)[:, None], refresh(after), after.window)


class Undecorated(FairCache):
    """Names an option, and is no dataclass itself."""

    every: int = 4


@dataclass(frozen=True)
class NeverAsked(FairCache):
    """Declares itself exact, so that what it writes is never asked."""

    exact: ClassVar[bool] = True


@dataclass(frozen=True)
class WindowShaped(Cache):
    """Answers for the window and not for the columns."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return before.open


@dataclass(frozen=True)
class Numbers(Cache):
    """Answers with numbers."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return after.open.long()


@dataclass(frozen=True)
class GrowingMemory(FairCache):
    """Remembers more with every forward."""

    def init(self, c: Canvas) -> Tensor:
        return c.tokens[:, :1]

    def remember(self, after: Canvas, before: State, p: Pred) -> Tensor:
        memory: Tensor = after.store.memory
        return torch.cat([memory, after.tokens[:, :1]], 1)


@dataclass(frozen=True)
class SharedMemory(FairCache):
    """Remembers one number for all rows."""

    def init(self, c: Canvas) -> Tensor:
        return c.tokens.new_zeros(1)

    def remember(self, after: Canvas, before: State, p: Pred) -> Tensor:
        memory: Tensor = after.store.memory
        return memory + 1


@dataclass(frozen=True)
class ReadsItem(Cache):
    """Reads a number on the host."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return after.window if after.step.max().item() else refresh(after)


@dataclass(frozen=True)
class LoopsOverRows(Cache):
    """Loops over rows."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.stack([refresh(after)[b] | after.open[b] for b in range(len(after.open))])


@dataclass(frozen=True)
class LoopsOverColumns(Cache):
    """Loops over columns."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        here = [after.open[:, i] | after.window[:, i] for i in range(after.open.shape[1])]
        return torch.stack(here, 1) | refresh(after)


@dataclass(frozen=True)
class WritesInPlace(Cache):
    """Writes into the canvas that it was given."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return after.open.logical_or_(refresh(after))


@dataclass(frozen=True)
class DrawsFromTorch(Cache):
    """Draws from torch's generator."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return refresh(after) | (torch.rand(after.open.shape, device=after.open.device) < 0.5)


@dataclass(frozen=True)
class RefreshesTogether(Cache):
    """Refreshes all rows as soon as one of them is due."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.where((after.step == 0).any(), refresh(after), after.window)


@dataclass(frozen=True)
class CountsColumns(Cache):
    """Refreshes by the length of the canvas, which is that of the longest row."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        due = after.clock % (after.tokens.shape[1] // 8 + 1) == 0
        return torch.where(due[:, None], refresh(after), after.window)


@dataclass(frozen=True)
class TrustsEverything(Cache):
    """Calls nothing stale, ever."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return torch.zeros_like(after.open)


@dataclass(frozen=True)
class KeepsTheMask(Cache):
    """Recomputes what is open, and forgets what was just decided."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return after.open


@dataclass(frozen=True)
class CooksTheBooks(FairCache):
    """Reports fewer positions than were run."""

    def remember(self, after: Canvas, before: State, p: Pred) -> Any:
        after.store.computed.sub_(1)
        return after.store.memory


@dataclass(frozen=True)
class Descending(FairCache):
    """Pads forwards to sizes that end before the longest row."""

    def sizes(self, columns: int, width: int) -> tuple[int, ...]:
        return columns, width


@dataclass(frozen=True)
class NotWritable(FairCache):
    """Has an option that no spec string can write."""

    odds: Any = field(default_factory=lambda: torch.tensor([0]))

    def __post_init__(self) -> None:
        """A tensor is no option, so that nothing is checked."""


CACHE_CONTROLS: dict[type[Cache], str] = {
    Undecorated: "written", NeverAsked: "written", WindowShaped: "gives_columns", Numbers: "gives_columns",
    GrowingMemory: "gives_columns", SharedMemory: "gives_columns", ReadsItem: "meta_safe", LoopsOverRows: "no_loops",
    LoopsOverColumns: "no_loops", WritesInPlace: "pure", DrawsFromTorch: "pure", RefreshesTogether: "batch_invariant",
    CountsColumns: "batch_invariant", TrustsEverything: "settles", KeepsTheMask: "settles", CooksTheBooks: "costs",
    Descending: "sizes", NotWritable: "spec_round_trip",
}
