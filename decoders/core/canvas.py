"""Canvas: all rows of a batch with their text, their windows, and what the stored keys and values were computed from.

Column = position: prompts start at column 0 and there is no left padding. Rows are independent; each has its own window and
leaves it alone. The last column is a bin: no row reaches it, and index arithmetic past a row's end lands there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from decoders.core.state import State

NOTHING, APPROXIMATE = -1, -2
"""What `Canvas.kv_tokens` holds where nothing is stored, and where what is stored saw keys and values that were out of date."""
LIVE, STOPPED, FILLED, EXHAUSTED = range(4)
REASONS = ("live", "stop", "length", "max_steps")

_CUT = ("tokens", "open", "editable", "confidence", "committed_at")  # what a State shows of the canvas


@dataclass(frozen=True)
class Canvas:
    """Everything about a batch of rows, as tensors; never changed in place."""

    tokens: Tensor  # (B, L) long
    open: Tensor  # (B, L) bool
    editable: Tensor  # (B, L) bool
    confidence: Tensor  # (B, L) float
    committed_at: Tensor  # (B, L) long
    until: Tensor  # (B, L) long  position i sees the columns left of until[i]: its block's end, or the row's
    kv_tokens: Tensor  # (B, L) long  the tokens that the stored keys and values were computed from, NOTHING, or APPROXIMATE
    kv_until: Tensor  # (B, L) long  and what they saw: the columns left of it,
    kv_unseen: Tensor  # (B, L, 2) long  less those from the first of these up to the second; all 0 unless queries say what positions see
    stale: Tensor  # (B, L) bool  what a cache policy wants recomputed in the next forward
    start: Tensor  # (B,)   long  the row's window
    size: Tensor  # (B,)   long   how many of its positions there are,
    room: Tensor  # (B,)   long   and how many there may come to be
    limit: Tensor  # (B,)   long  end of the row
    block_start: Tensor  # (B,)   long  in a block-causal model, the block of the attention that the window is in
    block_end: Tensor  # (B,)   long
    opened: Tensor  # (B,)   long  positions open when the window was entered
    windows: Tensor  # (B,)   long  windows the row has in all
    step: Tensor  # (B,)   long  forwards spent on this window
    clock: Tensor  # (B,)   long  forwards spent on this row
    key: Tensor  # (B,)   long
    reason: Tensor  # (B,)   long  LIVE, or why the row ended
    computed: Tensor  # (B,)   long  positions that the model ran for this row
    reused: Tensor  # (B,)   long  positions whose keys and values it read from the store instead
    flops: Tensor  # (B,)   double  floating point operations that it spent; 0 where it does not tell
    width: int  # W
    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...]
    block_causal: bool
    causal_context: bool
    candidates: int = 0  # A, of the forwards
    memo: Any = None
    memory: Any = None  # a cache policy's own tensors, leading dimension B; structure never changes

    @property
    def column(self) -> Tensor:
        """(L,)"""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device)

    @property
    def at(self) -> Tensor:
        """(B, W) columns of the window; past the canvas, the bin."""
        at = self.start[:, None] + torch.arange(self.width, device=self.start.device)
        return at.clamp(max=self.tokens.shape[1] - 1)

    @property
    def inside(self) -> Tensor:
        """(B, W) bool: positions that belong to the row's own window, those that are not there yet among them."""
        return torch.arange(self.width, device=self.start.device) < self.room[:, None]

    @property
    def window(self) -> Tensor:
        """(B, L) bool: columns of the row's own window."""
        return (self.column >= self.start[:, None]) & (self.column < (self.start + self.room)[:, None])

    @property
    def reach(self) -> Tensor:
        """(B,) columns from here on play no part yet."""
        return torch.minimum(self.block_end, self.limit) if self.block_causal else self.limit

    @property
    def live(self) -> Tensor:
        """(B,) bool"""
        return self.reason == LIVE


def view(c: Canvas) -> State:
    """The rows' windows, as a strategy sees them."""
    at, inside = c.at, c.inside
    cut = {name: getattr(c, name).gather(1, at) for name in _CUT}
    cut |= {"open": cut["open"] & inside, "editable": cut["editable"] & inside}
    return State(
        **cut, position=at, size=c.size, room=c.room, opened=c.opened, windows=c.windows, step=c.step, clock=c.clock, key=c.key,
        mask_id=c.mask_id, vocab=c.vocab, stop_ids=c.stop_ids, block_causal=c.block_causal,
        rest=(c.limit - c.start - c.room).clamp(min=0), memo=c.memo,
    )


def write(c: Canvas, s: State) -> Canvas:
    """The canvas with the rows' windows replaced."""
    at, inside = c.at, c.inside

    def put(old: Tensor, new: Tensor) -> Tensor:
        return old.scatter(1, at, torch.where(inside, new, old.gather(1, at)))

    changed: dict[str, Any] = {name: put(getattr(c, name), getattr(s, name)) for name in _CUT}
    return replace(c, **changed, size=s.size, step=s.step, clock=s.clock, memo=s.memo)
