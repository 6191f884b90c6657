"""Test runs for cache policies: toy models with some rows, and the calls of a policy in a run over them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import torch
from torch import Tensor

from decoders.core import (
    Cache,
    Canvas,
    Decoder,
    Forward,
    Plan,
    Pred,
    Row,
    Shape,
    State,
    apply,
    decode,
    layout,
    mapped,
    prepare,
    refresh,
    session_spec,
    view,
)
from decoders.registry import get
from decoders.testing.rooms import MASK, Room
from decoders.testing.toy import ToyModel

PROMPTS = ((1, 2, 3), (4, 5, 6, 7, 8, 2, 1), (9,))
CACHE_ROOMS = (
    Room("one canvas", ToyModel(mask_id=MASK, seed=3, sharp=12.0), PROMPTS, 12, 4),
    Room("causal blocks", ToyModel(mask_id=MASK, seed=3, sharp=12.0, block_causal=True), PROMPTS, 12, 4),
)
DECODERS = ("threshold:tau=0.5", "first_hitting")
"""Decoders with several positions a step, and with one."""


def cache_rooms(cache: Cache) -> tuple[Room, ...]:
    """The rooms that suit a policy."""
    return tuple(room for room in CACHE_ROOMS if room.model.block_causal or not cache.needs_blocks)


def speaks(cache: Cache) -> bool:
    """Whether the `stale` of a policy is called."""
    return not (cache.exact or cache.whole)


@dataclass(frozen=True)
class Cautious(Cache):
    """Refreshes everything in every forward, while another policy is called beside it."""

    asked: Cache

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        return refresh(after)


@dataclass(frozen=True)
class Step:
    """One forward of a run, with the canvas before and after it."""

    before: Canvas
    forward: Forward
    pred: Pred
    after: Canvas


@dataclass(frozen=True)
class Question:
    """The calls of a policy after a step: the arguments of `stale` and of `remember`."""

    after: Canvas
    before: State
    pred: Pred

    @property
    def arguments(self) -> tuple[Canvas, State, Pred]:
        return self.after, self.before, self.pred


def steps(room: Room, decoder: Decoder, cache: Cache) -> Iterator[Step]:
    """Every forward of a room's rows."""
    plan = Plan(decoder, room.windows(room.prompts), cache, max_steps=room.length * 8)
    c = laid(room, decoder, cache)
    spec = session_spec(plan, c)
    forward = room.model.session(replace(spec, attention=spec.attention or asked_of(cache).needs_attention))
    while bool(c.live.any()):
        f = prepare(plan, c)
        p = forward(f)
        after = apply(plan, c, f, p)
        yield Step(c, f, p, after)
        c = after


def asked_of(cache: Cache) -> Cache:
    return cache.asked if isinstance(cache, Cautious) else cache


def laid(room: Room, decoder: Decoder, cache: Cache) -> Canvas:
    return layout(
        Shape.of(room.model), decoder, room.prompts, length=room.length, keys=range(len(room.prompts)),
        windows=room.windows(room.prompts), cache=cache,
    )


@lru_cache(maxsize=8)  # several laws use the same run
def trodden(room: Room, spec: str, cache: Cache) -> tuple[Step, ...]:
    """The forwards of a run in which a policy decides."""
    return tuple(steps(room, get(spec), cache))


def questions(room: Room, spec: str, cache: Cache, most: int = 6) -> Iterator[Question]:
    """The calls of a policy after the first forwards of a run in which another policy decides, so that wrong answers
    have no effect; its memory is its own."""
    decoder = get(spec)
    for i, m in enumerate(islice(steps(room, decoder, Cautious(cache)), most)):
        if i == 0:
            memory = cache.init(m.before)
        after = replace(m.after, store=replace(m.after.store, stale=m.before.store.stale, memory=memory))
        q = Question(after, view(replace(m.before)), m.pred)
        yield q
        memory = cache.remember(*copied(q).arguments)


def copied(q: Question) -> Question:
    """The same call with copied tensors."""
    return mapped(torch.Tensor.clone, q)


def cached_rows(room: Room, spec: str, cache: Cache, prompts: tuple[tuple[int, ...], ...]) -> list[Row]:
    """The results of prompts under a policy."""
    return decode(
        room.model, get(spec), prompts, length=room.length, windows=room.windows(prompts), cache=cache,
        seeds=[sum(p) for p in prompts], max_steps=room.length * 8,
    )
