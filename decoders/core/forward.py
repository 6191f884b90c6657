"""The two pure functions around one forward: `ask` before it, `tell` after it.

`decode` calls them in a loop; an engine that owns its own loop calls the same two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from decoders.core.canvas import APPROXIMATE, EXHAUSTED, FILLED, LIVE, NOTHING, STOPPED, Canvas, enter, view, write
from decoders.core.constants import among
from decoders.core.decoder import Decoder, Query, Sight
from decoders.core.options import validate
from decoders.core.pred import Pred
from decoders.core.state import State, choose
from decoders.core.windows import Windows


@dataclass(frozen=True)
class Forward:
    """One forward over the canvas: the columns in `compute` are run and their keys and values stored.

    Attention is one rule: column i sees the columns left of `until[i]`, less a stretch, those from `hidden[i, 0]` up to
    `hidden[i, 1]`; unless the decoder `needs_sight` there is none, and all of it is 0. In rows that are `causal`, a wanted position i
    is predicted from the columns left of i alone.
    """

    tokens: Tensor  # (B, L) long
    until: Tensor  # (B, L) long
    compute: Tensor  # (B, L) bool
    outdated: Tensor  # (B, L) bool  columns that a cache policy leaves as they are though they see a change; others read them
    given: Tensor  # (B, L) bool  the prompt and what else was given; what guidance hides
    at: Tensor  # (B, W) long  columns of the window
    want: Tensor  # (B, W) bool
    causal: Tensor  # (B,)   bool
    entered: Tensor  # (B,)   bool  the first forward of this window; what a model carries from forward to forward starts anew
    phase: Tensor  # (B,)   long  which of the decoder's `phases` it is; for those who watch, and nothing to a model
    hidden: Tensor  # (B, L, 2) long
    left_out: Tensor  # (B, W) bool  wanted positions that are predicted without their own token in sight; none unless it was needed
    other_tokens: Tensor  # (B, A, W) long  what else the window may hold; A is 0 unless alternatives were needed
    other_want: Tensor  # (B, A, W) bool
    conditioning: Tensor | None = None  # (B,) float  see `Query.conditioning`; none: 1


Session = Callable[[Forward], Pred]


@runtime_checkable
class Fixed(Protocol):
    """A session whose forwards can also be run with shapes that were chosen beforehand and without a look at the host, as a captured
    graph needs it. What it stores, it stores in place."""

    @property
    def buckets(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ascending numbers of columns and of logit rows; no row ever needs more than the last ones."""

    def needs(self, f: Forward) -> Tensor:
        """(B, 2) long: the columns and the logit rows that each row takes."""

    def fixed(self, f: Forward, columns: int, rows: int) -> Pred:
        """A forward in which no row needs more than so many columns and logit rows."""

    def __call__(self, f: Forward) -> Pred: ...


@runtime_checkable
class Foreseeing(Protocol):
    """A session far from its model, told before a forward which step is to read the prediction, so that it need not fetch all of it."""

    def foresee(self, plan: Plan, c: Canvas, f: Forward) -> None:
        """`f` comes next, on the canvas `c`; nothing but `tell` by this plan will read what it predicts."""

    def __call__(self, f: Forward) -> Pred: ...


@dataclass(frozen=True)
class Need:
    """What a session has to be ready for."""

    rows: int
    columns: int
    width: int
    causal: bool = False
    """Some queries may be causal."""
    attention: bool = False
    """Predictions come with `Pred.attention`."""
    sizes: tuple[int, ...] = ()
    """Ascending: every forward asks for at most one of these many columns in any row, so that shapes are few and known; empty: any."""
    sight: bool = False
    """Some columns may have a hidden stretch; otherwise `Forward.hidden` need not be looked at."""
    leave_one_out: bool = False
    """Some positions may be predicted without their own token; otherwise `Forward.left_out` need not be looked at."""
    alternatives: int = 0
    """A of `Forward.other_tokens`; predictions are then as wide as all 1 + A windows, the row's own first (see `Pred.part`)."""

    @classmethod
    def of(cls, plan: Plan, c: Canvas) -> Self:
        """What decoding a canvas by a plan takes."""
        (rows, columns), width = c.tokens.shape, c.width
        d, cache = plan.decoder, plan.cache
        sizes = cache.sizes(columns - 1, width)  # less the bin
        maps = d.needs_attention or cache.needs_attention
        return cls(
            rows, columns, width, d.needs_causal, maps, sizes, d.needs_sight, d.needs_leave_one_out, c.alternatives,
        )


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
    def causal_context(self) -> bool:
        """Of a block-causal model: what is left of the window is seen causally, and windows are counted from the end of the prompt."""
    @property
    def attention_block(self) -> int | None:
        """Of a block-causal model: the block of its attention; none: it follows the windows."""
    @property
    def gives(self) -> frozenset[str]:
        """What it can do that not every model can: `causal` rows, a `store` of keys and values, `attention` maps, `sight`: columns
        with a hidden stretch, `leave_one_out`: predictions without a position's own token, `alternatives`: several canvases a row, `hidden`
        states (`Pred.hidden`)."""
    @property
    def column_bytes(self) -> int:
        """What the keys and values of one column of one row take."""
    @property
    def device(self) -> torch.device: ...

    def session(self, need: Need) -> Session:
        """A forward function for one canvas."""


