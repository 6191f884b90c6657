"""Test settings for decoders ("rooms"): toy models with some rows, and every forward of a run over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from decoders.core import (
    Blocks,
    Canvas,
    Decoder,
    Exact,
    Forward,
    Plan,
    Pred,
    Query,
    Row,
    Session,
    Shape,
    State,
    UsageError,
    Windows,
    apply,
    asks,
    decode,
    inner_decoders,
    layout,
    prepare,
    session_spec,
    view,
)
from decoders.core.model import expand_of
from decoders.testing.latent import ToyLatent
from decoders.testing.toy import ToyModel


@dataclass(frozen=True)
class Room:
    """A test setting: a model and some rows."""

    name: str
    model: ToyModel | ToyLatent
    prompts: tuple[tuple[int, ...], ...]
    length: int
    block: int | None = None
    infill: bool = False

    def windows(self, prompts: tuple[tuple[int, ...], ...]) -> Windows:
        return Blocks(self.block or max(map(len, prompts)) + self.length)

    def plan(self, decoder: Decoder) -> Plan:
        return Plan(decoder, self.windows(self.prompts), Exact(), max_steps=patience(decoder, self.length))

    def layout(self, decoder: Decoder, device: torch.device | str = "cpu") -> Canvas:
        m = self.model
        return layout(
            Shape.of(m), decoder, self.prompts, length=self.length,
            keys=seeds(self.prompts), windows=self.windows(self.prompts), infill=self.infill, device=device,
        )

    def session(self, decoder: Decoder, c: Canvas) -> Session:
        model = replace(self.model, device=c.tokens.device)
        return model.session(session_spec(self.plan(decoder), c))

    def decode(
        self, decoder: Decoder, prompts: tuple[tuple[int, ...], ...],
        watch: Callable[[Forward, Pred, Canvas], None] | None = None
    ) -> list[Row]:
        return decode(
            self.model, decoder, prompts, length=self.length, windows=self.windows(prompts), infill=self.infill,
            seeds=seeds(prompts), max_steps=patience(decoder, self.length), watch=watch,
        )


@lru_cache(maxsize=32)  # several laws use the same run
def counted(room: Room, decoder: Decoder, prompts: tuple[tuple[int, ...], ...]) -> tuple[list[Row], int]:
    """The results of prompts in a room, and the number of forwards that were run."""
    seen: list[Forward] = []
    rows = room.decode(decoder, prompts, lambda f, p, c: seen.append(f))
    return rows, len(seen)


def decoded(room: Room, decoder: Decoder, prompts: tuple[tuple[int, ...], ...]) -> list[Row]:
    """The results of prompts in a room."""
    return counted(room, decoder, prompts)[0]


MASK = 10
ROOMS = (
    Room("one window", ToyModel(mask_id=MASK), ((1, 2, 3), (), (4, MASK, 5, 6, 7, 8)), 9),
    Room(
        "causal blocks", ToyModel(mask_id=MASK, stop_ids=(9,), block_causal=True),
        ((1, 2, 3), (4, 5, 6, 7, MASK, 8), (2, 0, 1, 7)), 12, 4,
    ),
    Room(
        "infilling", ToyModel(mask_id=MASK, seed=1), ((1, MASK, 2, MASK, 3), (MASK, 5), (4, 4, MASK, MASK, 6, 7)), 6, 4,
        infill=True,
    ),
)
NO_MASK = Room("no mask token", ToyModel(mask_id=None, stop_ids=(9,)), ((1, 2, 3), (4, 5, 6, 7, 8)), 8, 4)
"""For strategies that do not need a mask token."""
SMALL = (
    Room("a small window", ToyModel(mask_id=MASK, stop_ids=(9,)), ((1, 2), (3,)), 6),
    Room("small blocks", ToyModel(mask_id=MASK, stop_ids=(9,), block_causal=True), ((1, 2), (3,)), 6, 2),
    Room("a small window of text that moves", ToyModel(mask_id=MASK, stop_ids=(9,), expand_id=8), ((1, 2), (3,)), 6),
)
"""For tests with many decoders."""
EXPANDING = Room(
    "text that moves", ToyModel(mask_id=MASK, stop_ids=(9,), expand_id=8, seed=2),
    ((1, MASK, 2, MASK, 3), (MASK, 5), (4, 4, MASK, MASK, 6, 7), (1, 2)), 7, infill=True,
)
"""For decoders that obey the tokens with which a model requests more and fewer positions."""


LATENT = Room("latents", ToyLatent(stop_ids=(7,)), ((1, 2, 3), (), (4, 8, 5, 6, 7, 0)), 9)
"""For samplers of latents, which run in no other room."""


@lru_cache(maxsize=4)
def rooms(decoder: Decoder, among: tuple[Room, ...] = (*ROOMS, NO_MASK, EXPANDING, LATENT)) -> tuple[Room, ...]:
    """The rooms that suit the decoder."""
    found = []
    for room in among:
        if ("latents" in asks(decoder)) != (room.model.space is not None):
            continue
        if decoder.needs_expand != (expand_of(room.model) is not None):
            continue
        if decoder.needs_mask and room.model.mask_id is None:
            continue
        if decoder.needs_blocks and not room.model.block_causal:
            continue
        try:
            room.layout(decoder)
        except UsageError:
            if room in (ROOMS[0], EXPANDING, LATENT):
                raise
            continue
        found.append(room)
    return tuple(found)


def home(decoder: Decoder) -> Room:
    """The room for a decoder if one is enough."""
    return LATENT if "latents" in asks(decoder) else EXPANDING if decoder.needs_expand else ROOMS[0]


def seeds(prompts: tuple[tuple[int, ...], ...]) -> list[int]:
    """A seed for every row that depends on its prompt and not on its place."""
    return [sum(prompt) * 31 + len(prompt) for prompt in prompts]


def patience(decoder: Decoder, length: int) -> int:
    """More forwards than any reasonable strategy needs for a row: for each position, 8 plus the largest option."""
    return length * (8 + largest(decoder))


def largest(decoder: Decoder) -> int:
    """The largest integer option of a decoder, and of the decoders among its options."""
    values = (getattr(decoder, f.name) for f in fields(decoder))
    numbers = (v for v in values if isinstance(v, int) and not isinstance(v, bool))
    return max((*numbers, *map(largest, inner_decoders(decoder).values())), default=0)


@dataclass(frozen=True)
class Moment:
    """One forward of a run, before and after."""

    before: Canvas
    query: Query
    forward: Forward
    pred: Pred
    state: State
    """The state after `Decoder.step`, before it is written to the canvas."""
    after: Canvas

    @property
    def live(self) -> Tensor:
        """(B,) bool: rows that take part."""
        return self.before.live


class Moments:
    """Forwards that are run when they are first used, and kept. An error of a forward is raised again at each use."""

    def __init__(self, source: Iterator[Moment]) -> None:
        self.source, self.seen = source, list[Moment]()
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Moment]:
        for i in count():
            if i == len(self.seen):
                self.more()
            if i == len(self.seen):
                return
            yield self.seen[i]

    def more(self) -> None:
        """Run one more, if there is one."""
        if self.error:
            raise self.error
        try:
            self.seen += islice(self.source, 1)
        except Exception as e:
            self.error = e
            raise


@lru_cache(maxsize=16)  # several laws use the same run
def run(room: Room, decoder: Decoder) -> Moments:
    """The forwards of a room's rows until all have ended."""
    return Moments(forwards(room, decoder))


