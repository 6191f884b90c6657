"""The two pure functions around one forward: `ask` before it, `tell` after it.

`decode` calls them in a loop; an engine that owns its own loop calls the same two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from decoders.core.canvas import EXHAUSTED, FILLED, LIVE, STOPPED, Canvas, enter, view, write
from decoders.core.decoder import Decoder
from decoders.core.options import validate
from decoders.core.pred import Pred
from decoders.core.state import State, choose
from decoders.core.windows import Windows


@dataclass(frozen=True)
class Forward:
    """One forward over the canvas: the columns in `compute` are run and their keys and values stored.

    Attention is one rule: column i sees the columns left of `until[i]`. In rows that are `causal`, a wanted position i is
    predicted from the columns left of i alone.
    """

    tokens: Tensor  # (B, L) long
    until: Tensor  # (B, L) long
    compute: Tensor  # (B, L) bool
    given: Tensor  # (B, L) bool  the prompt and what else was given; what guidance hides
    at: Tensor  # (B, W) long  columns of the window
    want: Tensor  # (B, W) bool
    causal: Tensor  # (B,)   bool


Session = Callable[[Forward], Pred]


class Model(Protocol):
    """Runs forwards. A session belongs to one canvas: it holds the keys and values of its rows."""

    @property
    def mask_id(self) -> int | None: ...
    @property
    def vocab(self) -> int: ...
    @property
    def stop_ids(self) -> tuple[int, ...]: ...
    @property
    def block_causal(self) -> bool: ...
    @property
    def device(self) -> torch.device: ...

    def session(self, rows: int, columns: int, width: int, causal: bool) -> Session:
        """A forward function for canvases of `rows` x `columns` and windows of `width`; `causal`: some queries may be."""


@dataclass(frozen=True)
class Cache:
    """Which columns the next forward recomputes besides those whose prediction is wanted. Subclass it as a frozen dataclass.

    Keys and values are always stored; a policy only says when to trust them. In causal rows the exact rule holds under every
    policy.
    """

    exact: ClassVar[bool] = False
    """Recompute whatever sees a column that changed, and nothing else; `stale` is then not asked."""
    source: ClassVar[str] = ""
    """The paper: authors, year, arXiv number."""

    def __post_init__(self) -> None:
        validate(self)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        """(B, L) bool, from the canvas after a step, the window before it, and what was predicted."""
        raise NotImplementedError


Rule = Callable[[State, Pred], Pred]
"""Changes a prediction before the strategy reads it: `(state, pred) -> pred`, pure and batched."""


@dataclass(frozen=True)
class Plan:
    """How rows are decoded; hashable, so that an engine can group rows by it."""

    decoder: Decoder
    windows: Windows
    cache: Cache
    rules: tuple[Rule, ...] = ()
    stop: bool = True
    """End a row at its first stop token, as soon as nothing left of that is open."""
    max_steps: int | None = None
    """End a row after this many forwards."""


def must_recompute(c: Canvas, shown: Tensor, until: Tensor, reach: Tensor) -> Tensor:
    """(B, L) bool, the exact rule: whatever sees a column that changed. Block caches, prefix caches and autoregressive caches are
    this one rule, and a finished block rides in the next block's first forward."""
    within = c.column < reach[:, None]
    changed = ((c.kv_tokens != shown) | (c.kv_until != until)) & within
    first = torch.where(changed, c.column, c.tokens.shape[1]).amin(-1)
    return (until > first[:, None]) & within


def ask(plan: Plan, c: Canvas) -> Forward:
    """The next forward of all rows; rows that have ended ask for nothing."""
    s = view(c)
    q = plan.decoder.query(s)
    causal = q.causal & c.live
    want = q.want & s.editable & c.live[:, None]
    at = c.at
    narrow = causal[:, None] & (c.window if c.block_causal else torch.ones_like(c.open))  # see no further than themselves
    last = torch.where(want, at, 0).amax(-1)
    reach = torch.where(causal, last, c.reach)  # a causal row needs nothing at or right of its last wanted position
    shown = c.tokens.scatter(1, at, torch.where(s.editable, q.tokens, s.tokens))
    shown = torch.where(c.live[:, None], shown, c.tokens)
    until = torch.where(narrow, c.column + 1, c.until)
    stale = must_recompute(c, shown, until, reach)
    if not plan.cache.exact:
        stale = torch.where(causal[:, None], stale, c.stale)
    wanted = torch.zeros_like(c.open).scatter(1, at, want & ~causal[:, None])
    compute = (stale | wanted) & (c.column < reach[:, None]) & c.live[:, None]
    given = ~c.editable & (c.column < c.limit[:, None])
    return Forward(shown, until, compute, given, at, want, causal)


def tell(plan: Plan, c: Canvas, f: Forward, p: Pred) -> Canvas:
    """The canvas after one step: commitments, finished windows, ended rows, and what is stale."""
    before = view(c)
    for rule in plan.rules:
        p = rule(before, p)
    after = plan.decoder.step(before, p)
    after = choose(c.live, replace(after, step=before.step + 1, clock=before.clock + 1), before)
    c = replace(
        write(c, after),
        kv_tokens=torch.where(f.compute, f.tokens, c.kv_tokens),
        kv_until=torch.where(f.compute, f.until, c.kv_until),
    )
    over = plan.decoder.done(after) & c.live  # rows that leave their window
    ended = stopped(c) & (over if plan.decoder.revises else c.live) if plan.stop else torch.zeros_like(over)
    start = next_start(c)
    filled = over & (start >= c.limit)
    moved = enter(replace(c, start=torch.where(over, start, c.start)), plan.windows)
    moved = replace(moved, memo=plan.decoder.begin(view(moved)).memo)
    exhausted = torch.zeros_like(over) if plan.max_steps is None else c.clock >= plan.max_steps
    c = choose(over & ~filled & ~ended, moved, c)
    why = torch.where(exhausted, EXHAUSTED, LIVE)
    why = torch.where(ended, STOPPED, torch.where(filled, FILLED, why))
    c = replace(c, reason=torch.where(c.live, why, c.reason))
    return c if plan.cache.exact else replace(c, stale=plan.cache.stale(c, before, p))


def next_start(c: Canvas) -> Tensor:
    """(B,) where the window after this one starts: at its end; what is given there is passed over, except in block-causal models,
    whose blocks have to be computed one after the other."""
    end = c.start + c.size
    if c.block_causal:
        return end
    return torch.where(c.open & (c.column >= end[:, None]), c.column, c.limit[:, None]).amin(-1)


def stopped(c: Canvas) -> Tensor:
    """(B,) bool: a stop token was committed and nothing left of it is open, so that the text is complete."""
    if not c.stop_ids:
        return torch.zeros_like(c.live)
    ids = torch.tensor(c.stop_ids, device=c.tokens.device)
    hit = torch.isin(c.tokens, ids) & c.editable & ~c.open
    first = torch.where(hit, c.column, c.tokens.shape[1]).amin(-1)
    return hit.any(-1) & ~(c.open & (c.column < first[:, None])).any(-1)