class Plain:
    """What most models have in common, for those who write one: everything sees everything, keys and values are kept."""

    stop_ids: tuple[int, ...] = ()
    block_causal: bool = False
    causal_context: bool = False
    attention_block: int | None = None
    gives: frozenset[str] = frozenset({"causal", "store"})
    column_bytes: int = 0


@dataclass(frozen=True)
class Cache:
    """Which columns the next forward recomputes besides those whose prediction is wanted. Subclass it as a frozen dataclass and
    write `stale`.

    Keys and values of all columns are always stored; a policy only says when to trust them. A column for which nothing is stored
    yet is computed whatever the policy says, and in causal rows the exact rule holds.
    """

    exact: ClassVar[bool] = False
    """Recompute whatever sees a column that changed, and nothing else; `stale` is then not asked."""
    whole: ClassVar[bool] = False
    """Recompute everything in every forward, in causal rows too; `stale` is then not asked."""
    needs_store: ClassVar[bool] = True
    """Makes no sense where the model keeps no keys and values."""
    needs_blocks: ClassVar[bool] = False
    """The model must be block-causal."""
    needs_attention: ClassVar[bool] = False
    """Reads `Pred.attention`."""
    source: ClassVar[str] = ""
    """The paper: authors, year, arXiv number."""

    def __post_init__(self) -> None:
        validate(self)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        """(B, L) bool, from the canvas after a step, the window before it, and what was predicted."""
        raise NotImplementedError

    def init(self, c: Canvas) -> Any:
        """The policy's own tensors at the start, leading dimension B; they are `Canvas.memory`."""
        return None

    def remember(self, after: Canvas, before: State, p: Pred) -> Any:
        """Those tensors after a step, from what `stale` gets; their structure never changes."""
        return after.memory

    def sizes(self, columns: int, width: int) -> tuple[int, ...]:
        """Ascending numbers of positions, the last one `columns`, that of the longest row: every forward is padded to one of them.
        By default powers of two up to the window, then multiples of it."""
        small = [2**i for i in range((width - 1).bit_length())]
        return (*small, *range(width, columns, width), columns)


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


def sees_any(columns: Tensor, until: Tensor, hidden: Tensor | None = None) -> Tensor:
    """(B, L) bool: what sees one of `columns (B, L)`, by the rule of attention; without `hidden`, nothing is."""
    if hidden is None:
        L = columns.shape[1]
        first = torch.where(columns, torch.arange(L, device=columns.device), L).amin(-1, keepdim=True)
        return until > first
    left = torch.nn.functional.pad(columns.cumsum(-1), (1, 0))  # how many are left of each column
    since, to = (left.gather(1, torch.minimum(edge, until)) for edge in hidden.unbind(-1))
    return left.gather(1, until) > to - since


def must_recompute(c: Canvas, shown: Tensor, until: Tensor, reach: Tensor, hidden: Tensor | None = None) -> Tensor:
    """(B, L) bool, the exact rule: whatever sees a column that changed. Block caches, prefix caches and autoregressive caches are
    this one rule, and a finished block rides in the next block's first forward."""
    within = c.column < reach[:, None]
    changed = ((c.kv_tokens != shown) | (c.kv_until != until)) & within
    if hidden is not None:
        changed = changed | ((c.kv_hidden != hidden).any(-1) & within)
    return sees_any(changed, until, hidden) & within


def refresh(c: Canvas) -> Tensor:
    """(B, L) bool: the columns that an exact refresh recomputes, as the canvas stands. Where everything sees everything that is
    all of the row as soon as one token changed; in a block-causal model, finished blocks are left alone."""
    return must_recompute(c, c.tokens, c.until, c.reach)


