"""The laws that every strategy keeps. Each is a function of a decoder that raises `AssertionError`, with what went
wrong.

They run the decoder on toy models in exact arithmetic, so "the same" means the same bits. A strategy whose budget of
steps cannot be split over the blocks of a room is not tested in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from decoders.core import (
    Blocks,
    Cache,
    Decoder,
    Exact,
    Plan,
    Row,
    Trace,
    UsageError,
    Whole,
    asks,
    candidates,
    decode,
    replay,
)
from decoders.registry import get, spec_of, undecorated
from decoders.strategies.latent.samplers import DDIM
from decoders.strategies.left_to_right import LeftToRight
from decoders.testing.engine import Engine, Request
from decoders.testing.latent import ToyLatent
from decoders.testing.moves import asks_what_it_may, given_stays_given, moves_are_legal, rests, terminates
from decoders.testing.rooms import counted, decoded, difference, expect, rooms, run, seeds
from decoders.testing.telling import apart
from decoders.testing.tensors import compiles, meta_safe, no_loops, packing, pure
from decoders.testing.toy import ToyModel
from decoders.testing.wrappers import wraps

Law = Callable[[Decoder], None]


def batch_invariant(decoder: Decoder) -> None:
    """A row alone, in a batch, and in another order, padded beside a longer row: the same tokens and forwards."""
    for room in rooms(decoder):
        together = decoded(room, decoder, room.prompts)
        alone = [decoded(room, decoder, (prompt,))[0] for prompt in room.prompts]
        same(room.name, room.prompts, {"alone": alone, "in a batch": together})
        # longer by two blocks, so that a budget that can be split over the others can be split over it
        longer = (1, 2, 3, 4) * 2 + room.prompts[-1]
        backwards = (longer, *room.prompts[::-1])
        beside = room.decode(decoder, backwards)[:0:-1]
        same(room.name, room.prompts, {"in a batch": together, "in another order beside a longer row": beside})


def same(where: str, prompts: Sequence[Sequence[int]], runs: dict[str, Sequence[Row]]) -> None:
    """Raises `AssertionError` for the first row that differs between two runs."""
    first, second = runs.values()
    if list(first) != list(second):
        raise AssertionError(apart(where, prompts, runs))


def engine_agrees(decoder: Decoder) -> None:
    """In an engine whose rows join and leave, beside rows of another plan, a row has the same result as in `decode`."""
    for room in rooms(decoder):
        plan = room.plan(decoder)
        columns = max(map(len, room.prompts)) + room.length + decoder.padding + 2
        windows = decoder.windows(plan.windows, room.model.block_causal)
        other = OTHER if room.model.space is None else OTHER_LATENT
        width = min(max(windows.size, other.windows.size), columns - 1)
        requests = [
            Request(prompt, room.length, p, key, room.infill)
            for key, prompt in zip(seeds(room.prompts), room.prompts, strict=True)
            for p in (plan, other)
        ]
        alone = iter(decoded(room, decoder, room.prompts))
        rows = Engine(
            room.model, 2, columns, width, attention="attention" in asks(decoder), candidates=candidates(decoder)
        ).run(requests)
        for r, row in zip(requests, rows, strict=True):
            without = next(alone) if r.plan is plan else guest(room.model, r)
            where = room.name if r.plan is plan else f"{room.name}, of {spec_of(r.plan.decoder)} beside it"
            same(where, [r.prompt], {"without an engine": [without], "in an engine": [row]})


OTHER = Plan(LeftToRight(temperature=1.0), Blocks(8), Exact())
"""The other decoder in the engine,"""
OTHER_LATENT = Plan(DDIM(steps=5), Whole(), Exact())
"""and on a model of latents."""


@lru_cache
def guest(model: ToyModel | ToyLatent, r: Request) -> Row:
    """The result of a row of another plan without an engine."""
    windows = r.plan.windows
    return decode(model, r.plan.decoder, [r.prompt], length=r.length, windows=windows, infill=r.infill, seed=r.key)[0]


def replays(decoder: Decoder) -> None:
    """The predictions of a run are enough to reproduce it: there is no other source of chance or state."""
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
    """A row reports the number of forwards that were run: alone all of them, in a batch those until it ended."""
    for room in rooms(decoder):
        for prompts in (room.prompts[:1], room.prompts):
            rows, run = counted(room, decoder, prompts)
            reported = max(row.nfe for row in rows)
            expect(reported == run, f"{room.name}: {reported} forwards reported and {run} run")


def written(decoder: Decoder) -> None:
    """Its class is a frozen dataclass itself: only then are its annotated values options, and objects with different
    values unequal."""
    check_written(decoder)


def check_written(plug: Decoder | Cache) -> None:
    cls = type(plug)
    made = vars(cls).get("__dataclass_params__")
    why = undecorated(cls) or f"{cls.__name__} is no frozen dataclass; write @dataclass(frozen=True) above the class"
    expect(bool(made and made.frozen), why)


LAWS: tuple[Law, ...] = (
    written, meta_safe, pure, given_stays_given, terminates, asks_what_it_may, moves_are_legal, batch_invariant,
    no_loops, packing, rests, engine_agrees, compiles, replays, spec_round_trip, nfe_is_forwards, wraps,
)
"""Laws whose breach explains others come first."""
FAST: tuple[Law, ...] = (
    written, meta_safe, pure, given_stays_given, terminates, asks_what_it_may, moves_are_legal, batch_invariant,
    no_loops, spec_round_trip,
)
"""The quickest laws."""