def forwards(room: Room, decoder: Decoder) -> Iterator[Moment]:
    plan, c = room.plan(decoder), room.layout(decoder)
    forward = room.session(decoder, c)
    while bool(c.live.any()):
        f = prepare(plan, c)
        p = forward(f)
        after = apply(plan, c, f, p)
        yield Moment(c, decoder.query(view(replace(c))), f, p, decoder.step(view(replace(c)), p), after)
        c = after


def leaves(x: Any) -> dict[str, Any]:
    """Path to leaf of a structure of dataclasses and pytrees."""
    if is_dataclass(x) and not isinstance(x, type):
        return {
            f"{f.name}{path}": leaf for f in fields(x) if f.init for path, leaf in leaves(getattr(x, f.name)).items()
        }
    flat, _ = tree_flatten(x)
    if len(flat) == 1 and flat[0] is x:
        return {"": x}
    return {f"[{i}]{path}": leaf for i, part in enumerate(flat) for path, leaf in leaves(part).items()}


def difference(a: Any, b: Any) -> str | None:
    """The path of the first leaf that differs, with NaN equal to itself; None if all are equal."""
    first, second = leaves(a), leaves(b)
    if first.keys() != second.keys():
        return min(first.keys() ^ second.keys())
    for path, x in first.items():
        y = second[path]
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            if x.shape != y.shape or x.dtype != y.dtype or not torch.allclose(x, y, rtol=0, atol=0, equal_nan=True):
                return path
        elif x != y:
            return path
    return None


def expect(holds: bool | Tensor, message: str) -> None:
    if not bool(holds):
        raise AssertionError(message)
