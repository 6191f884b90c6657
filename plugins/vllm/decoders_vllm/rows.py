"""Rows of block diffusion as tensors, and what becomes of them after one forward: torch only, no vLLM.

A row works on one *canvas* at a time: the positions of one block of the model's attention, for which the engine has room in every
forward. Windows, which are what a decoder sees, lie inside it. A canvas is denoised until all its windows are finished, then run once
more with the finished tokens so that their keys and values are stored (the commit), and the next one follows. That last forward is the
engine's: no decoder sees it, and it is no step on a row's clock, so random numbers are those of the library's own loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from decoders.core import Blocks, Decoder, Pred, Query, State, Windows, choose

IDLE, DENOISE, COMMIT = range(3)
FREE = -1  # in `Rows.pins`: nothing is given there


@dataclass(frozen=True)
class Facts:
    """What a row's transitions need to know of the model and of the engine."""

    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...]
    never: tuple[int, ...]
    """Tokens that are never generated."""
    shifted: bool
    """Output i predicts position i + 1."""
    keep: bool
    """Keys and values of a finished row may be read by a later one (prefix caching), so whole blocks are committed before it ends."""
    causal: bool = False
    """Canvases start where a prompt ends, and what is left of them is read causally."""


@dataclass(frozen=True)
class Rows:
    """r rows with a canvas of C positions each; places are places in the text. Never changed in place."""

    tokens: Tensor  # (r, C) long
    open: Tensor  # (r, C) bool
    editable: Tensor  # (r, C) bool
    confidence: Tensor  # (r, C) float
    committed_at: Tensor  # (r, C) long
    base: Tensor  # (r,) long  place of the canvas's first position
    start: Tensor  # (r,) long  place of the window's first position
    size: Tensor  # (r,) long
    block_start: Tensor  # (r,) long  the positions from here up to `block_end` see each other; those left of it see nothing to their right
    block_end: Tensor  # (r,) long
    limit: Tensor  # (r,) long  the row ends here
    holes_end: Tensor  # (r,) long  left of here nothing may end the text, since what is right of it is given
    sent: Tensor  # (r,) long  what is left of here the engine knows
    opened: Tensor  # (r,) long
    windows: Tensor  # (r,) long
    step: Tensor  # (r,) long
    clock: Tensor  # (r,) long
    key: Tensor  # (r,) long
    phase: Tensor  # (r,) long  IDLE, DENOISE or COMMIT
    stops: Tensor  # (r, K) long  tokens that end the row; -1 is none
    memo: Any = None

    @property
    def column(self) -> Tensor:
        """(r, C) places."""
        return self.base[:, None] + torch.arange(self.tokens.shape[1], device=self.base.device)

    @property
    def end(self) -> Tensor:
        """(r,) the place after the canvas, or after the row."""
        return torch.minimum(self.base + self.tokens.shape[1], self.limit)

    # what `Windows` read of a canvas; `Canvases` read nothing of that
    block_causal = True
    causal_context = False

    @property
    def live(self) -> Tensor:
        return self.phase != IDLE


@dataclass(frozen=True)
class Canvases(Blocks):
    """Windows that are whole canvases, wherever those start."""

    def span(self, c: Any) -> tuple[Tensor, Tensor]:
        return c.start, c.start + self.size

    def lead(self, c: Any) -> Tensor:
        return torch.zeros_like(c.start)


@dataclass(frozen=True)
class Way:
    """How some rows are decoded; rows of the same way take their steps together."""

    decoder: Decoder
    asked: Windows
    stop: bool = True
    """A stop token ends a row."""
    infill: bool = False
    """Some of what follows the prompts is given."""

    @property
    def windows(self) -> Windows:
        return self.decoder.windows(self.asked, True)


def at(rows: Rows, width: int) -> Tensor:
    """(r, W) the window's positions as indices into the canvas; past its end, the last one."""
    place = (rows.start - rows.base)[:, None] + torch.arange(width, device=rows.base.device)
    return place.clamp(max=rows.tokens.shape[1] - 1)


def inside(rows: Rows, width: int) -> Tensor:
    """(r, W) bool"""
    return torch.arange(width, device=rows.base.device) < rows.size[:, None]


CUT = ("tokens", "open", "editable", "confidence", "committed_at")


def view(rows: Rows, facts: Facts, width: int) -> State:
    """The windows, as a decoder sees them."""
    index, own = at(rows, width), inside(rows, width)
    cut = {name: getattr(rows, name).gather(1, index) for name in CUT}
    cut |= {"open": cut["open"] & own, "editable": cut["editable"] & own}
    place = rows.start[:, None] + torch.arange(width, device=rows.base.device)
    return State(
        **cut, position=place, size=rows.size, room=rows.size,
        opened=rows.opened, windows=rows.windows, step=rows.step, clock=rows.clock, key=rows.key,
        mask_id=facts.mask_id, vocab=facts.vocab, stop_ids=facts.stop_ids, block_causal=True, memo=rows.memo,
    )


