"""The two pure functions around one forward: `prepare` before it, `apply` after it.

`decode` calls them in a loop; an engine that owns its own loop calls the same two.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from decoders.core.cache import REFRESHED, must_recompute, refresh, sees_any
from decoders.core.canvas import Canvas
from decoders.core.decoder import Decoder
from decoders.core.layout import begun, placed, seeing
from decoders.core.model import Forward, SessionSpec
from decoders.core.needs import asks, hold_to
from decoders.core.plan import Plan, patience
from decoders.core.pred import Pred
from decoders.core.query import Query, Sight
from decoders.core.rows import (
    BROKEN,
    EXHAUSTED,
    FILLED,
    LIVE,
    STALLED,
    STOPPED,
    put,
    settled_stop,
    view,
    write,
)
from decoders.core.state import State, choose
from decoders.core.store import APPROXIMATE, NOTHING, Store
from decoders.core.tree import altered
from decoders.core.windows import Blocks, Whole
from decoders.stats.constants import but, constant, counting, everywhere, number


def session_spec(plan: Plan, c: Canvas) -> SessionSpec:
    """The requirements for a session that decodes this canvas with this plan."""
    rows, columns = c.tokens.shape
    return spec_for(plan, c.block_causal, rows, columns, c.width, c.candidates)


def spec_for(plan: Plan, block_causal: bool, rows: int, columns: int, width: int, candidates: int) -> SessionSpec:
    """The requirements for a session that decodes any canvas of this size with this plan."""
    asked, sizes = asks(plan.decoder, block_causal), plan.cache.sizes(columns - 1, width)  # the last column is a bin
    return SessionSpec(
        rows, columns, width, sizes=sizes, whole=forgets(plan, block_causal), causal="causal" in asked,
        sight="sight" in asked, order="order" in asked, leave_one_out="leave_one_out" in asked,
        attention="attention" in asked or plan.cache.needs_attention, attention_from=plan.decoder.attention_from,
        candidates=candidates,
    )


REUSED = frozenset({"causal", "sight", "order", "resizes", "latents"})
"""Needs under which some columns do not attend to all others, so that their keys and values may survive a change."""


def forgets(plan: Plan, block_causal: bool) -> bool:
    """Whether stored keys and values would never be read: the cache policy recomputes everything, or it is the exact
    one with bidirectional attention, where any change makes everything stale."""
    if plan.cache.whole or not plan.cache.exact:
        return plan.cache.whole
    return not (block_causal or asks(plan.decoder) & REUSED)


def prepare(plan: Plan, c: Canvas) -> Forward:
    """The next forward of all rows; rows that have ended want nothing."""
    s, live = view(c), c.live[:, None]
    q, asked = plan.decoder.query(s), asks(plan.decoder, c.block_causal)
    hold_to(plan.decoder, q, asked)
    want = q.want & live if q.want is s.open else q.want & s.editable & live
    shown = c.tokens
    if q.tokens is not s.tokens:
        shown = torch.where(c.window & live, torch.where(s.editable, q.tokens, s.tokens).gather(1, c.index), shown)
    causal, until, unseen, reach, want = ranges(c, q, want, "resizes" in asked)
    rank: Tensor | None = None
    if q.order is not None:
        rank, until, reach = ordered(c, q.order)
    compute, outdated = run(plan, c, q, shown, until, unseen if q.sight else None, rank, reach, want, causal)
    left_out = everywhere(False, want)
    if q.left_out is not None:
        left_out = q.left_out & want if q.causal is None else but(q.left_out & want, causal[:, None])
    heat = everywhere(1, c.key, c.confidence.dtype) if q.level is None else q.level
    phase = plan.decoder.phase(s) if plan.decoder.phases else everywhere(0, c.key)
    return Forward(
        shown, until, compute, outdated, c.given, c.at, want, causal, c.fresh, phase, unseen, left_out,
        *candidates(c, s, q), heat, q.latents, c.open, rank,
    )


def ranges(c: Canvas, q: Query, want: Tensor, resizes: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(B,) bool, the causal rows; (B, L) and (B, L, 2) long, `until` and `unseen` of the columns; (B,) long, the first
    column that a row does not use; (B, W) bool, the wanted positions that exist."""
    until, unseen, reach, at = c.until, c.store.unseen, c.reach, c.at
    causal = everywhere(False, c.key, torch.bool)
    if q.causal is not None:
        causal = q.causal & c.live
        # columns with causal attention; those of finished blocks keep the attention that they have
        narrow = causal[:, None] & (c.column >= c.block_start[:, None]) if c.block_causal else causal[:, None]
        last = torch.where(want, at, number(0, at)).amax(-1)
        reach = torch.where(causal, last, reach)  # a causal row needs nothing at or right of its last wanted position
        until = torch.where(narrow, c.column + 1, until)
    if q.sight is not None:
        until, unseen = looked(c, q.sight)
        furthest = torch.where(want, until.gather(1, at), number(0, at)).amax(-1)
        reach = furthest if q.causal is None else torch.where(causal, last, furthest)
    if resizes:
        end = c.start + c.size
        whole = c.size == c.room  # then columns after the window are visible as usual
        reach, want = torch.where(whole, reach, torch.minimum(reach, end)), want & (at < end[:, None])
        until = torch.where(whole[:, None], until, torch.minimum(until, end[:, None]))
    return causal, until, unseen, reach, want