def just_decided(after: Canvas, before: State) -> Tensor:
    """(B, L) bool: what the last step committed or edited."""
    return after.committed_at == before.clock[:, None]


def ask(plan: Plan, c: Canvas) -> Forward:
    """The next forward of all rows; rows that have ended ask for nothing."""
    s = view(c)
    q = plan.decoder.query(s)
    causal = q.causal & c.live
    want = q.want & s.editable & c.live[:, None]
    at = c.at
    here = c.column >= c.block_start[:, None] if c.block_causal else torch.ones_like(c.open)
    narrow = causal[:, None] & here  # columns that see no further than themselves: blocks that are finished are left as they are
    last = torch.where(want, at, 0).amax(-1)
    reach = torch.where(causal, last, c.reach)  # a causal row needs nothing at or right of its last wanted position
    shown = c.tokens.scatter(1, at, torch.where(s.editable, q.tokens, s.tokens))
    shown = torch.where(c.live[:, None], shown, c.tokens)
    until, hidden = torch.where(narrow, c.column + 1, c.until), c.kv_hidden
    if q.sight is not None:
        until, hidden = looked(c, q.sight)
        reach = torch.where(causal, last, torch.where(want, until.gather(1, at), 0).amax(-1))
    if q.extent is not None:
        end = c.start + q.extent
        reach, want = torch.minimum(reach, end), want & (at < end[:, None])
        until = torch.minimum(until, end[:, None])
    stale = must_recompute(c, shown, until, reach, None if q.sight is None else hidden)
    if plan.cache.whole:
        chosen = torch.ones_like(c.stale)
    elif plan.cache.exact:
        chosen = stale
        if q.alternatives is not None:  # what sees the window is not the same for all of them
            chosen = chosen | sees_any(c.window, until)
    else:
        chosen = torch.where(causal[:, None], stale, c.stale | (c.kv_tokens == NOTHING))
    wanted = torch.zeros_like(c.open).scatter(1, at, want & ~causal[:, None])
    compute = (chosen | wanted) & (c.column < reach[:, None]) & c.live[:, None]
    given = ~c.editable & (c.column < c.limit[:, None])
    outdated = stale & ~compute & c.live[:, None]
    heat = torch.ones_like(c.confidence[:, 0]) if q.conditioning is None else q.conditioning
    left_out = torch.zeros_like(want) if q.left_out is None else q.left_out & want & ~causal[:, None]
    return Forward(
        shown, until, compute, outdated, given, at, want, causal, c.step == 0, plan.decoder.phase(s), hidden, left_out,
        *alternatives(c, s, q), heat,
    )


def alternatives(c: Canvas, s: State, q: Query) -> tuple[Tensor, Tensor]:
    """(B, A, W) long and (B, A, W) bool: `Forward.other_tokens` and `other_want`. Where the canvas has room for more than are asked
    about, the rest wants nothing."""
    (B, W), A = s.tokens.shape, c.alternatives
    tokens, want = s.tokens.new_zeros(B, A, W), s.open.new_zeros(B, A, W)
    if q.alternatives is not None:
        asked = q.alternatives.tokens.shape[1]
        tokens[:, :asked], want[:, :asked] = q.alternatives.tokens, q.alternatives.want
    return torch.where(s.editable[:, None], tokens, s.tokens[:, None]), want & s.editable[:, None] & c.live[:, None, None]


def looked(c: Canvas, sight: Sight) -> tuple[Tensor, Tensor]:
    """(B, L) and (B, L, 2) long, `until` and `hidden` of the whole canvas: the sight in the window, and elsewhere causal."""
    at, inside = c.at, c.inside
    causal, pair = (c.column + 1).expand_as(c.tokens), at[..., None].expand(-1, -1, 2)
    until = causal.scatter(1, at, torch.where(inside, sight.until, at + 1))
    hidden = torch.zeros_like(c.kv_hidden).scatter(1, pair, torch.where(inside[..., None], sight.hidden, 0))
    return until, hidden


