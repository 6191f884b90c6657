"""The two pure functions around one forward: `prepare` before it, `apply` after it.

`decode` calls them in a loop; an engine that owns its own loop calls the same two.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from decoders.core.cache import must_recompute, sees_any
from decoders.core.canvas import Canvas
from decoders.core.layout import begun, enter
from decoders.core.model import Forward, SessionSpec
from decoders.core.needs import asks, hold_to
from decoders.core.plan import Plan, patience
from decoders.core.pred import Pred
from decoders.core.query import Query, Sight
from decoders.core.rows import BROKEN, EXHAUSTED, FILLED, LIVE, STALLED, STOPPED, settled_stop, view, write
from decoders.core.state import State, choose
from decoders.core.store import APPROXIMATE, NOTHING
from decoders.stats.constants import constant


def session_spec(plan: Plan, c: Canvas) -> SessionSpec:
    """What a session has to be ready for when it decodes this canvas by this plan."""
    (rows, columns), width = c.tokens.shape, c.width
    asked, sizes = asks(plan.decoder, c.block_causal), plan.cache.sizes(columns - 1, width)  # less the bin
    return SessionSpec(
        rows, columns, width, sizes=sizes, causal="causal" in asked, sight="sight" in asked,
        leave_one_out="leave_one_out" in asked, attention="attention" in asked or plan.cache.needs_attention,
        attention_from=plan.decoder.attention_from, candidates=c.candidates,
    )


def prepare(plan: Plan, c: Canvas) -> Forward:
    """The next forward of all rows; rows that have ended ask for nothing."""
    s = view(c)
    q, asked = plan.decoder.query(s), asks(plan.decoder, c.block_causal)
    hold_to(plan.decoder, q, asked)
    causal = torch.zeros_like(c.live) if q.causal is None else q.causal & c.live
    want = q.want & s.editable & c.live[:, None]
    at = c.at
    here = c.column >= c.block_start[:, None] if c.block_causal else torch.ones_like(c.open)
    # columns that see no further than themselves: blocks that are finished are left as they are
    narrow = causal[:, None] & here
    last = torch.where(want, at, 0).amax(-1)
    reach = torch.where(causal, last, c.reach)  # a causal row needs nothing at or right of its last wanted position
    shown = c.tokens.scatter(1, at, torch.where(s.editable, q.tokens, s.tokens))
    shown = torch.where(c.live[:, None], shown, c.tokens)
    until, unseen = torch.where(narrow, c.column + 1, c.until), c.store.unseen
    if q.sight is not None:
        until, unseen = looked(c, q.sight)
        reach = torch.where(causal, last, torch.where(want, until.gather(1, at), 0).amax(-1))
    if "resizes" in asked:
        end = c.start + c.size
        whole = c.size == c.room  # then what lies behind the window is seen as ever
        reach, want = torch.where(whole, reach, torch.minimum(reach, end)), want & (at < end[:, None])
        until = torch.where(whole[:, None], until, torch.minimum(until, end[:, None]))
    stale = must_recompute(c, shown, until, reach, None if q.sight is None else unseen)
    if plan.cache.whole:
        chosen = torch.ones_like(c.store.stale)
    elif plan.cache.exact:
        chosen = stale
        if q.beside is not None or q.latents is not None:  # what sees the window sees more than its tokens tell
            chosen = chosen | sees_any(c.window, until)
    else:
        chosen = torch.where(causal[:, None], stale, c.store.stale | (c.store.tokens == NOTHING))
    wanted = torch.zeros_like(c.open).scatter(1, at, want & ~causal[:, None])
    compute = (chosen | wanted) & (c.column < reach[:, None]) & c.live[:, None]
    given = ~c.editable & (c.column < c.limit[:, None])
    outdated = stale & ~compute & c.live[:, None]
    heat = torch.ones_like(c.confidence[:, 0]) if q.level is None else q.level
    left_out = torch.zeros_like(want) if q.left_out is None else q.left_out & want & ~causal[:, None]
    return Forward(
        shown, until, compute, outdated, given, at, want, causal, c.step == 0, plan.decoder.phase(s), unseen, left_out,
        *candidates(c, s, q), heat, q.latents,
    )


def candidates(c: Canvas, s: State, q: Query) -> tuple[Tensor, Tensor]:
    """(B, A, W) long and (B, A, W) bool: `Forward.candidate_tokens` and `candidate_want`. Where the canvas has room for
    more than are asked about, the rest wants nothing."""
    (B, W), A = s.tokens.shape, c.candidates
    tokens, want = s.tokens.new_zeros(B, A, W), s.open.new_zeros(B, A, W)
    if q.beside is not None:
        asked = q.beside.tokens.shape[1]
        tokens[:, :asked], want[:, :asked] = q.beside.tokens, q.beside.want
    return torch.where(s.editable[:, None], tokens, s.tokens[:, None]), want & s.editable[:, None] & c.live[
        :, None, None
    ]


def looked(c: Canvas, sight: Sight) -> tuple[Tensor, Tensor]:
    """(B, L) and (B, L, 2) long, `until` and `unseen` of the whole canvas: the sight in the window, and elsewhere
    causal."""
    at, inside = c.at, c.inside
    causal, pair = (c.column + 1).expand_as(c.tokens), at[..., None].expand(-1, -1, 2)
    until = causal.scatter(1, at, torch.where(inside, sight.until, at + 1))
    unseen = torch.zeros_like(c.store.unseen).scatter(1, pair, torch.where(inside[..., None], sight.unseen, 0))
    return until, unseen


def apply(plan: Plan, c: Canvas, f: Forward, p: Pred) -> Canvas:
    """The canvas after one step: commitments, finished windows, ended rows, and what is stale. A row of which the model
    says nothing, because its logits are not finite, ends as it stood; so does one whose decoder commits nothing any
    more."""
    before, live = view(c), c.live
    p = ruled(plan, before, f, p)
    after = plan.decoder.step(before, p)
    broken = p.undefined() & live  # after the step, whose statistics tell without another pass over the logits
    sound = live & ~broken
    after = choose(sound, after, before)
    after = replace(after, step=before.step + live, clock=before.clock + live)
    c = stored(write(c, after), f, p, "sight" in asks(plan.decoder, c.block_causal))
    over = plan.decoder.done(after) & sound  # rows that leave their window
    ended = stopped(c) & (over if plan.decoder.revises else live) if plan.stop else torch.zeros_like(over)
    start = next_start(c)
    filled = over & (start >= c.limit)
    moved = enter(
        replace(c, start=torch.where(over, start, c.start)), plan.decoder.windows(plan.windows, c.block_causal)
    )
    moved = begun(moved, plan.decoder)
    exhausted = torch.zeros_like(over) if plan.max_steps is None else c.clock >= plan.max_steps
    c = choose(over & ~filled & ~ended, moved, c)
    why = torch.where(exhausted, EXHAUSTED, LIVE)
    why = torch.where(ended, STOPPED, torch.where(filled, FILLED, why))
    stalled = c.clock - c.committed_at.amax(-1) > patience(plan.decoder)
    why = torch.where(broken, BROKEN, torch.where(stalled & (why == LIVE), STALLED, why))
    c = replace(c, reason=torch.where(live, why, c.reason))
    if plan.cache.exact or plan.cache.whole:
        return c
    memory = choose(live, plan.cache.remember(c, before, p), c.store.memory)
    return replace(c, store=replace(c.store, stale=plan.cache.stale(c, before, p), memory=memory))


def ruled(plan: Plan, s: State, f: Forward, p: Pred) -> Pred:
    """The prediction as the plan's rules have it, and those of the candidates beside it, each as of what it shows."""
    if not plan.rules:
        return p

    def held(shown: State, p: Pred) -> Pred:
        for rule in plan.rules:
            p = rule(shown, p)
        return p

    others = tuple(
        held(replace(s, tokens=f.candidate_tokens[:, i], open=f.candidate_want[:, i]), other)
        for i, other in enumerate(p.beside)
    )
    return replace(held(s, p), beside=others)


