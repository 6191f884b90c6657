"""Rows of block diffusion as tensors, and their state after one forward: torch only, no vLLM.

A row works on one *canvas* at a time: the positions of one block of the model's attention, for which the engine has
room in every forward. The windows, which a decoder sees, are inside it. A canvas is denoised until all its windows are
finished, then run once more with the finished tokens so that their keys and values are stored (the commit), and the
next canvas follows. That last forward belongs to the engine: no decoder sees it, and it does not advance a row's clock,
so random numbers are those of the library's own loop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from decoders.core import (
    Blocks,
    Decoder,
    Pred,
    Query,
    State,
    Windows,
    begun,
    choose,
    entered,
    patience,
    put,
    settled_stop,
    view,
    write,
)
from decoders.core import Rows as CoreRows

IDLE, DENOISE, COMMIT = range(3)
UNDEFINED, STALLED = 1, 2
FAILURES = {
    UNDEFINED: "the logits of the model are not finite (NaN or infinity): its weights are damaged, or they overflow in "
    "this dtype",
    STALLED: "the decoder makes no progress: it has committed nothing for so long that it never will",
}
"""The reasons why a row cannot go on."""
FREE = -1  # in `Host.pins`: no token is given at that position


@dataclass(frozen=True)
class EngineSpec:
    """The properties of the model and of the engine that determine a row's transitions."""

    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...]
    never: tuple[int, ...]
    """Tokens that are never generated."""
    shifted: bool
    """Output i predicts position i + 1."""
    keep: bool
    """Later rows may read the keys and values of a finished row (prefix caching), so whole blocks are committed before
    it ends."""
    causal: bool = False
    """Canvases start where a prompt ends, and the text left of them is read causally."""


@dataclass(frozen=True, kw_only=True)
class Rows(CoreRows):
    """Rows with a canvas of C positions each, from `base` on; places are counted in the text."""

    base: Tensor  # (r,) long  place of the canvas's first position
    holes_end: Tensor  # (r,) long  left of this place no stop token is allowed, since later tokens are given
    sent: Tensor  # (r,) long  the engine has received the tokens left of this place
    phase: Tensor  # (r,) long  IDLE, DENOISE or COMMIT
    stops: Tensor  # (r, K) long  tokens that end the row; -1 is none

    @classmethod
    def vacant(cls, number: int, canvas: int, spec: EngineSpec, stops: int, device: torch.device | str) -> Self:
        """Empty rows, with room for `stops` stop tokens each."""
        cell = torch.zeros(number, canvas, dtype=torch.long, device=device)
        own = {
            "tokens": cell, "open": cell.bool(), "editable": cell.bool(), "confidence": cell.float(),
            "committed_at": cell, "stops": torch.full((number, stops), -1, device=device),
        }
        return cls(
            **{name: own.get(name, cell[:, 0]).clone() for name in NUMBERS}, width=canvas, mask_id=spec.mask_id,
            vocab=spec.vocab, stop_ids=spec.stop_ids, block_causal=True, causal_context=False,
        )


NUMBERS = tuple(f.name for f in fields(Rows) if str(f.type).startswith("Tensor"))
"""The fields that are kept for each slot of the engine."""


@dataclass(frozen=True)
class Canvases(Blocks):
    """Windows that are whole canvases, which may start at any place."""

    def span(self, c: Any) -> tuple[Tensor, Tensor]:
        return c.start, c.start + self.size

    def lead(self, c: Any) -> Tensor:
        return torch.zeros_like(c.start)


@dataclass(frozen=True)
class RowPlan:
    """How some rows are decoded; rows of the same plan take their steps together."""

    decoder: Decoder
    asked: Windows
    stop: bool = True
    """A stop token ends a row."""
    infill: bool = False
    """Some tokens after the prompts are given."""

    @property
    def windows(self) -> Windows:
        return self.decoder.windows(self.asked, True)


def lay_out(rows: Rows, given: Tensor) -> Rows:
    """A new canvas at `base`, with the tokens `given (r, C)`, FREE at positions without one."""
    free = (given == FREE) & (rows.column < rows.limit[:, None])
    whole = replace(rows, start=rows.base, width=given.shape[1])
    # the library's loop lays out the whole row at once
    blank = view(replace(whole, clock=torch.zeros_like(rows.clock))).blank()
    return replace(
        rows, tokens=torch.where(free, blank, given.clamp(min=0)), open=free, editable=free,
        confidence=torch.zeros_like(rows.confidence), committed_at=torch.full_like(rows.committed_at, -1),
    )


def settle(rows: Rows, plan: RowPlan, given: Tensor) -> Rows:
    """Rows on a new canvas at `base`, in its first window. A row's clock starts with the window that contains its first
    open position; an earlier canvas contains only given tokens and is only committed."""
    windows, decoder = plan.windows, plan.decoder
    rows = replace(lay_out(rows, given), width=windows.size)
    some, new = rows.open.any(-1), rows.clock == 0
    first = torch.where(rows.open, rows.column, rows.limit[:, None]).amin(-1)
    start = windows.first(replace(rows, start=first)).clamp(min=rows.base)
    rows = replace(rows, start=torch.where(new & some, start, rows.base))
    rows = entered(replace(rows, windows=torch.where(new, windows.count(rows), rows.windows)), windows)
    joined = begun(replace(rows, memo=decoder.init(view(replace(rows, memo=None))).memo), decoder)
    rows = joined if rows.memo is None else choose(new, joined, begun(rows, decoder))
    waits = new & ~some
    return replace(
        rows, phase=torch.where(waits, COMMIT, DENOISE), block_start=torch.where(waits, rows.base, rows.block_start),
        block_end=torch.where(waits, rows.end, rows.block_end),
    )


