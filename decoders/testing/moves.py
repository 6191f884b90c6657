"""Laws about a decoder's effect on its rows: what it may ask and change, and that rows end and then stay unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

import torch
from torch import Tensor

from decoders.core import Canvas, Decoder, Forward, State, UsageError, apply, asks, leftmost, prepare, view
from decoders.testing.rooms import MASK, Moment, Room, decoded, expect, leaves, rooms, run
from decoders.testing.telling import tokens


def given_stays_given(decoder: Decoder) -> None:
    """Given tokens are unchanged at the end, or in their order if the decoder moves them (`moves_text`); a literal mask
    token is data unless holes are requested."""
    for room in rooms(decoder):
        for prompt, row in zip(room.prompts, decoded(room, decoder, room.prompts), strict=True):
            holes = [room.infill and given == MASK for given in prompt]
            if decoder.moves_text:
                kept = in_order([x for x, hole in zip(prompt, holes, strict=True) if not hole], row.canvas)
            else:
                kept = all(h or x == now for x, h, now in zip(prompt, holes, row.canvas, strict=False))
            expect(kept, f"{room.name}: the given tokens {tokens(prompt)} became {tokens(row.canvas[: len(prompt)])}")
            behind = decoder.padding if room.model.stop_ids else 0
            expect(len(row.canvas) == len(prompt) + room.length + behind, f"{room.name}: the row changed its length")


def in_order(some: Iterable[object], every: Iterable[object]) -> bool:
    """Whether `some` is a subsequence of `every`."""
    rest = iter(every)
    return all(x in rest for x in some)


def terminates(decoder: Decoder) -> None:
    """Every row ends, by a stop token or with no open position, in a reasonable number of forwards."""
    for room in rooms(decoder):
        for row in decoded(room, decoder, room.prompts):
            expect(
                row.finish_reason != "max_steps",
                f"{room.name}: not finished after {row.nfe} forwards for {room.length} positions",
            )
            holes = room.length + (sum(p.count(MASK) for p in room.prompts) if room.infill else 0)
            expect(len(row.tokens) <= holes, f"{room.name}: more tokens than positions")


def asks_what_it_may(decoder: Decoder) -> None:
    """Queries have the shapes and types of `Query`, and all need the same of a model; `ahead` is set wherever it is
    required."""
    for room in rooms(decoder):
        for m in unrefused(room, decoder):
            q, (B, W) = m.query, (len(m.before.tokens), m.before.width)
            expect(
                q.tokens.shape == (B, W) and q.tokens.dtype == torch.long,
                f"{room.name}: Query.tokens is not (B, W) long",
            )
            expect(q.want.shape == (B, W) and q.want.dtype == torch.bool, f"{room.name}: Query.want is not (B, W) bool")
            if q.causal is not None:
                expect(
                    q.causal.shape == (B,) and q.causal.dtype == torch.bool,
                    f"{room.name}: Query.causal is not (B,) bool",
                )
                ahead = q.want & ~leftmost(view(m.before).open) & (q.causal & m.live)[:, None]
                expect(
                    q.ahead or not ahead.any(),
                    f"{room.name}: a causal row wants more than its leftmost position; set `ahead`",
                )
            if q.order is not None:
                each = torch.arange(W).expand(B, W)
                expect(
                    torch.equal(q.order.sort(-1).values, each),
                    f"{room.name}: Query.order is not (B, W) long with every number from 0 to W - 1 once in a row",
                )


def unrefused(room: Room, decoder: Decoder) -> Iterator[Moment]:
    """The decoder's forwards in a room. Raises `AssertionError` if a query has needs that the first one lacked."""
    try:
        yield from run(room, decoder)
    except UsageError as e:
        raise AssertionError(f"{room.name}: {e}") from e


def moves_are_legal(decoder: Decoder) -> None:
    """A step changes only editable positions of its own window, reopens or changes decided ones only if it `revises`,
    commits tokens of the vocabulary, keeps types and shapes, and leaves blanks at open positions."""
    for room in rooms(decoder):
        for m in run(room, decoder):
            check_move(room, decoder, m)


