"""State: the present content of a row's window. It is independent of models, caches and strategies.

Shapes, here and everywhere: B rows, W positions of a window, L columns of the whole canvas, V tokens of the vocabulary,
N rows of logits. Everything is pure and row-wise: no value is read on the host, and no row depends on another.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from decoders.core.latents import Space
from decoders.core.select import share
from decoders.core.tree import altered, mapped
from decoders.stats.constants import among, but, counting, everywhere, number
from decoders.stats.random import normal, scramble, unit

T = TypeVar("T")


@dataclass(frozen=True)
class State:
    """The present content of a row's window. Tensors only, never changed in place.

    `open` is a mask of its own, never `tokens == mask_id`: prompts may hold the mask token, models of uniform noise
    have none, and revision reopens decided positions. W is only a shape; a row's own window is its first `size`
    positions.
    """

    tokens: Tensor  # (B, W) long   a blank where open
    open: Tensor  # (B, W) bool   still to be decided
    editable: Tensor  # (B, W) bool   may change at all; open implies editable
    confidence: Tensor  # (B, W) float  probability at commitment
    committed_at: Tensor  # (B, W) long   `clock` at commitment, -1 if given or open
    position: Tensor  # (B, W) long   place in the text
    size: Tensor  # (B,)   long   the size of the row's window, at most `room`; `begin` and a step may set it
    room: Tensor  # (B,)   long   the size to which it may grow, at most W; no position sees those beyond `size`
    opened: Tensor  # (B,)   long   positions that were open when the window was entered
    windows: Tensor  # (B,)   long   number of windows of the row
    step: Tensor  # (B,)   long   forwards spent on this window
    clock: Tensor  # (B,)   long   forwards spent on this row
    key: Tensor  # (B,)   long   the row's random key
    mask_id: int | None  # None: open positions show uniform noise
    vocab: int
    stop_ids: tuple[int, ...] = ()
    block_causal: bool = False  # the model is block-causal: no block sees a later one
    causal: bool = False  # its blocks have one position: the model is causal
    # the token with which the model requests one more position; with its first end token it requests one less; None: it
    # has no such tokens
    expand_id: int | None = None
    limit: Tensor | None = None  # (B,)   long  place where the row ends; None if the engine does not report it
    space: Space | None = None  # for a model of latents
    memo: Any = None  # a decoder's own tensors, leading dimension B; structure never changes

    @property
    def decided(self) -> Tensor:
        """(B, W) bool: the positions that the decoder has decided; given ones are not among them."""
        return but(self.editable, self.open)

    @property
    def rest(self) -> Tensor | None:
        """(B,) long: positions of the row to the right of the window; None if the engine does not report them."""
        return None if self.limit is None else (self.limit - self.position[:, 0] - self.room).clamp(min=0)

    @property
    def place(self) -> Tensor:
        """(W,) long: 0, 1, 2, ..., the positions' places in the window."""
        return counting(self.tokens.shape[1], self.tokens.device)

    @property
    def present(self) -> Tensor:
        """(B, W) bool: the positions that the row's window has now, its first `size`."""
        return self.place < self.size[:, None]

    def window_steps(self, steps: int | None) -> Tensor:
        """(B,) long: this window's share of a budget of `steps` for the whole row; None is one step for each open
        position."""
        return self.opened.clamp(min=1) if steps is None else steps // self.windows.clamp(min=1)

    def quota(self, steps: int | None) -> Tensor:
        """(B,) long: the number of positions that this step commits if a budget of `steps` for the row is spent
        evenly."""
        if steps is None:  # one step for each open position, so every step commits one
            return self.opened.clamp(max=1)
        return share(self.opened, self.window_steps(steps), self.step)

    def is_stop(self, tokens: Tensor) -> Tensor:
        """Bool, with the shape of `tokens`: the tokens that end a text."""
        return among(tokens, self.stop_ids)

    def hash(self, salt: int, timeless: bool = False) -> Tensor:
        """(B, W) int64: 64 random bits of key, step, position and salt. Timeless: the clock is left out, so the bits
        stay the same from forward to forward."""
        h = scramble(scramble(self.key) + salt)[:, None]
        if not timeless:
            h = scramble(h + self.clock[:, None])
        return scramble(h ^ (self.position * 0x2545F4914F6CDD1D))

    def uniform(self, salt: int, timeless: bool = False) -> Tensor:
        """(B, W) float64 in [0, 1)."""
        return unit(self.hash(salt, timeless))

    def normal(self, salt: int, width: int, timeless: bool = False) -> Tensor:
        """(B, W, width) float32: standard normal numbers."""
        return normal(self.hash(salt, timeless), width)

    def blank(self) -> Tensor:
        """(B, W) the tokens shown at open positions: the mask token, or uniform noise for models without one."""
        if self.mask_id is not None:
            return everywhere(self.mask_id, self.tokens)
        return (self.uniform(_BLANK) * self.vocab).long()

    def commit(self, where: Tensor, tokens: Tensor, confidence: Tensor) -> State:
        """Put tokens at open positions, which become decided; other positions in `where` are ignored."""
        return self._put(where & self.open, tokens, confidence)

    def edit(self, where: Tensor, tokens: Tensor, confidence: Tensor) -> State:
        """Change the tokens of decided positions; other positions in `where` are ignored."""
        return self._put(where & self.decided, tokens, confidence)

    def reopen(self, where: Tensor) -> State:
        """Make decided positions open again, with the mask token, or with noise for models without one."""
        where = where & self.decided
        return replace(
            self,
            tokens=torch.where(where, self.blank(), self.tokens),
            open=self.open | where,
            committed_at=torch.where(where, number(-1, self.committed_at), self.committed_at),
        )

    def rearranged(self, source: Tensor) -> State:
        """The state in which each position has the content that was at `source (B, W)`, a place in the window; given
        tokens move too. Only a decoder that `moves_text` may do so, and it keeps given and decided tokens in order."""
        names = ("tokens", "open", "editable", "confidence", "committed_at")
        return replace(self, **{name: getattr(self, name).gather(1, source) for name in names})

    def within(self, where: Tensor, opened: Tensor, memo: Any, since: Tensor | int = 0) -> State:
        """This window for a decoder that works in a part of it only: outside of `where (B, W)` no position is open or
        editable, `opened (B,)` positions were open when the decoder entered that part, it entered it `since (B,)`
        forwards after the window was entered, and `memo` is its own. `taking` is the inverse."""
        where_open, where_editable = self.open & where, self.editable & where
        return replace(self, open=where_open, editable=where_editable, opened=opened, step=self.step - since, memo=memo)

    def taking(self, where: Tensor, other: State, memo: Any) -> State:
        """This state with the positions `where (B, W)` taken from `other`, and with this `memo`."""
        return replace(
            self,
            tokens=torch.where(where, other.tokens, self.tokens),
            open=torch.where(where, other.open, self.open),
            confidence=torch.where(where, other.confidence, self.confidence),
            committed_at=torch.where(where, other.committed_at, self.committed_at),
            memo=memo,
        )

    def _put(self, where: Tensor, tokens: Tensor, confidence: Tensor) -> State:
        return altered(
            self,
            tokens=torch.where(where, tokens, self.tokens),
            open=but(self.open, where),
            confidence=torch.where(where, confidence.to(self.confidence.dtype), self.confidence),
            committed_at=torch.where(where, self.clock[:, None], self.committed_at),
        )


_BLANK = 0x0B


def choose(rows: Tensor, a: T, b: T) -> T:
    """Choose row by row: `a` where `rows (B,)`, else `b`. For tensors with leading dimension B, and for structures made
    of them: states, queries, memos, canvases. Everything that is not a tensor is taken from `a`."""

    def pick(x: Tensor, y: Tensor) -> Tensor:
        return x if x is y and x.shape[0] == rows.shape[0] else torch.where(rows.view(-1, *[1] * (x.dim() - 1)), x, y)

    return mapped(pick, a, b)


def nbytes(memo: Any, row: int) -> int:
    """Bytes of the tensors in a memo, for one row."""
    if isinstance(memo, Tensor):
        return memo[row].nbytes
    if is_dataclass(memo):
        return sum(nbytes(getattr(memo, f.name), row) for f in fields(memo))
    parts = memo.values() if isinstance(memo, dict) else memo if isinstance(memo, tuple | list) else ()
    return sum(nbytes(part, row) for part in parts)
