"""The laws that every strategy keeps. Each is a function of a decoder that raises `AssertionError`, with what went
wrong.

They run the decoder on toy models in exact arithmetic, so "the same" means the same bits. A strategy whose budget of
steps cannot be split over the blocks of a room is not led into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from decoders.core import (
    EXHAUSTED,
    Around,
    Blocks,
    Canvas,
    Decoder,
    Exact,
    Forward,
    Part,
    Plan,
    Row,
    State,
    Trace,
    UsageError,
    apply,
    asks,
    candidates,
    decode,
    leftmost,
    mapped,
    prepare,
    replay,
    view,
)
from decoders.registry import entries, get, spec_of
from decoders.strategies.left_to_right import LeftToRight
from decoders.testing.engine import Engine, Request
from decoders.testing.rooms import (
    MASK,
    ROOMS,
    SMALL,
    Moment,
    Room,
    decoded,
    difference,
    expect,
    leaves,
    rooms,
    run,
    seeds,
)
from decoders.testing.toy import ToyModel

Law = Callable[[Decoder], None]


def given_stays_given(decoder: Decoder) -> None:
    """What the prompt gives is there at the end, unchanged; a literal mask token is data unless holes are asked for."""
    for room in rooms(decoder):
        for prompt, row in zip(room.prompts, decoded(room, decoder, room.prompts), strict=True):
            kept = [
                (room.infill and given == MASK) or given == now for given, now in zip(prompt, row.canvas, strict=False)
            ]
            expect(all(kept), f"{room.name}: the given tokens {prompt} became {row.canvas[: len(prompt)]}")
            behind = decoder.padding if room.model.stop_ids else 0
            expect(len(row.canvas) == len(prompt) + room.length + behind, f"{room.name}: the row changed its length")


def terminates(decoder: Decoder) -> None:
    """Every row ends, by a stop token or with nothing left open, in a reasonable number of forwards."""
    for room in rooms(decoder):
        for row in decoded(room, decoder, room.prompts):
            expect(
                row.finish_reason != "max_steps",
                f"{room.name}: not finished after {row.nfe} forwards for {room.length} positions",
            )
            holes = room.length + (sum(p.count(MASK) for p in room.prompts) if room.infill else 0)
            expect(len(row.tokens) <= holes, f"{room.name}: more tokens than positions")


def asks_what_it_may(decoder: Decoder) -> None:
    """Queries have the shapes and types that `Query` says, and all ask the same of a model; `ahead` is said where it is
    so."""
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
                    f"{room.name}: a causal row wants more than its leftmost position; say `ahead`",
                )


def unrefused(room: Room, decoder: Decoder) -> Iterator[Moment]:
    """Its forwards in a room; raises `AssertionError` where a query asks what the first one did not."""
    try:
        yield from run(room, decoder)
    except UsageError as e:
        raise AssertionError(f"{room.name}: {e}") from e


def moves_are_legal(decoder: Decoder) -> None:
    """A step changes editable positions of its own window alone, only opens or changes what is decided if it `revises`,
    fills with tokens of the vocabulary, keeps types and shapes, and leaves blanks where it decides nothing."""
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
        expect((getattr(s, name) == getattr(t, name))[m.live].all(), f"{room.name}: a step changed State.{name}")
    expect((t.size <= t.room)[m.live].all(), f"{room.name}: a step set State.size beyond State.room")
    if "resizes" not in asks(decoder, room.model.block_causal):
        expect(
            (s.size == t.size)[m.live].all(), f"{room.name}: a step changed State.size, which the first one left alone"
        )
    changed = (s.tokens != t.tokens) | (s.open != t.open)
    expect(not (changed & ~s.editable & live).any(), f"{room.name}: a step changed a position that is not editable")
    if not decoder.revises:
        expect(
            not (changed & ~s.open & live).any(), f"{room.name}: what was decided changed, but revises is not declared"
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


def batch_invariant(decoder: Decoder) -> None:
    """A row alone, in a batch, and in another order, padded beside a longer row: the same tokens and forwards."""
    for room in rooms(decoder):
        together = decoded(room, decoder, room.prompts)
        alone = [room.decode(decoder, (prompt,))[0] for prompt in room.prompts]
        expect(together == alone, f"{room.name}: alone {alone} and in a batch {together}")
        # by two blocks, so that a budget can be split over it if over the others
        longer = (1, 2, 3, 4) * 2 + room.prompts[-1]
        backwards = (longer, *room.prompts[::-1])
        beside = room.decode(decoder, backwards)[:0:-1]
        expect(together == beside, f"{room.name}: {together}, and in another order, beside a longer row, {beside}")


def meta_safe(decoder: Decoder) -> None:
    """It runs on meta tensors, which have shapes and no data: nothing is read on the host and no shape depends on a
    value."""
    for room in rooms(decoder):
        plan = room.plan(decoder)
        try:
            c = room.layout(decoder, "meta")
            f = prepare(plan, c)
            p = room.session(decoder, c)(f)
            s = view(apply(plan, c, f, p))
            t = decoder.step(s, p)  # a second step, and what goes with it, without all that the library does around it
            found = (s, decoder.query(s), t, decoder.done(t), decoder.phase(t), decoder.begin(t))
        except Exception as e:
            raise AssertionError(
                f"{room.name}: a value is read on the host, or a tensor is on another device: {e}"
            ) from e
        expect(
            all(x.is_meta for x in leaves(found).values() if isinstance(x, Tensor)),
            f"{room.name}: a tensor has left its device",
        )


class Count(TorchDispatchMode):
    """How many tensor operations are called."""

    calls: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def no_loops(decoder: Decoder) -> None:
    """The number of tensor operations does not grow with rows or positions: no Python loop runs over them."""

    def operations(rows: int, length: int) -> int:
        room = replace(ROOMS[0], prompts=((1, 2),) * rows, length=length)
        c = room.layout(decoder)
        s, f = view(c), prepare(room.plan(decoder), c)
        p = room.session(decoder, c)(f)

        def once() -> None:
            decoder.query(s)
            decoder.begin(decoder.step(s, p))

        once()  # what is made once and kept is made now
        count = Count()  # type: ignore[no-untyped-call]  # torch's own constructor
        with count:
            once()
        return count.calls

    small, tall, wide = operations(2, 6), operations(4, 6), operations(2, 12)
    expect(small == tall, f"{small} tensor operations for 2 rows and {tall} for 4: a Python loop over rows")
    expect(small == wide, f"{small} tensor operations for 6 positions and {wide} for 12: a Python loop over positions")


def pure(decoder: Decoder) -> None:
    """`query` and `step` leave their arguments and torch's random state alone and give the same answer twice."""
    for room in rooms(decoder):
        for m in run(room, decoder):
            s, p, rng = view(m.before), mapped(Tensor.clone, m.pred), torch.get_rng_state()
            kept = mapped(Tensor.clone, s), mapped(Tensor.clone, p)
            first = decoder.query(s), decoder.step(s, p)
            again = decoder.query(view(m.before)), decoder.step(view(m.before), mapped(Tensor.clone, m.pred))
            path = difference(kept, (s, p))
            expect(path is None, f"{room.name}: the argument {path} was changed in place")
            expect(
                torch.equal(rng, torch.get_rng_state()),
                f"{room.name}: torch's random state was used; take State.uniform",
            )
            path = difference(first, again)
            expect(path is None, f"{room.name}: two calls with the same arguments differ in {path}")