def run(
    plan: Plan, c: Canvas, q: Query, shown: Tensor, until: Tensor, unseen: Tensor | None, rank: Tensor | None,
    reach: Tensor, want: Tensor, causal: Tensor,
) -> tuple[Tensor, Tensor]:
    """(B, L) bool and (B, L) bool: the columns to run, and those that attend to a change and are not recomputed."""
    within = (c.column < reach[:, None]) & c.live[:, None]
    if forgets(plan, c.block_causal):
        return within, everywhere(False, within)
    if shown is c.tokens and until is c.until and unseen is None and reach is c.reach:
        stale = refresh(c)
    else:
        stale = must_recompute(c, shown, until, reach, unseen, rank)
    chosen = stale
    if not plan.cache.exact and rank is None:
        chosen = c.store.stale | c.store.nothing
        if q.causal is not None:
            chosen = torch.where(causal[:, None], stale, chosen)
    elif q.beside is not None or q.latents is not None:  # columns that see the window depend on more than its tokens
        chosen = chosen | sees_any(c.window, until)
    open_ = want if q.causal is None else but(want, causal[:, None])
    wanted = put(c, everywhere(False, within), open_)
    compute = (chosen | wanted) & within
    return compute, everywhere(False, within) if plan.cache.exact else but(stale & c.live[:, None], compute)


def candidates(c: Canvas, s: State, q: Query) -> tuple[Tensor, Tensor]:
    """(B, A, W) long and (B, A, W) bool: `Forward.candidate_tokens` and `candidate_want`. If the canvas has room for
    more candidates than the query has, the rest wants nothing."""
    (B, W), A = s.tokens.shape, c.candidates
    tokens, want = s.tokens.new_empty(B, A, W), s.open.new_empty(B, A, W)
    if not A:
        return tokens, want
    tokens, want = tokens.zero_(), want.zero_()
    if q.beside is not None:
        asked = q.beside.tokens.shape[1]
        tokens[:, :asked], want[:, :asked] = q.beside.tokens, q.beside.want
    return torch.where(s.editable[:, None], tokens, s.tokens[:, None]), want & s.editable[:, None] & c.live[
        :, None, None
    ]


def looked(c: Canvas, sight: Sight) -> tuple[Tensor, Tensor]:
    """(B, L) and (B, L, 2) long, `until` and `unseen` of the whole canvas: those of the sight in the window, and those
    of causal attention elsewhere."""
    until = put(c, c.column + 1, sight.until)
    window, pair = c.window[..., None], c.index[..., None].expand(-1, -1, 2)
    return until, torch.where(window, sight.unseen.gather(1, pair), number(0, until))


