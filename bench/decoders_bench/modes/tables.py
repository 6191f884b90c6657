"""The tables of `decoders bench modes`, with sentences about them that follow from the numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown, percent, rows_of
from decoders_bench.common.statistics import difference, disagreements, mcnemar, wilson
from decoders_bench.modes.measure import Decoded, Trial
from decoders_bench.quality.matched import BETTER, EVEN, OUTSIDE, WIDE, WORSE, Sweep, Word, sample, verdicts
from decoders_bench.quality.rows import grouped

T = TypeVar("T")
SCRATCHPAD = ("chain", "hard")
"""The task in which the reasoning is written before the answer."""


def load_modes(path: Path) -> list[Decoded]:
    return [Decoded(**{**row, "trial": Trial(**row["trial"])}) for row in rows_of(path)]


def mean(xs: Sequence[float]) -> float:
    return sum(xs) / len(xs)


def size(block: int | None) -> str:
    return "full" if block is None else str(block)


def mode_tables(rows: Sequence[Decoded]) -> str:
    """One table per block size: a row per decoder, a column per task and rung."""
    parts = []
    for block in dict.fromkeys(r.trial.block for r in rows):
        own = [r for r in rows if r.trial.block == block]
        places = list(dict.fromkeys((r.trial.task, r.trial.rung) for r in own))
        found = {(r.trial.decoder, r.trial.task, r.trial.rung): r for r in own}
        decoders = dict.fromkeys(r.trial.decoder for r in own)
        body = [[marked(d, "`"), *(cell(found.get((d, *place))) for place in places)] for d in decoders]
        header = ["decoder", *(f"{task}/{rung} (n={own[0].trial.n})" for task, rung in places)]
        parts.append(f"Blocks of {block}:" if block else "One window, bidirectional:")
        parts.append(markdown(header, body))
    return "\n\n".join(parts)


def cell(r: Decoded | None) -> str:
    if r is None:
        return ""
    low, high = wilson(sum(r.right), len(r.right))
    nfe = mean(r.nfe)
    return f"**{percent(mean(r.right))}** ({percent(low)}-{percent(high)})<br>{nfe:.1f} / {mean(r.tokens) / nfe:.1f}"


def paired(a: Decoded, b: Decoded) -> str:
    """The comparison of `b` with `a` on the same items: the difference in accuracy with its 95 % interval, McNemar's
    exact p, and the ratio of forward passes."""
    lost, won = disagreements(a.right, b.right)
    n = len(a.right)
    low, high = difference(lost, won, n)
    ratio = mean(b.nfe) / mean(a.nfe)
    return (
        f"{100 * (won - lost) / n:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}), p={mcnemar(lost, won):.2f}; "
        f"{ratio:.2f}x the forwards"
    )


Pick = Callable[[Sequence[Decoded]], Decoded | None]


def crossed(rows: Sequence[Decoded], pick: Pick) -> Decoded | None:
    """The choice of `pick` among these rows. For each half of the items it is made on the other half, so that no result
    influences the choice of its opponent; None if there is no choice for one half."""
    every = {r.trial: r for r in rows}
    taken = [pick([half(r, 1 - i) for r in rows]) for i in (0, 1)]
    own = [every[t.trial] for t in taken if t]
    if len(own) < 2:
        return None
    a, b = own
    name = " or ".join(dict.fromkeys(r.trial.decoder for r in own))
    return replace(
        a, trial=replace(a.trial, decoder=name), right=woven(a.right, b.right), nfe=woven(a.nfe, b.nfe),
        tokens=woven(a.tokens, b.tokens),
    )


def woven(a: Sequence[T], b: Sequence[T]) -> list[T]:
    """`a` and `b` interleaved: the first, third and so on of `a`, and the others of `b`."""
    return [(a, b)[i % 2][i] for i in range(len(a))]


def half(r: Decoded, i: int) -> Decoded:
    """Every second item, from item `i` on; if there is only one item, that one."""
    part = slice(i if len(r.right) > i else 0, None, 2)
    return replace(r, right=r.right[part], nfe=r.nfe[part], tokens=r.tokens[part])


def is_threshold(r: Decoded) -> bool:
    return r.trial.decoder.startswith("threshold")


def quickest(rows: Sequence[Decoded]) -> Decoded | None:
    """Among the thresholds that are within one answer of the most accurate one, the one with the fewest forward
    passes."""
    own = [r for r in rows if is_threshold(r)]
    most = max((sum(r.right) for r in own), default=0)
    return min((r for r in own if sum(r.right) >= most - 1), key=lambda r: mean(r.nfe), default=None)


def best_threshold(rows: Sequence[Decoded]) -> Decoded | None:
    """The `quickest`, chosen on the half of the items on which it is not compared."""
    return crossed(rows, quickest)


def mode_pairs(rows: Sequence[Decoded]) -> str:
    """On the scratchpad task, every decoder compared with the best threshold and with autoregression, item by item; and
    for those that verify, the number of positions that a verification decides."""
    body = []
    for block in dict.fromkeys(r.trial.block for r in rows):
        own = [r for r in rows if r.trial.block == block and (r.trial.task, r.trial.rung) == SCRATCHPAD]
        alone, best = next((r for r in own if r.trial.decoder == "left_to_right"), None), best_threshold(own)
        if alone is None or best is None:
            continue
        for r in own:
            if r == alone or is_threshold(r):
                continue
            each = f"{r.accepted / r.verified:.1f}" if r.verified else ""
            body.append([size(block), f"`{r.trial.decoder}`", paired(best, r), paired(alone, r), each])
        body.append([size(block), f"`{best.trial.decoder}`, the best threshold", "", paired(alone, best), ""])
    return markdown(
        ["block", "decoder", "against the best threshold", "against `left_to_right`", "decided per verification"], body
    )


WORDS = (BETTER, WORSE, EVEN, WIDE, OUTSIDE)


def mode_verdicts(rows: Sequence[Decoded]) -> str:
    """The tasks on which each of the other decoders is better than the thresholds at equal forward passes, and those on
    which it is not, by the test of all verdicts (`quality.matched`): on each task, all decoders of a block size hold at
    once."""
    where: dict[tuple[int | None, str], dict[Word, list[str]]] = {}
    for (block, task, rung), own in grouped(rows, lambda r: (r.trial.block, r.trial.task, r.trial.rung)).items():
        thresholds, others = [r for r in own if is_threshold(r)], [r for r in own if not is_threshold(r)]
        if not thresholds:
            continue
        base, over = sweep(thresholds), sample([rung] * len(own[0].right))
        for r, found in zip(others, verdicts([(sweep([r]), base) for r in others], over), strict=True):
            words = where.setdefault((block, r.trial.decoder), {word: [] for word in WORDS})
            words[found.word].append(f"{task}/{rung}")
    body = [
        [size(block), f"`{decoder}`", *(", ".join(words[w]) for w in WORDS)]
        for (block, decoder), words in where.items()
    ]
    return markdown(["block", "decoder", *WORDS], body)


def sweep(rows: Sequence[Decoded]) -> Sweep:
    return Sweep(np.array([r.right for r in rows], float), np.array([r.nfe for r in rows], float))


def as_right(rows: Sequence[Decoded]) -> Decoded | None:
    """Among the self-speculations that are as accurate as the best threshold, the one with the fewest forward
    passes."""
    best = quickest(rows)
    drafts = [r for r in rows if best and r.verified and sum(r.right) >= sum(best.right)]
    return min(drafts, key=lambda r: mean(r.nfe), default=None)


def mode_reading(rows: Sequence[Decoded]) -> str:
    """The aims, and whether they were reached."""
    own = [r for r in rows if (r.trial.task, r.trial.rung) == SCRATCHPAD]
    lines = []
    for block in dict.fromkeys(r.trial.block for r in own):
        here = [r for r in own if r.trial.block == block]
        best, alone = best_threshold(here), next((r for r in here if r.trial.decoder == "left_to_right"), None)
        if best is None or alone is None:
            continue
        fewest = crossed(here, as_right)
        reached = fewest is not None and mean(best.nfe) / mean(fewest.nfe) >= 1.3
        none = "on one half of the items no self-speculation has as many right answers, so none is chosen"
        said = none if fewest is None else (
            f"of the self-speculations with the same accuracy, `{fewest.trial.decoder}` takes the fewest, "
            f"{mean(fewest.nfe):.1f}, which is {mean(fewest.nfe) / mean(best.nfe):.2f} times as many, and is right on "
            f"{percent(mean(fewest.right))} % where the threshold is right on {percent(mean(best.right))} %"
        )
        lines.append(
            f"- Block {size(block)}: the best threshold is `{best.trial.decoder}` with {mean(best.nfe):.1f} forwards; "
            f"{said}. The aim, 1.3 times fewer forwards, is {'reached' if reached else 'not reached'}."
        )
        for r in (r for r in here if r.trial.decoder.startswith(("hybrid", "after_reasoning"))):
            lost, won = disagreements(alone.right, r.right)
            low, _ = difference(lost, won, len(r.right))
            twice = mean(alone.nfe) / mean(r.nfe)
            sure = low >= -0.01
            lines.append(
                f"- Block {size(block)}, `{r.trial.decoder}`: {twice:.2f} times fewer forwards than autoregression, "
                f"and its accuracy is {'' if sure else 'not '}shown to be within 1 point. The aim, twice as few "
                f"forwards at that accuracy, is {'reached' if sure and twice >= 2 else 'not reached'}."
            )
    return "\n".join(lines)
