"""Rows: the text of a batch of rows, the window of each, and the view of them that a strategy gets.

This is the state machine of decoding; the KV store is in `decoders.core.store`. External engines, such as vLLM, also
use these rows, with as many columns as they have room for, starting at `base`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from decoders.core.latents import Space
from decoders.core.state import State
from decoders.core.tree import altered
from decoders.stats.constants import counting, number

LIVE, BROKEN, STOPPED, FILLED, EXHAUSTED, STALLED = range(6)
"""Why a row ended; of several reasons the first counts."""

NON_FINITE, NO_PROGRESS = "non_finite", "no_progress"
REASONS = ("live", NON_FINITE, "stop", "length", "max_steps", NO_PROGRESS)

_CUT = ("tokens", "open", "editable", "confidence", "committed_at")  # the fields of rows that a State shows

_PLACED = frozenset({"start", "room", "width", "base"})
_KNOWN: dict[str, frozenset[str] | None] = {
    **dict.fromkeys(("at", "inside", "offset", "index", "window"), _PLACED),
    "first_open": frozenset({"open", "base", "limit"}), "live": frozenset({"reason"}), "fresh": frozenset({"step"}),
    **dict.fromkeys(("state", "reach", "refreshed")),
}
"""Values of rows that are computed once and kept, with the fields that each depends on; None: all fields."""

_NO_SIGN = torch.iinfo(torch.long).max  # all bits but the sign

R = TypeVar("R", bound="Rows")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """B rows of L columns of text each, as tensors; never changed in place. Rows are independent: each enters and
    leaves its own windows."""

    tokens: Tensor  # (B, L) long
    open: Tensor  # (B, L) bool
    editable: Tensor  # (B, L) bool
    confidence: Tensor  # (B, L) float
    committed_at: Tensor  # (B, L) long
    start: Tensor  # (B,)   long  position of the first column of the row's window, in the text
    size: Tensor  # (B,)   long   the size of the window,
    room: Tensor  # (B,)   long   and the size to which it may grow
    limit: Tensor  # (B,)   long  place where the row ends
    block_start: Tensor  # (B,)   long  in a block-causal model, the attention block that contains the window
    block_end: Tensor  # (B,)   long
    # (B,)   long  positions open when the window was entered; for rows that are `fresh` the state counts them anew
    opened: Tensor
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
    causal: bool = False  # no position of a row sees those to its right
    expand_id: int | None = None  # the token with which the model requests one more position
    space: Space | None = None  # for a model of latents
    memo: Any = None

    @property
    def column(self) -> Tensor:
        """The places of the columns: (L,), or (B, L) where rows have a `base`."""
        column = counting(self.tokens.shape[1], self.tokens.device)
        return column if self.base is None else self.base[:, None] + column

    @property
    def place(self) -> Tensor:
        """(B, W) places of the window's positions, including those past its end."""
        return self.start[:, None] + counting(self.width, self.start.device)

    @cached_property
    def at(self) -> Tensor:
        """(B, W) columns of the window; positions past the last column have the last column."""
        index = self.place if self.base is None else self.place - self.base[:, None]
        return index.clamp(max=self.tokens.shape[1] - 1)

    @cached_property
    def inside(self) -> Tensor:
        """(B, W) bool: positions that belong to the row's own window, including those into which it may yet grow."""
        return counting(self.width, self.start.device) < self.room[:, None]

    @cached_property
    def offset(self) -> Tensor:
        """(B, L) long: how far the columns are from the first one of the row's window; larger than any window for those
        to its left."""
        return self.column - self.start[:, None] & _NO_SIGN

    @cached_property
    def window(self) -> Tensor:
        """(B, L) bool: columns of the row's own window."""
        return self.offset < self.room[:, None]

    @cached_property
    def index(self) -> Tensor:
        """(B, L) long: the position of the window at each column; arbitrary at columns outside the window."""
        return self.offset.clamp(max=self.width - 1)

    @property
    def end(self) -> Tensor:
        """(B,) the last place where a window may end now: the end of the row, or of the columns that exist."""
        return self.limit if self.base is None else torch.minimum(self.base + self.tokens.shape[1], self.limit)

    @cached_property
    def first_open(self) -> Tensor:
        """(B,) place of the first open column; the end of the row if there is none."""
        return torch.where(self.open, self.column, self.limit[:, None]).amin(-1)

    @cached_property
    def fresh(self) -> Tensor:
        """(B,) bool: no forward was spent on the window yet."""
        return self.step == 0

    def changed(self, **new: Any) -> Self:
        """The rows with other tensors; kept values that do not depend on the changed ones stay."""
        made = altered(self, **new)
        known = vars(made)
        for name, of in _KNOWN.items():
            if name in known and (of is None or of & new.keys()):
                del known[name]
        return made

    @cached_property
    def state(self) -> State:
        """The rows' windows, as a strategy sees them."""
        at, inside = self.at, self.inside
        cut = {name: getattr(self, name).gather(1, at) for name in _CUT}
        cut |= {"open": cut["open"] & inside, "editable": cut["editable"] & inside}
        opened = torch.where(self.fresh, cut["open"].sum(-1), self.opened)
        return self.showing(**cut, opened=opened, position=at if self.base is None else self.place)

    def showing(self, **cut: Tensor) -> State:
        """The state of the windows with these tensors."""
        return State(
            **cut, size=self.size, room=self.room, windows=self.windows, step=self.step, clock=self.clock, key=self.key,
            limit=self.limit, mask_id=self.mask_id, vocab=self.vocab, stop_ids=self.stop_ids,
            block_causal=self.block_causal, causal=self.causal, expand_id=self.expand_id, space=self.space,
            memo=self.memo,
        )


def view(r: Rows) -> State:
    """The rows' windows, as a strategy sees them."""
    return r.state


def put(r: Rows, old: Tensor, new: Tensor) -> Tensor:
    """(B, L) `old` with the windows replaced by `new (B, W)`."""
    return torch.where(r.window, new.gather(1, r.index), old)


def write(r: R, s: State, rows: Tensor | None = None) -> R:
    """The rows with their windows replaced, or those of `rows (B,)` alone. Tensors that are the same objects as in
    `view` are not written."""
    where = r.window if rows is None else r.window & rows[:, None]
    changed: dict[str, Any] = {
        name: torch.where(where, new.gather(1, r.index), getattr(r, name))
        for name in _CUT if (new := getattr(s, name)) is not getattr(r.state, name)
    }
    return r.changed(**changed, size=s.size, opened=s.opened, step=s.step, clock=s.clock, memo=s.memo)


def settled_stop(r: Rows, stops: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) bool: one of the stop tokens `stops (B, K)` or (K,) was committed and nothing left of it is open; (B,) long:
    its place, which is meaningful only in such rows."""
    one = stops.shape[-1] == 1
    stop = r.tokens == stops if one else (r.tokens[..., None] == stops[..., None, :]).any(-1)
    nowhere = number(torch.iinfo(torch.long).max, r.start)
    first = torch.where(stop & r.editable, r.column, nowhere).amin(-1)  # an open one is not left of all open ones
    return first < r.first_open, first