def ordered(c: Canvas, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L) long, (B, L) long and (B,) long: `Forward.rank` for windows that are read in an `order (B, W)`, `until`,
    and the first column that a row does not use. Columns to the left of a window are read first and those to its right
    last, both in the order of the text; each finished block still attends to all of itself."""
    rank = put(c, c.column.expand_as(c.tokens), c.start[:, None] + order)
    narrow = c.column >= c.block_start[:, None] if c.block_causal else everywhere(True, rank, torch.bool)
    return rank, torch.where(narrow, rank + 1, c.until), torch.minimum(c.start + c.size, c.limit)


def apply(plan: Plan, c: Canvas, f: Forward, p: Pred) -> Canvas:
    """The canvas after one step: with commitments, finished windows, ended rows, and stale columns. A row ends
    unchanged if the model's logits for it are not finite, or if its decoder has stopped committing."""
    p = ruled(plan, view(c), f, p)
    after = plan.decoder.step(view(c), p)
    undefined = p.undefined()  # after the step, whose statistics show it without another pass over the logits
    return kept(plan, c, f, p, after, undefined)


def kept(plan: Plan, c: Canvas, f: Forward, p: Pred, after: State, undefined: Tensor) -> Canvas:
    """The canvas after the decision of a step: the windows have the state `after`, and the rows `undefined (B,)` had no
    usable prediction."""
    before, live = view(c), c.live
    after = altered(after, step=before.step + live, clock=before.clock + live)
    sound = but(live, undefined)
    until_decided = type(plan.decoder).done is Decoder.done and not plan.decoder.moves_text
    # rows that leave their window
    over = but(sound, after.open.any(-1)) if until_decided else plan.decoder.done(after) & sound
    size, memo = choose(sound, after.size, before.size), choose(sound, after.memo, before.memo)
    c = stored(plan, write(c, altered(after, size=size, memo=memo), sound), f, p)
    if plan.decoder.moves_text:
        c = rearranged(c, before)
    start = next_start(c)
    filled = start >= c.limit  # no position is open then, so the window is over if nothing else counts
    if not until_decided:
        filled = filled & over
    ended = stopped(c) if plan.stop and c.stop_ids else None
    if ended is not None and plan.decoder.revises:
        ended = ended & over
    why = torch.where(live, reasons(plan, c, filled, ended, undefined), c.reason)
    turned = but(over, filled if ended is None else filled | ended)
    c = moved_on(plan, c, turned, start).changed(reason=why)
    return c if plan.cache.exact or plan.cache.whole else trusted(plan, c, before, live, p)


def rearranged(c: Canvas, before: State) -> Canvas:
    """The canvas after a step of a decoder that moves its text: `given` has moved with the tokens, and columns whose
    token came from another column count as not stored, whatever the cache policy would trust."""
    s = view(c)
    came = (s.tokens != before.tokens) & ~(before.open & (s.committed_at == before.clock[:, None]))
    moved, given = put(c, everywhere(False, c.open), came), but(c.column < c.limit[:, None], c.editable)
    tokens, until = (
        torch.where(moved, number(none, x), x) for none, x in ((NOTHING, c.store.tokens), (-1, c.store.until))
    )
    return c.changed(given=given, store=replace(c.store, tokens=tokens, until=until))


def trusted(plan: Plan, c: Canvas, before: State, live: Tensor, p: Pred) -> Canvas:
    """The canvas with the stale columns and the memory of the cache policy after a step."""
    memory = choose(live, plan.cache.remember(c, before, p), c.store.memory)
    after = c.changed(store=altered(c.store, stale=plan.cache.stale(c, before, p), memory=memory))
    if REFRESHED in vars(c):  # `refresh` reads neither of the two
        vars(after)[REFRESHED] = vars(c)[REFRESHED]
    return after


def moved_on(plan: Plan, c: Canvas, rows: Tensor, start: Tensor) -> Canvas:
    """The canvas with a new window, from `start (B,)` on, for the `rows (B,)` that have left theirs."""
    c = c.changed(start=torch.where(rows, start, c.start))
    windows = plan.decoder.windows(plan.windows, c.block_causal)
    moved = begun(seeing(placed(c, windows)), plan.decoder)
    # if windows are computed from their start and the row's end, rows that stay get the same window again
    kept = FOLLOWING if isinstance(windows, Blocks | Whole) and not plan.decoder.moves_text else ()
    new = {
        x: y if x in kept else choose(rows, y, getattr(c, x))
        for x in TURNED if (y := getattr(moved, x)) is not getattr(c, x)
    }
    if "resizes" in asks(plan.decoder, c.block_causal):
        new["size"] = choose(rows, moved.size, c.size)
    else:  # then a window has its full room
        new["size"] = new["room"]
    return c.changed(**new)


