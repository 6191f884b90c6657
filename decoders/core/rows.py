"""Rows: what stands in a batch of rows, where each of them is at work, and how a strategy sees that.

This is the state machine of decoding and nothing else; what a store of keys and values holds is
`decoders.core.store`'s. An engine of its own, such as vLLM's, keeps rows of this kind too, each with as many columns as
it has room for, from `base` on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from decoders.core.latents import Space
from decoders.core.state import State

LIVE, STOPPED, FILLED, EXHAUSTED, BROKEN, STALLED = range(6)
NON_FINITE, NO_PROGRESS = "non_finite", "no_progress"
REASONS = ("live", "stop", "length", "max_steps", NON_FINITE, NO_PROGRESS)

_CUT = ("tokens", "open", "editable", "confidence", "committed_at")  # what a State shows of the rows

R = TypeVar("R", bound="Rows")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """B rows, each with L columns of its text, as tensors; never changed in place. Rows are independent; each has a
    window of its own and leaves it alone."""

    has_bin: ClassVar[bool] = True
    """The last column belongs to no row, and index arithmetic past a row's end lands there."""

    tokens: Tensor  # (B, L) long
    open: Tensor  # (B, L) bool
    editable: Tensor  # (B, L) bool
    confidence: Tensor  # (B, L) float
    committed_at: Tensor  # (B, L) long
    start: Tensor  # (B,)   long  place of the first position of the row's window
    size: Tensor  # (B,)   long   how many of the window's positions there are,
    room: Tensor  # (B,)   long   and how many there may come to be
    limit: Tensor  # (B,)   long  place where the row ends
    block_start: Tensor  # (B,)   long  in a block-causal model, the block of the attention that the window is in
    block_end: Tensor  # (B,)   long
    opened: Tensor  # (B,)   long  positions open when the window was entered
    windows: Tensor  # (B,)   long  windows the row has in all
    step: Tensor  # (B,)   long  forwards spent on this window
    clock: Tensor  # (B,)   long  forwards spent on this row
    key: Tensor  # (B,)   long
    base: Tensor | None = None  # (B,)   long  place of the first column; None: 0, a place in the text is a column
    width: int  # W
    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...]
    block_causal: bool
    causal_context: bool
    space: Space | None = None  # of a model of latents
    memo: Any = None

    @property
    def column(self) -> Tensor:
        """The places of the columns: (L,), or (B, L) where rows have a `base`."""
        column = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        return column if self.base is None else self.base[:, None] + column

    @property
    def place(self) -> Tensor:
        """(B, W) places of the window's positions, those past its end among them."""
        return self.start[:, None] + torch.arange(self.width, device=self.start.device)

    @property
    def at(self) -> Tensor:
        """(B, W) columns of the window; past the last one, that."""
        index = self.place if self.base is None else self.place - self.base[:, None]
        return index.clamp(max=self.tokens.shape[1] - 1)

    @property
    def inside(self) -> Tensor:
        """(B, W) bool: positions that belong to the row's own window, those that are not there yet among them."""
        return torch.arange(self.width, device=self.start.device) < self.room[:, None]

    @property
    def window(self) -> Tensor:
        """(B, L) bool: columns of the row's own window."""
        column = self.column
        return (column >= self.start[:, None]) & (column < (self.start + self.room)[:, None])

    @property
    def end(self) -> Tensor:
        """(B,) place after the last one that windows may have for now: of the row, or of the columns that there are."""
        return self.limit if self.base is None else torch.minimum(self.base + self.tokens.shape[1], self.limit)


def view(r: Rows) -> State:
    """The rows' windows, as a strategy sees them."""
    at, inside = r.at, r.inside
    cut = {name: getattr(r, name).gather(1, at) for name in _CUT}
    cut |= {"open": cut["open"] & inside, "editable": cut["editable"] & inside}
    return State(
        **cut, position=at if r.base is None else r.place, size=r.size, room=r.room, opened=r.opened, windows=r.windows,
        step=r.step, clock=r.clock, key=r.key, mask_id=r.mask_id, vocab=r.vocab, stop_ids=r.stop_ids,
        block_causal=r.block_causal, rest=(r.limit - r.start - r.room).clamp(min=0), space=r.space, memo=r.memo,
    )


def put(r: Rows, old: Tensor, new: Tensor) -> Tensor:
    """(B, L) `old` with the windows replaced by `new (B, W)`."""
    return _put(r.at, r.inside, r.has_bin, old, new)


def _put(at: Tensor, inside: Tensor, has_bin: bool, old: Tensor, new: Tensor) -> Tensor:
    if has_bin:
        return old.scatter(1, at, torch.where(inside, new, old.gather(1, at)))
    L = old.shape[1]  # where there is no bin, a column to write to is added and cut off again
    return torch.nn.functional.pad(old, (0, 1)).scatter(1, torch.where(inside, at, L), new)[:, :L]


def write(r: R, s: State) -> R:
    """The rows with their windows replaced."""
    at, inside = r.at, r.inside
    changed: dict[str, Any] = {name: _put(at, inside, r.has_bin, getattr(r, name), getattr(s, name)) for name in _CUT}
    return replace(r, **changed, size=s.size, step=s.step, clock=s.clock, memo=s.memo)


def settled_stop(r: Rows, stops: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) bool: one of the stop tokens `stops (B, K)` or (K,) was committed and nothing left of it is open; (B,) long:
    its place, more than any place where there is none."""
    hit = (r.tokens[..., None] == stops[..., None, :]).any(-1) & r.editable & ~r.open
    first = torch.where(hit, r.column, torch.iinfo(torch.long).max).amin(-1)
    return hit.any(-1) & ~(r.open & (r.column < first[:, None])).any(-1), first