def check_move(room: Room, decoder: Decoder, m: Moment) -> None:
    s, t, live = view(m.before), m.state, m.live[:, None]
    for f in fields(State):
        old, new = getattr(s, f.name), getattr(t, f.name)
        if isinstance(old, Tensor):
            same = isinstance(new, Tensor) and new.shape == old.shape and new.dtype == old.dtype
            expect(same, f"{room.name}: State.{f.name} changed its shape or type")
    form = [(path, x.shape, x.dtype) if isinstance(x, Tensor) else (path, x) for path, x in leaves(s.memo).items()]
    expect(
        form
        == [(path, x.shape, x.dtype) if isinstance(x, Tensor) else (path, x) for path, x in leaves(t.memo).items()],
        f"{room.name}: the memo changed its structure",
    )
    for name in ("editable", "position", "room", "opened", "windows", "key"):
        if name == "editable" and decoder.moves_text:
            continue
        expect((getattr(s, name) == getattr(t, name))[m.live].all(), f"{room.name}: a step changed State.{name}")
    expect((t.size <= t.room)[m.live].all(), f"{room.name}: a step set State.size beyond State.room")
    if "resizes" not in asks(decoder, room.model.block_causal):
        expect(
            (s.size == t.size)[m.live].all(), f"{room.name}: a step changed State.size, which the first one left alone"
        )
    changed = (s.tokens != t.tokens) | (s.open != t.open)
    if decoder.moves_text:
        check_order(room, m)
    else:
        expect(not (changed & ~s.editable & live).any(), f"{room.name}: a step changed a position that is not editable")
    if not (decoder.revises or decoder.moves_text):
        expect(
            not (changed & ~s.open & live).any(), f"{room.name}: a decided token changed, but revises is not declared"
        )
    decided = (s.open & ~t.open).sum(-1)
    expect((decided <= s.open.sum(-1))[m.live].all(), f"{room.name}: more was decided than was open")
    if s.mask_id is not None:
        blank = t.tokens == s.mask_id
        expect(
            (blank | ~t.open | ~live).all(), f"{room.name}: an open position shows something other than the mask token"
        )
    fits = (t.tokens >= 0) & (t.tokens < s.vocab)
    expect((fits | ~s.editable | ~live).all(), f"{room.name}: a token outside the vocabulary")


def check_order(room: Room, m: Moment) -> None:
    """A step that moves text loses no given or decided token, keeps their order, and leaves given tokens given."""
    s = view(m.before)
    inside = s.place < s.room[:, None]
    for b in m.live.nonzero().flatten().tolist():
        old, new = (
            [(token, edit) for token, edit, open in zip(
                x.tokens[b, inside[b]].tolist(), x.editable[b, inside[b]].tolist(), x.open[b, inside[b]].tolist(),
                strict=True,
            ) if not open]
            for x in (s, m.state)
        )
        expect(in_order(old, new), f"{room.name}: a step moved {old} and left {new}, where some are missing")
        given = [[x for x in xs if not x[1]] for xs in (old, new)]
        expect(given[0] == given[1], f"{room.name}: a step that moves text changed what is given")


def rests(decoder: Decoder) -> None:
    """A row that has ended wants nothing and stays unchanged, however often it is stepped."""
    for room in rooms(decoder):
        plan, last = room.plan(decoder), room.layout(decoder)
        for m in run(room, decoder):
            check_rest(room, m.before, m.forward, m.after)
            last = m.after
        forward = room.session(decoder, last)
        for _ in range(2):
            f = prepare(plan, last)
            after = apply(plan, last, f, forward(f))
            check_rest(room, last, f, after)
            last = after


def check_rest(room: Room, before: Canvas, f: Forward, after: Canvas) -> None:
    ended = ~before.live
    expect(not (f.compute[ended].any() or f.want[ended].any()), f"{room.name}: a row that has ended asks for a forward")
    for (path, old), new in zip(leaves(before).items(), leaves(after).values(), strict=True):
        if isinstance(old, Tensor) and path != "stale":
            expect(torch.equal(old[ended], new[ended]), f"{room.name}: {path} of a row that has ended has changed")
