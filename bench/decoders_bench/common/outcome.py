"""The results of task items under a cache, and their difference from the results under another cache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from decoders import Forward, Generator, Pred
from decoders.cli.compare import agreement
from decoders.core import Canvas
from decoders.models.columns import compact, parted
from decoders_bench.common.statistics import disagreements
from decoders_bench.tasks import GENERATED, Item

Clock = Literal["wall", "cpu"]
"""`cpu`: the time that the process was given of one thread, which is the wall time of an idle core; for a machine that
others use too."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CLOCK_TEXT = {"wall": "wall time", "cpu": "CPU time of one thread, which is the wall time of an idle core"}


@dataclass(frozen=True)
class Outcome:
    """One item, decoded and graded."""

    right: bool
    text: tuple[int, ...]
    """Generated token ids before the first stop token."""
    places: tuple[int, ...]
    """All generated tokens, including stop tokens and those after them; -1 at positions that were open when the row
    ended."""
    nfe: int
    computed: int
    """Positions that the model ran for it."""
    reused: int
    """Positions whose keys and values it read instead."""


@dataclass(frozen=True)
class Batch:
    """Items that were decoded together."""

    outcomes: list[Outcome]
    seconds: float
    run: int
    """Positions that the model ran, including padding to the fullest row and to a size that the policy declares."""


def decode_items(
    run: Generator, chosen: Sequence[Item], *, length: int, block: int | None, ignore_eos: bool = False,
    max_steps: int | None = None, clock: Clock = "wall",
) -> Batch:
    """The items in one batch."""
    asked: list[Tensor] = []
    last: list[Canvas] = []

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        asked.append(f.compute)
        last[:] = [c]

    began = CLOCKS[clock]()
    made = run(
        [x.prompt for x in chosen], length=length, block=block, ignore_eos=ignore_eos, max_steps=max_steps, watch=watch
    )
    seconds = CLOCKS[clock]() - began
    (canvas,) = last
    settled = canvas.tokens.where(~canvas.open, -1)
    outcomes = []
    for row, (item, g) in enumerate(zip(chosen, made, strict=True)):
        right = GENERATED[item.task].grade(item.problem, g.text).exact
        places = settled[row][canvas.editable[row]].tolist()
        outcomes.append(
            Outcome(right, g.tokens, tuple(places), g.nfe, g.positions_computed, int(canvas.store.reused[row]))
        )
    sizes = run.cache.sizes(canvas.tokens.shape[1] - 1, canvas.width)
    return Batch(outcomes, seconds, sum(padded(where, sizes, whole=run.cache.needs_attention) for where in asked))


def padded(asked: Tensor, sizes: tuple[int, ...], whole: bool = False) -> int:
    """Positions that the adapter runs where `asked (B, L)` holds: it pads rows to the fullest of them and that to one
    of `sizes`, in two parts where that saves enough, unless they have to stay a `whole`."""
    counts = asked.sum(-1)
    bound = None if whole or len(asked) == 1 else parted(counts.tolist())
    parts = (asked,) if bound is None else (asked[counts <= bound], asked[counts > bound])
    return sum(compact(part, 0, sizes).numel() for part in parts)


def agreeing(a: Sequence[Outcome], b: Sequence[Outcome], whole: bool = False) -> float:
    """The mean over items of the share of equal generated tokens, position by position: of the texts, or of the `whole`
    canvas."""
    pairs = zip(a, b, strict=True)
    shares = [agreement(x.places, y.places) if whole else agreement(x.text, y.text) for x, y in pairs]
    return sum(shares) / len(shares)


def hit_rate(made: Sequence[Outcome]) -> float:
    """The share of positions that were read from the store."""
    reused = sum(x.reused for x in made)
    return reused / max(reused + sum(x.computed for x in made), 1)


def lost_and_won(none: Sequence[Outcome], own: Sequence[Outcome]) -> tuple[int, int]:
    """The items that only `none` has right, and those that only the other cache has right."""
    return disagreements([x.right for x in none], [x.right for x in own])
