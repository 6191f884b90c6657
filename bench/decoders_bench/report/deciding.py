"""The items that decide between two decoders: those that one solves and the other, at equal cost, does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoders_bench.quality.matched import counting
from decoders_bench.quality.summary import Point
from decoders_bench.quality.verdicts import Against, Line

LISTED = 24
"""The number of items that the page shows for a pair."""
SAID = 5
"""The number of items that the text lists."""
Question = tuple[str, str, int, int, int]
Right = NDArray[np.float64]
Replayed = Callable[[Point, Question], bool]


@dataclass(frozen=True)
class Deciding:
    """An item on which two decoders differ."""

    question: Question
    gain: float
    """The contribution of the item to the difference, from -1 to 1: right under the first decoder minus right under the
    baseline at equal cost, as a mean over the settings on which the verdict rests. For each setting, the mean
    contribution of all items is the difference that is printed."""
    mine: Point
    base: Point
    """A setting of each decoder under which they differ on the item, if possible with a replay of both."""


@dataclass(frozen=True)
class Decision:
    """The items on which two decoders differ."""

    won: int
    lost: int
    """The numbers of items in favour of the first decoder and of the baseline; the contributions of the others are 0 or
    cancel out."""
    items: tuple[Deciding, ...]
    """The items with the largest contributions first, at most `LISTED`."""


def right(own: Sequence[Point]) -> tuple[list[Question], dict[int, Right]]:
    """The questions, which were asked under all of the points, and for each point, by its `id`, whether each answer is
    right."""
    order = sorted({r.question for r in own[0].rows}) if own else []
    found = {id(p): {r.question: float(r.right) for r in p.rows} for p in own}
    return order, {i: np.array([answers[q] for q in order]) for i, answers in found.items()}


def gain(line: Line, answers: Mapping[int, Right]) -> Right:
    """(Q,): the contribution of each item to the difference of a setting from the baseline at equal cost."""
    ends = [p for p in (line.cheaper, line.dearer) if p is not None]
    shares = [1 - line.standing.share, line.standing.share] if len(ends) == 2 else [1.0]
    there = sum(share * answers[id(p)] for p, share in zip(ends, shares, strict=True))
    return np.asarray(answers[id(line.point)] - there)


def decision(
    a: Against, questions: Sequence[Question], answers: Mapping[int, Right], replayed: Replayed = lambda p, q: False
) -> Decision:
    """The items that decide between a curve and the baseline's curve on an axis. `replayed`: whether there is a replay
    of an item under a setting."""
    kept = {id(s) for s in counting([x.standing for x in a.lines])}
    lines = [x for x in a.lines if id(x.standing) in kept]
    each = np.stack([gain(x, answers) for x in lines])  # (S, Q)
    mean = each.mean(0).round(9)

    def telling(i: int) -> tuple[float, bool]:
        return -abs(float(mean[i])), not any(replayed(x.point, questions[i]) for x in lines)

    order = sorted(map(int, np.flatnonzero(mean)), key=telling)[: 2 * LISTED]
    found = [
        Deciding(questions[i], float(mean[i]), *pair(lines, each[:, i], questions[i], i, answers, replayed))
        for i in order
    ]
    shown = sorted(found, key=lambda d: (-abs(round(d.gain, 3)), -seen(d, replayed), d.question))
    return Decision(int((mean > 0).sum()), int((mean < 0).sum()), tuple(shown[:LISTED]))


def seen(d: Deciding, replayed: Replayed) -> int:
    return replayed(d.mine, d.question) + replayed(d.base, d.question)


def pair(
    lines: Sequence[Line], gains: Right, q: Question, i: int, answers: Mapping[int, Right], replayed: Replayed
) -> tuple[Point, Point]:
    """A setting of each decoder under which the item contributes with the same sign as in the mean: preferably one with
    a replay, then the one with the largest contribution."""
    sign = 1 if gains.sum() > 0 else -1
    able = [
        (line.point, base, float(g) * sign)
        for line, g in zip(lines, gains, strict=True)
        for base in (line.cheaper, line.dearer)
        if base is not None and (answers[id(line.point)][i] - answers[id(base)][i]) * sign > 0
    ]
    mine, base, _ = max(able, key=lambda x: (replayed(x[0], q) + replayed(x[1], q), x[2]))
    return mine, base


def counted(found: Decision, mine: str, baseline: str) -> str:
    """The numbers of items in favour of each decoder; specs are in backticks."""
    if not found.items:
        return f"No item tells `{mine}` from `{baseline}` at equal cost."
    return f"Items that speak for `{mine}`: {found.won}; for `{baseline}`: {found.lost}."


def said(found: Decision, mine: str, baseline: str) -> str:
    """The deciding items in words."""
    named = "; ".join(f"{place(d.question)} for `{mine if d.gain > 0 else baseline}`" for d in found.items[:SAID])
    return counted(found, mine, baseline) + (f" The most telling: {named}." if named else "")


def place(q: Question) -> str:
    task, rung, seed, item, template = q
    return f"{task}/{rung} item {item}, wording {template}" + (f", seed {seed}" if seed else "")


def record(found: Decision) -> dict[str, Any]:
    """The deciding items for `--json`."""
    names = ("task", "rung", "seed", "item", "template")
    return {
        "won": found.won, "lost": found.lost,
        "items": [
            {
                **dict(zip(names, d.question, strict=True)), "gain": round(d.gain, 5), "mine": d.mine.decoder,
                "baseline": d.base.decoder,
            }
            for d in found.items
        ],
    }  # fmt: skip
