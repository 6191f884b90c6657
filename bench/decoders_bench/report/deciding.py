"""Which items decide between two decoders: those that one has right and the other, at equal cost, has not."""

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
"""How many items the page shows of a pair."""
SAID = 5
"""How many the text names."""
Question = tuple[str, str, int, int, int]
Right = NDArray[np.float64]
Replayed = Callable[[Point, Question], bool]


@dataclass(frozen=True)
class Deciding:
    """An item on which two decoders differ."""

    question: Question
    gain: float
    """What it adds to the difference, from -1 to 1: right under the first less right under the baseline at equal cost,
    in the mean over the settings that the verdict rests on. The mean of this over all items of such a setting is the
    difference that is printed."""
    mine: Point
    base: Point
    """A setting of each under which they differ on it, with a replay of both if there is one."""


@dataclass(frozen=True)
class Decision:
    """The items on which two decoders differ."""

    won: int
    lost: int
    """Items that speak for the first and for the baseline; the others are the same under both, or add up to nothing."""
    items: tuple[Deciding, ...]
    """The most telling first, at most `LISTED`."""


def right(own: Sequence[Point]) -> tuple[list[Question], dict[int, Right]]:
    """The questions, which all of the points were asked; and which of them each point, by its `id`, has right."""
    order = sorted({r.question for r in own[0].rows}) if own else []
    found = {id(p): {r.question: float(r.right) for r in p.rows} for p in own}
    return order, {i: np.array([answers[q] for q in order]) for i, answers in found.items()}


def gain(line: Line, answers: Mapping[int, Right]) -> Right:
    """(Q,): what each item adds to the difference of a setting from the baseline at equal cost."""
    ends = [p for p in (line.cheaper, line.dearer) if p is not None]
    shares = [1 - line.standing.share, line.standing.share] if len(ends) == 2 else [1.0]
    there = sum(share * answers[id(p)] for p, share in zip(ends, shares, strict=True))
    return np.asarray(answers[id(line.point)] - there)


def decision(
    a: Against, questions: Sequence[Question], answers: Mapping[int, Right], replayed: Replayed = lambda p, q: False
) -> Decision:
    """What decides between a curve and the baseline's along an axis. `replayed`: whether there is a replay of an item
    under a setting."""
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
    """Settings of the two under which the item speaks as it does in the mean: those with replays, then those of the
    line on which it counts most."""
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
    """How many items speak for each; specs stand between backticks."""
    if not found.items:
        return f"No item tells `{mine}` from `{baseline}` at equal cost."
    return f"Items that speak for `{mine}`: {found.won}; for `{baseline}`: {found.lost}."


def said(found: Decision, mine: str, baseline: str) -> str:
    """The items in words."""
    named = "; ".join(f"{place(d.question)} for `{mine if d.gain > 0 else baseline}`" for d in found.items[:SAID])
    return counted(found, mine, baseline) + (f" The most telling: {named}." if named else "")


def place(q: Question) -> str:
    task, rung, seed, item, template = q
    return f"{task}/{rung} item {item}, wording {template}" + (f", seed {seed}" if seed else "")


def record(found: Decision) -> dict[str, Any]:
    """For `--json`."""
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
