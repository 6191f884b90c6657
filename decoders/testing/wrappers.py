"""The law of wrappers: none of them loses anything of what it wraps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import torch

from decoders.core import EXHAUSTED, Around, Blocks, Decoder, UsageError, asks, view
from decoders.registry import entries, get, spec_of
from decoders.testing.moves import check_move
from decoders.testing.rooms import SMALL, difference, expect, rooms, run


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
            check_wrapper(wrapper)
        except Exception as e:
            raise AssertionError(f"around {spec_of(wrapper.base)}: {e}") from e


def rewrapped(decoder: Around) -> Iterator[Around]:
    """The wrapper around every registered strategy that it takes."""
    for name in (e.name for e in entries("strategies") if not e.problem):
        try:
            yield replace(decoder, base=get(name))  # type: ignore[call-arg]  # every wrapper has a base
        except UsageError:
            continue


@lru_cache(maxsize=256)
def check_wrapper(wrapper: Around) -> None:
    """Once for each, since wrappers that differ in their base alone are the same around another."""
    check_kept(wrapper.base, wrapper)
    check_small(wrapper)


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