@dataclass(frozen=True)
class NextForward:
    """The inputs of the next forward of some rows."""

    tokens: Tensor  # (r, C) long
    # (r,) long  positions left of this place see nothing to their right; the others up to `reach` see each other
    cut: Tensor
    reach: Tensor  # (r,) long  no position sees those from this place on
    # (r,) float  the temperature of the last prediction of this canvas, for models that condition on it; 0: none
    level: Tensor


def asked(rows: Rows, plan: RowPlan) -> tuple[State, Query]:
    """The windows, and the decoder's query about them."""
    s = view(rows)
    return s, plan.decoder.query(s)


def show(rows: Rows, plan: RowPlan, spec: EngineSpec) -> NextForward:
    """The next forward: on the tokens that the decoder shows, or on the finished canvas."""
    s, q = asked(rows, plan)
    asks = rows.phase == DENOISE
    shown = put(rows, rows.tokens, torch.where(s.editable, q.tokens, s.tokens))
    reach = torch.minimum(rows.block_end, rows.end)
    own = torch.zeros_like(asks) if q.causal is None else q.causal
    causal = asks & own | ~asks & spec.causal
    heat = torch.ones_like(rows.confidence[:, 0]) if q.level is None else q.level
    return NextForward(
        torch.where(asks[:, None], shown, rows.tokens),
        torch.where(causal, reach, torch.minimum(rows.block_start, reach)), reach,
        torch.where(asks & (rows.step > 0), heat, 0),
    )


@dataclass(frozen=True)
class Step:
    """The result of one forward."""

    rows: Rows
    out: Tensor  # (r, C) long  tokens for the engine, from the left
    count: Tensor  # (r,) long  how many of them there are
    failed: Tensor  # (r,) long  0, or why the row cannot go on: a key of `FAILURES`


def predicted(rows: Rows, spec: EngineSpec, plan: RowPlan, logits: Tensor, carry: Tensor | None) -> tuple[State, Pred]:
    """The window, and its prediction from the `logits (r, C, V)` of the canvas. In a shifted model the first position
    of a canvas is predicted by `carry (r, V)`, the last row of logits of the previous commit."""
    s, q = asked(rows, plan)
    width = rows.width
    source = rows.at - int(spec.shifted)
    picked = logits.gather(1, source.clamp(min=0)[..., None].expand(-1, -1, logits.shape[-1]))
    if carry is not None:
        picked = torch.where((source < 0)[..., None], carry[:, None], picked)
    want = q.want & s.editable & (rows.phase == DENOISE)[:, None]
    p = Pred(picked, torch.where(want, torch.arange(width, device=want.device), width), width).without(spec.never)
    if plan.infill:
        between = (s.position < rows.holes_end[:, None])[..., None]
        p = replace(p, logits=torch.where(between, p.without(spec.stop_ids).rows.view_as(p.logits), p.logits))
    return s, p


def advance(rows: Rows, plan: RowPlan, spec: EngineSpec, logits: Tensor, carry: Tensor | None, given: Tensor) -> Step:
    """The rows after one forward: rows that denoise take a step, rows that committed get their next canvas.

    `logits (r, C, V)` are those of the canvas, and `given (r, C)` the given tokens of the canvas after this one."""
    C = rows.tokens.shape[1]
    asks, commits = rows.phase == DENOISE, rows.phase == COMMIT
    before, p = predicted(rows, spec, plan, logits, carry)
    after = plan.decoder.step(before, p)
    broken = p.undefined() & asks
    after = choose(asks & ~broken, replace(after, step=before.step + 1, clock=before.clock + 1), before)
    over = plan.decoder.done(after) & asks & ~broken
    rows = write(rows, after)
    stalled = asks & (torch.minimum(rows.step, rows.clock - rows.committed_at.amax(-1)) > patience(plan.decoder))
    failed = torch.where(broken, UNDEFINED, torch.where(stalled & ~over, STALLED, 0))

    ended, stop = settled_stop(rows, rows.stops)
    ended = ended & (over if plan.decoder.revises else asks & ~broken) & plan.stop
    after_this = rows.start + rows.room
    full = over & (after_this >= rows.end)
    filled = full & (rows.end >= rows.limit)
    # canvases that may start at any place may fill a page with any part of them
    whole = full & (spec.causal | (rows.end == rows.base + C))
    finishes = (ended | filled) & ~(whole & spec.keep)
    to = torch.where(ended, torch.minimum(stop + 1, rows.end), rows.end)
    count = torch.where(finishes, to - rows.sent, torch.where(commits, rows.end - rows.sent, 0)).clamp(min=0)
    index = (rows.sent - rows.base).clamp(min=0)[:, None] + torch.arange(C, device=rows.base.device)
    out = rows.tokens.gather(1, index.clamp(max=C - 1))

    moved = begun(entered(replace(rows, start=torch.where(over, after_this, rows.start)), plan.windows), plan.decoder)
    follows = replace(rows, base=rows.base + C, start=rows.base + C, sent=torch.maximum(rows.sent, rows.base + C))
    fresh = settle(follows, plan, given)
    next_up = choose(commits, fresh, choose(over & ~full & ~finishes, moved, rows))
    phase = torch.where(finishes | (commits & (rows.end >= rows.limit)), IDLE, torch.where(full, COMMIT, rows.phase))
    phase = torch.where(commits & (rows.end < rows.limit), fresh.phase, phase)
    return Step(replace(next_up, phase=torch.where(failed > 0, IDLE, phase)), out, count, failed)