def packing(decoder: Decoder) -> None:
    """The order of the logit rows and their padding mean nothing."""
    for room in rooms(decoder):
        for m in run(room, decoder):
            p = m.pred
            order = p.at.argsort(dim=-1, descending=True)
            logits, hidden = (
                None if x is None else x.gather(1, order[..., None].expand_as(x)) for x in (p.logits, p.hidden_states)
            )
            assert logits is not None
            mixed = replace(p, logits=logits, hidden_states=hidden, at=p.at.gather(1, order))
            path = difference(m.state, decoder.step(view(m.before), mixed))
            expect(path is None, f"{room.name}: {path} depends on the order of the logit rows; use the methods of Pred")


def rests(decoder: Decoder) -> None:
    """A row that has ended asks for nothing and stays as it is, however often it is stepped."""
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


def engine_agrees(decoder: Decoder) -> None:
    """In an engine whose rows join and leave, beside rows of another plan, a row becomes what `decode` makes of it."""
    for room in rooms(decoder):
        plan = room.plan(decoder)
        columns = max(map(len, room.prompts)) + room.length + decoder.padding + 2
        windows = decoder.windows(plan.windows, room.model.block_causal)
        width = min(max(windows.size, OTHER.windows.size), columns - 1)
        requests = [
            Request(prompt, room.length, p, key, room.infill)
            for key, prompt in zip(seeds(room.prompts), room.prompts, strict=True)
            for p in (plan, OTHER)
        ]
        alone = iter(decoded(room, decoder, room.prompts))
        rows = Engine(
            room.model, 2, columns, width, attention="attention" in asks(decoder), candidates=candidates(decoder)
        ).run(requests)
        for r, row in zip(requests, rows, strict=True):
            same = next(alone) if r.plan is plan else guest(room.model, r)
            expect(row == same, f"{room.name}: in an engine {row} and without {same} ({spec_of(r.plan.decoder)})")