def tell(plan: Plan, c: Canvas, f: Forward, p: Pred) -> Canvas:
    """The canvas after one step: commitments, finished windows, ended rows, and what is stale."""
    before = view(c)
    if c.alternatives and not plan.decoder.needs_alternatives:
        p = p.part(0, c.width)
    p = ruled(plan, before, f, p)
    after = plan.decoder.step(before, p)
    after = choose(c.live, replace(after, step=before.step + 1, clock=before.clock + 1), before)
    c = stored(write(c, after), f, p, plan.decoder.needs_sight)
    over = plan.decoder.done(after) & c.live  # rows that leave their window
    ended = stopped(c) & (over if plan.decoder.revises else c.live) if plan.stop else torch.zeros_like(over)
    start = next_start(c)
    filled = over & (start >= c.limit)
    moved = enter(replace(c, start=torch.where(over, start, c.start)), plan.decoder.windows(plan.windows, c.block_causal))
    moved = replace(moved, memo=plan.decoder.begin(view(moved)).memo)
    exhausted = torch.zeros_like(over) if plan.max_steps is None else c.clock >= plan.max_steps
    went_on, c = c.live, choose(over & ~filled & ~ended, moved, c)
    why = torch.where(exhausted, EXHAUSTED, LIVE)
    why = torch.where(ended, STOPPED, torch.where(filled, FILLED, why))
    c = replace(c, reason=torch.where(c.live, why, c.reason))
    if plan.cache.exact or plan.cache.whole:
        return c
    if plan.decoder.needs_alternatives:
        p = p.part(0, c.width)
    return replace(
        c, stale=plan.cache.stale(c, before, p), memory=choose(went_on, plan.cache.remember(c, before, p), c.memory),
    )


def ruled(plan: Plan, s: State, f: Forward, p: Pred) -> Pred:
    """The prediction as the plan's rules have it; of alternatives, each by itself."""
    if not plan.decoder.needs_alternatives or not plan.rules:
        for rule in plan.rules:
            p = rule(s, p)
        return p
    parts, W = [], s.tokens.shape[1]
    for i in range(1 + plan.decoder.alternatives):
        shown = s if i == 0 else replace(s, tokens=f.other_tokens[:, i - 1], open=f.other_want[:, i - 1])
        part = p.part(i, W)
        for rule in plan.rules:
            part = rule(shown, part)
        parts.append(part)
    return p.joined(parts)


def stored(c: Canvas, f: Forward, p: Pred, sight: bool = False) -> Canvas:
    """The canvas after a forward: what the store now holds, and what was spent. Whatever sees a column that stayed out of date is
    approximate, so that an exact refresh finds it later. `sight`: some of them may have a hidden stretch."""
    tokens = torch.where(f.compute, f.tokens, c.kv_tokens)
    until = torch.where(f.compute, f.until, c.kv_until)
    hidden = torch.where(f.compute[..., None], f.hidden, c.kv_hidden) if sight else c.kv_hidden
    misled = sees_any(f.outdated, until.clamp(min=0), hidden if sight else None) & (tokens != NOTHING)
    tokens = torch.where(misled, APPROXIMATE, tokens)
    positions, flops = p.cost or (f.compute.sum(-1), torch.zeros_like(c.flops))
    bound = torch.maximum(torch.where(f.compute, f.until, 0).amax(-1), torch.where(f.want & f.causal[:, None], f.at, 0).amax(-1))
    read = (c.column < bound[:, None]) & (c.kv_tokens != NOTHING) & ~f.compute
    return replace(
        c, kv_tokens=tokens, kv_until=until, kv_hidden=hidden,
        computed=c.computed + torch.where(c.live, positions, 0),
        reused=c.reused + torch.where(c.live, read.sum(-1), 0),
        flops=c.flops + torch.where(c.live, flops, 0.0),
    )


def next_start(c: Canvas) -> Tensor:
    """(B,) where the window after this one starts: at the first position that it left open, or else at its end; what is given there
    is passed over, except in block-causal models, whose blocks have to be computed one after the other."""
    end = c.start + c.size
    if c.block_causal:
        return torch.where(c.open & c.window, c.column, end[:, None]).amin(-1)
    return torch.where(c.open & (c.column >= c.start[:, None]), c.column, c.limit[:, None]).amin(-1)


def stopped(c: Canvas) -> Tensor:
    """(B,) bool: a stop token was committed and nothing left of it is open, so that the text is complete."""
    if not c.stop_ids:
        return torch.zeros_like(c.live)
    hit = among(c.tokens, c.stop_ids) & c.editable & ~c.open
    first = torch.where(hit, c.column, c.tokens.shape[1]).amin(-1)
    return hit.any(-1) & ~(c.open & (c.column < first[:, None])).any(-1)
