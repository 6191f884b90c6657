"""Laws of how a decoder is written: pure functions of whole batches of tensors, which a device or a compiler runs
as they are."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from decoders.core import Decoder, Part, Pred, State, mapped, prepare, view
from decoders.testing.rooms import Moment, Room, difference, expect, home, leaves, rooms, run


def meta_safe(decoder: Decoder) -> None:
    """It runs on meta tensors, which have shapes and no data: nothing is read on the host and no shape depends on a
    value."""
    for room in rooms(decoder):
        c = room.layout(decoder)
        f = prepare(room.plan(decoder), c)
        check_meta(room, decoder, view(c), room.session(decoder, c)(f))  # before any step, which may not go well
        for m in islice(run(room, decoder), 1, 2):
            check_meta(room, decoder, view(m.before), m.pred)


def check_meta(room: Room, decoder: Decoder, s: State, p: Pred) -> None:
    try:
        found = called(decoder, *mapped(lambda x: x.to("meta"), (s, p)))
    except Exception as e:
        not_for_that(decoder, s, p, e)
        raise AssertionError(f"{room.name}: a value is read on the host, or a tensor is on another device: {e}") from e
    expect(
        all(x.is_meta for x in leaves(found).values() if isinstance(x, Tensor)),
        f"{room.name}: a tensor has left its device",
    )


def called(decoder: Decoder, s: State, p: Pred) -> object:
    """What a decoder makes of a state and a prediction, by every method of its own."""
    t = decoder.step(s, p)
    said = decoder.done(t), decoder.phase(t), decoder.outcome(t)
    return decoder.init(replace(s, memo=None)), decoder.query(s), t, decoder.begin(t), said


def not_for_that(decoder: Decoder, s: State, p: Pred, e: Exception) -> None:
    """Raises what tensors with data make a decoder raise too, if it is the same: then it is no matter of tensors."""
    try:
        called(decoder, mapped(Tensor.clone, s), mapped(Tensor.clone, p))
    except Exception as same:
        if (type(same), str(same)) == (type(e), str(e)):
            raise


class Count(TorchDispatchMode):
    """How many tensor operations are called."""

    calls: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def no_loops(decoder: Decoder) -> None:
    """The number of tensor operations does not grow with rows or positions: no Python loop runs over them."""

    def operations(rows: int, length: int) -> int:
        room = replace(home(decoder), prompts=((1, 2),) * rows, length=length)
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


def seen(m: Moment) -> State:
    """What a decoder was shown, in tensors that it has not had in its hands."""
    return view(replace(m.before))


def pure(decoder: Decoder) -> None:
    """`query` and `step` leave their arguments and torch's random state alone and give the same answer twice."""
    for room in rooms(decoder):
        for m in run(room, decoder):
            s, p, rng = seen(m), mapped(Tensor.clone, m.pred), torch.get_rng_state()
            kept = mapped(Tensor.clone, s), mapped(Tensor.clone, p)
            first = decoder.query(s), decoder.step(s, p)
            again = decoder.query(seen(m)), decoder.step(seen(m), mapped(Tensor.clone, m.pred))
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
    for m in islice(run(home(decoder), decoder), 2):
        try:
            found = query(view(m.before)), step(view(m.before), mapped(Tensor.clone, m.pred))
        except Exception as e:
            why = str(e).strip().partition("\n")[0]  # of a page
            raise AssertionError(f"it does not compile into one graph: {why}") from e
        path = difference((m.query, m.state), found)
        expect(path is None, f"compiled, {path} is another")