OTHER = Plan(LeftToRight(temperature=1.0), Blocks(8), Exact())
"""What else runs in the engine."""


@lru_cache
def guest(model: ToyModel, r: Request) -> Row:
    """What a row of `OTHER` becomes without an engine."""
    windows = r.plan.windows
    return decode(model, r.plan.decoder, [r.prompt], length=r.length, windows=windows, infill=r.infill, seed=r.key)[0]


def cold(part: Any) -> Any:
    """An equal decoder, or part of one, that has computed nothing yet: `cached_property` keeps its values beside the
    fields."""
    if not isinstance(part, Decoder | Part):
        return part
    made: Any = part  # a dataclass, as each of the two is
    return replace(made, **{f.name: cold(getattr(made, f.name)) for f in fields(made) if f.init})


def compiles(decoder: Decoder) -> None:
    """`query` and `step` compile into one graph each, and say the same as uncompiled, of a decoder that has never
    run."""
    torch._dynamo.reset()
    new: Decoder = cold(decoder)
    query = torch.compile(new.query, fullgraph=True, backend="eager")
    step = torch.compile(new.step, fullgraph=True, backend="eager")
    for m in islice(run(ROOMS[0], decoder), 2):
        try:
            found = query(view(m.before)), step(view(m.before), mapped(Tensor.clone, m.pred))
        except Exception as e:
            raise AssertionError(f"it does not compile into one graph: {e}") from e
        path = difference((m.query, m.state), found)
        expect(path is None, f"compiled, {path} is another")


def replays(decoder: Decoder) -> None:
    """The predictions of a run alone reproduce it: there is no other source of chance or state."""
    for room in rooms(decoder):
        trace = Trace()
        for m in run(room, decoder):
            trace(m.forward, m.pred, m.after)
        path = difference(replay(room.plan(decoder), room.layout(decoder), trace.preds), trace.canvases[-1])
        expect(path is None, f"{room.name}: {path} of the replayed run differs")


def spec_round_trip(decoder: Decoder) -> None:
    """Its spec string makes an equal decoder, with an equal hash."""
    spec = spec_of(decoder)
    try:
        made = get(spec)
        same = made == decoder and hash(made) == hash(decoder)
    except (UsageError, TypeError) as e:
        raise AssertionError(f"{spec!r} does not make it: {e}") from e
    expect(same, f"{spec!r} makes {made!r}, not {decoder!r}")