FOLLOWING = ("room", "block_start", "block_end", "until")
"""The fields of a canvas that are computed from the start of a window."""
TURNED = (*FOLLOWING, "step", "memo")
"""The fields of a canvas that change when a window is entered and begun, besides `size`."""


def reasons(plan: Plan, c: Canvas, filled: Tensor, ended: Tensor | None, undefined: Tensor) -> Tensor:
    """(B,) long: the reason why each live row ends, LIVE if it does not end."""
    stalled = c.clock - c.committed_at.amax(-1) > patience(plan.decoder)
    exhausted = None if plan.max_steps is None else c.clock >= plan.max_steps
    # of several reasons, the last one here counts; a chain of choices, because a compiled step fuses it
    found = {STALLED: stalled, EXHAUSTED: exhausted, FILLED: filled, STOPPED: ended, BROKEN: undefined}
    why = number(LIVE, c.reason)
    for reason, holds in found.items():
        if holds is not None:
            why = torch.where(holds, number(reason, c.reason), why)
    return why


def ruled(plan: Plan, s: State, f: Forward, p: Pred) -> Pred:
    """The prediction after the plan's rules, which apply to each candidate too, with the tokens of that candidate."""
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


def stored(plan: Plan, c: Canvas, f: Forward, p: Pred) -> Canvas:
    """The canvas after a forward, with its store and costs."""
    positions, flops = p.cost or (f.compute.sum(-1), everywhere(0, c.store.flops))
    live, kinds = c.live, c.store.kinds
    if plan.decoder.phases:
        kinds = kinds + (live[:, None] & (counting(kinds.shape[1], kinds.device) == f.phase[:, None]))
    store = altered(
        c.store, computed=c.store.computed.addcmul(positions, live), flops=c.store.flops.addcmul(flops, live),
        kinds=kinds,
    )
    return c.changed(store=store if forgets(plan, c.block_causal) else held(plan, c, store, f))


def held(plan: Plan, c: Canvas, s: Store, f: Forward) -> Store:
    """The store after a forward, and the columns that were read from it. A column that sees one that is out of date is
    marked as approximate, so that an exact refresh finds it later."""
    asked = asks(plan.decoder, c.block_causal)
    tokens = torch.where(f.compute, f.tokens, s.tokens)
    until = torch.where(f.compute, f.until, s.until)
    unseen = torch.where(f.compute[..., None], f.unseen, s.unseen) if "sight" in asked else s.unseen
    # columns that were not computed saw the same columns in both orders
    rank = s.rank if f.rank is None else torch.where(c.live[:, None], f.rank, s.rank)
    if not plan.cache.exact:
        misled = sees_any(f.outdated, until)  # columns of which nothing is stored see nothing
        if "sight" in asked:
            misled = but(sees_any(f.outdated, until.clamp(min=0), unseen), tokens == NOTHING)
        tokens = torch.where(misled, number(APPROXIMATE, tokens), tokens)
    bound = torch.where(f.compute, f.until, number(0, until)).amax(-1)
    if "causal" in asked:
        bound = torch.maximum(bound, torch.where(f.want & f.causal[:, None], f.at, number(0, until)).amax(-1))
    read = but(but(c.column < bound[:, None], s.nothing), f.compute).sum(-1)
    return replace(s, tokens=tokens, until=until, unseen=unseen, rank=rank, reused=s.reused.addcmul(read, c.live))


def next_start(c: Canvas) -> Tensor:
    """(B,) where the window after this one starts: at the first position that it left open, or else at its end; given
    positions there are skipped, except in block-causal models, whose blocks have to be computed one after the other."""
    # no position to the left of the window is open
    return torch.minimum(c.first_open, c.start + c.room) if c.block_causal else c.first_open


def stopped(c: Canvas) -> Tensor:
    """(B,) bool: a stop token was committed and nothing left of it is open, so that the text is complete."""
    return settled_stop(c, constant(c.stop_ids, c.tokens.device))[0]