def put(rows: Rows, width: int, values: Tensor, into: Tensor) -> Tensor:
    """(r, C) `into` with the windows replaced by `values (r, W)`. Positions past the window write to a column that is cut off."""
    C = into.shape[1]
    index = torch.where(inside(rows, width), at(rows, width), C)
    return torch.nn.functional.pad(into, (0, 1)).scatter(1, index, values)[:, :C]


def write(rows: Rows, s: State) -> Rows:
    """The rows with their windows replaced."""
    width = s.tokens.shape[1]
    changed: dict[str, Any] = {name: put(rows, width, getattr(s, name), getattr(rows, name)) for name in CUT}
    return replace(rows, **changed, step=s.step, clock=s.clock, memo=s.memo)


def enter(rows: Rows, windows: Windows) -> Rows:
    """A window for rows whose `start` is new."""
    size = torch.minimum(windows.next(rows).clamp(min=1, max=windows.size), (rows.end - rows.start).clamp(min=0))  # type: ignore[arg-type]
    rows = replace(rows, size=size, step=torch.zeros_like(rows.step))
    block_start, block_end = windows.span(rows)  # type: ignore[arg-type]
    own = (rows.column >= rows.start[:, None]) & (rows.column < (rows.start + size)[:, None])
    return replace(rows, block_start=block_start, block_end=block_end, opened=(rows.open & own).sum(-1))


def lay_out(rows: Rows, facts: Facts, given: Tensor) -> Rows:
    """A new canvas at `base`, with what is `given (r, C)` in it, FREE elsewhere."""
    free = (given == FREE) & (rows.column < rows.limit[:, None])
    before = replace(rows, start=rows.base, clock=torch.zeros_like(rows.clock))  # the library's loop lays out the whole row at once
    blank = view(before, facts, rows.tokens.shape[1]).blank()
    return replace(
        rows, tokens=torch.where(free, blank, given.clamp(min=0)), open=free, editable=free,
        confidence=torch.zeros_like(rows.confidence), committed_at=torch.full_like(rows.committed_at, -1),
    )


def begin(rows: Rows, way: Way, facts: Facts) -> Rows:
    """Enter the window at `start`."""
    windows = way.windows
    rows = enter(rows, windows)
    return replace(rows, memo=way.decoder.begin(view(rows, facts, windows.size)).memo)


def settle(rows: Rows, way: Way, facts: Facts, given: Tensor) -> Rows:
    """Rows on a new canvas at `base`, in its first window. A row's clock starts with the window in which its first open position is; a
    canvas left of that holds given tokens alone and is only there to be committed."""
    rows, windows = lay_out(rows, facts, given), way.windows
    some, new = rows.open.any(-1), rows.clock == 0
    first = torch.where(rows.open, rows.column, rows.limit[:, None]).amin(-1)
    start = windows.first(replace(rows, start=first)).clamp(min=rows.base)  # type: ignore[arg-type]
    start = torch.where(new & some, start, rows.base)
    rows = replace(rows, start=start)
    rows = enter(replace(rows, windows=torch.where(new, windows.count(rows), rows.windows)), windows)  # type: ignore[arg-type]
    memo = way.decoder.begin(way.decoder.init(view(replace(rows, memo=None), facts, windows.size))).memo
    if rows.memo is not None:
        memo = choose(new, memo, way.decoder.begin(view(rows, facts, windows.size)).memo)
    waits = new & ~some
    return replace(
        rows, memo=memo, phase=torch.where(waits, COMMIT, DENOISE), block_start=torch.where(waits, rows.base, rows.block_start),
        block_end=torch.where(waits, rows.end, rows.block_end),
    )


@dataclass(frozen=True)
class Shown:
    """What the next forward of some rows runs on."""

    tokens: Tensor  # (r, C) long
    cut: Tensor  # (r,) long  positions left of this place see nothing to their right; the others up to `reach` see each other
    reach: Tensor  # (r,) long  positions from here on are seen by nobody
    level: Tensor  # (r,) float  the temperature of the last prediction of this canvas, for models that condition on it; 0: none


def query(rows: Rows, way: Way, facts: Facts) -> tuple[State, Query]:
    s = view(rows, facts, way.windows.size)
    return s, way.decoder.query(s)