def nfe_is_forwards(decoder: Decoder) -> None:
    """The forwards that a row reports are those that were run: alone all of them, in a batch those until it ended."""
    for room in rooms(decoder):
        for prompts in (room.prompts[:1], room.prompts):
            seen = Trace()
            reported = max(row.nfe for row in room.decode(decoder, prompts, seen))
            expect(
                reported == len(seen.forwards),
                f"{room.name}: {reported} forwards reported and {len(seen.forwards)} run",
            )


@dataclass(frozen=True)
class Same(Around):
    """The wrapper that changes nothing."""

    everything: ClassVar[bool] = True
    keeps_law: ClassVar[bool] = True
    base: Decoder


def wraps(decoder: Decoder) -> None:
    """Inside of a wrapper that changes nothing it stays what it is, forward by forward. And if it is a wrapper itself,
    it loses nothing of any registered strategy that it takes in place of its base, and comes to an end with it by legal
    moves."""
    same = Same(decoder)
    check_kept(decoder, same)
    for room in rooms(decoder, SMALL):
        for m, n in zip(run(room, decoder), run(room, same), strict=True):
            path = difference((m.forward, replace(m.after, memo=None)), (n.forward, replace(n.after, memo=None)))
            expect(path is None, f"{room.name}: inside of a wrapper that changes nothing, {path} is another")
            told = decoder.outcome(view(m.after)), same.outcome(view(n.after))
            expect(torch.equal(*told), f"{room.name}: inside of a wrapper that changes nothing, outcomes are others")
    for wrapper in rewrapped(decoder) if isinstance(decoder, Around) else ():
        try:
            check_kept(wrapper.base, wrapper)
            check_small(wrapper)
        except Exception as e:
            raise AssertionError(f"around {spec_of(wrapper.base)}: {e}") from e


def rewrapped(decoder: Around) -> Iterator[Around]:
    """The wrapper around every registered strategy that it takes."""
    for name in (e.name for e in entries("strategies") if not e.problem):
        try:
            yield replace(decoder, base=get(name))  # type: ignore[call-arg]  # every wrapper has a base
        except UsageError:
            continue


def check_small(decoder: Decoder) -> None:
    """It comes to an end by legal moves."""
    for room in rooms(decoder, SMALL):
        c = room.layout(decoder)
        for m in run(room, decoder):
            check_move(room, decoder, m)
            c = m.after
        expect((c.reason != EXHAUSTED).all(), f"{room.name}: not finished after {c.clock.tolist()} forwards")


def check_kept(base: Decoder, wrapper: Decoder) -> None:
    """What is said of a decoder can be said of a wrapper around it."""
    for block_causal in (False, True):
        lost = asks(base, block_causal) - asks(wrapper, block_causal)
        expect(not lost, f"in a wrapper it no longer asks for {sorted(lost)}")
        asked = Blocks(4)
        kept = base.windows(asked, block_causal) is asked or wrapper.windows(asked, block_causal) is not asked
        expect(kept, "in a wrapper it works in the windows that were asked for, and not in its own")
    expect(wrapper.revises or not base.revises, "in a wrapper it no longer says that it revises")
    expect(
        wrapper.padding >= base.padding,
        f"in a wrapper it gives {wrapper.padding} end tokens behind a row, not {base.padding}",
    )
    for name in ("phases", "outcomes"):
        expect(set(getattr(base, name)) <= set(getattr(wrapper, name)), f"in a wrapper it has other {name}")


LAWS: tuple[Law, ...] = (
    given_stays_given, terminates, asks_what_it_may, moves_are_legal, batch_invariant, meta_safe, no_loops, pure,
    packing, rests, engine_agrees, compiles, replays, spec_round_trip, nfe_is_forwards, wraps,
)