def stored(c: Canvas, f: Forward, p: Pred, sight: bool = False) -> Canvas:
    """The canvas after a forward: what the store now holds, and what was spent. Whatever sees a column that stayed out
    of date is approximate, so that an exact refresh finds it later. `sight`: some of them may have a unseen stretch."""
    tokens = torch.where(f.compute, f.tokens, c.store.tokens)
    until = torch.where(f.compute, f.until, c.store.until)
    unseen = torch.where(f.compute[..., None], f.unseen, c.store.unseen) if sight else c.store.unseen
    misled = sees_any(f.outdated, until.clamp(min=0), unseen if sight else None) & (tokens != NOTHING)
    tokens = torch.where(misled, APPROXIMATE, tokens)
    positions, flops = p.cost or (f.compute.sum(-1), torch.zeros_like(c.store.flops))
    bound = torch.maximum(
        torch.where(f.compute, f.until, 0).amax(-1), torch.where(f.want & f.causal[:, None], f.at, 0).amax(-1)
    )
    read = (c.column < bound[:, None]) & (c.store.tokens != NOTHING) & ~f.compute
    live, kinds = c.live, c.store.kinds
    kind = torch.arange(kinds.shape[1], device=kinds.device) == f.phase[:, None]
    return replace(c, store=replace(
        c.store, tokens=tokens, until=until, unseen=unseen,
        computed=c.store.computed + torch.where(live, positions, 0),
        reused=c.store.reused + torch.where(live, read.sum(-1), 0),
        flops=c.store.flops + torch.where(live, flops, 0.0), kinds=kinds + (kind & live[:, None]),
    ))


def next_start(c: Canvas) -> Tensor:
    """(B,) where the window after this one starts: at the first position that it left open, or else at its end; what is
    given there is passed over, except in block-causal models, whose blocks have to be computed one after the other."""
    end = c.start + c.room
    if c.block_causal:
        return torch.where(c.open & c.window, c.column, end[:, None]).amin(-1)
    return torch.where(c.open & (c.column >= c.start[:, None]), c.column, c.limit[:, None]).amin(-1)


def stopped(c: Canvas) -> Tensor:
    """(B,) bool: a stop token was committed and nothing left of it is open, so that the text is complete."""
    if not c.stop_ids:
        return torch.zeros_like(c.live)
    return settled_stop(c, constant(c.stop_ids, c.tokens.device))[0]