def show(rows: Rows, way: Way, facts: Facts) -> Shown:
    """The next forward: what the decoder shows, or the finished canvas."""
    s, q = query(rows, way, facts)
    asks = rows.phase == DENOISE
    shown = put(rows, s.tokens.shape[1], torch.where(s.editable, q.tokens, s.tokens), rows.tokens)
    reach = torch.minimum(rows.block_end, rows.end)
    own = torch.zeros_like(asks) if q.causal is None else q.causal
    causal = asks & own | ~asks & facts.causal
    heat = torch.ones_like(rows.confidence[:, 0]) if q.level is None else q.level
    return Shown(
        torch.where(asks[:, None], shown, rows.tokens), torch.where(causal, reach, torch.minimum(rows.block_start, reach)), reach,
        torch.where(asks & (rows.step > 0), heat, 0),
    )


@dataclass(frozen=True)
class Step:
    """What became of rows in one forward."""

    rows: Rows
    out: Tensor  # (r, C) long  tokens for the engine, from the left
    count: Tensor  # (r,) long  how many of them there are


def predicted(rows: Rows, facts: Facts, way: Way, logits: Tensor, carry: Tensor | None) -> tuple[State, Pred]:
    """The window and what `logits (r, C, V)` of the canvas say of it. In a shifted model the first position of a canvas is predicted by
    `carry (r, V)`, the last row of the commit before it."""
    s, q = query(rows, way, facts)
    width = s.tokens.shape[1]
    source = at(rows, width) - int(facts.shifted)
    picked = logits.gather(1, source.clamp(min=0)[..., None].expand(-1, -1, logits.shape[-1]))
    if carry is not None:
        picked = torch.where((source < 0)[..., None], carry[:, None], picked)
    want = q.want & s.editable & (rows.phase == DENOISE)[:, None]
    p = Pred(picked, torch.where(want, torch.arange(width, device=want.device), width), width).without(facts.never)
    if way.infill:
        between = (s.position < rows.holes_end[:, None])[..., None]
        p = replace(p, logits=torch.where(between, p.without(facts.stop_ids).rows.view_as(p.logits), p.logits))
    return s, p


def advance(rows: Rows, way: Way, facts: Facts, logits: Tensor, carry: Tensor | None, given: Tensor) -> Step:
    """One forward later: a step of those that denoise, the next canvas for those that committed.

    `logits (r, C, V)` of the canvas, `given (r, C)` what is given in the canvas after this one."""
    C = rows.tokens.shape[1]
    asks, commits = rows.phase == DENOISE, rows.phase == COMMIT
    before, p = predicted(rows, facts, way, logits, carry)
    after = way.decoder.step(before, p)
    after = choose(asks, replace(after, step=before.step + 1, clock=before.clock + 1), before)
    over = way.decoder.done(after) & asks
    rows = write(rows, after)

    ended, stop = stopped(rows)
    ended = ended & (over if way.decoder.revises else asks) & way.stop
    after_this = rows.start + rows.size
    full = over & (after_this >= rows.end)
    filled = full & (rows.end >= rows.limit)
    whole = full & (facts.causal | (rows.end == rows.base + C))  # canvases that start anywhere may fill pages with any part of them
    finishes = (ended | filled) & ~(whole & facts.keep)
    to = torch.where(ended, torch.minimum(stop + 1, rows.end), rows.end)
    count = torch.where(finishes, to - rows.sent, torch.where(commits, rows.end - rows.sent, 0)).clamp(min=0)
    index = (rows.sent - rows.base).clamp(min=0)[:, None] + torch.arange(C, device=rows.base.device)
    out = rows.tokens.gather(1, index.clamp(max=C - 1))

    moved = begin(replace(rows, start=torch.where(over, after_this, rows.start)), way, facts)
    follows = replace(rows, base=rows.base + C, start=rows.base + C, sent=torch.maximum(rows.sent, rows.base + C))
    fresh = settle(follows, way, facts, given)
    next_up = choose(commits, fresh, choose(over & ~full & ~finishes, moved, rows))
    phase = torch.where(finishes | (commits & (rows.end >= rows.limit)), IDLE, torch.where(full, COMMIT, rows.phase))
    phase = torch.where(commits & (rows.end < rows.limit), fresh.phase, phase)
    return Step(replace(next_up, phase=phase), out, count)


def stopped(rows: Rows) -> tuple[Tensor, Tensor]:
    """(r,) bool: a stop token was committed and nothing left of it is open; (r,) long: its place."""
    hit = (rows.tokens[..., None] == rows.stops[:, None]).any(-1) & rows.editable & ~rows.open
    first = torch.where(hit, rows.column, torch.iinfo(torch.long).max).amin(-1)
    return hit.any(-1) & ~(rows.open & (rows.column < first[:, None])).any(-1), first
