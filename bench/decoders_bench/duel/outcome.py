"""The result of a duel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from decoders import UsageError, registry
from decoders_bench.duel.refine import wanted
from decoders_bench.quality.settings import known
from decoders_bench.quality.summary import Curve, comparable, curves
from decoders_bench.quality.tables import line_table, verdict_records, verdict_table, wording_text
from decoders_bench.quality.verdicts import Against, Field, axes, found_curve, held, sentence
from decoders_bench.report.deciding import Decision, decision, record, right, said
from decoders_bench.report.gather import gather


@dataclass(frozen=True)
class Outcome:
    """A decoder compared with a baseline, on their common items."""

    mine: Curve
    baseline: Curve
    against: dict[str, Against]
    """The comparison on each axis."""
    rounds: int
    items: int
    clashes: tuple[str, ...]

    @cached_property
    def wanted(self) -> list[str]:
        """Settings of the baseline that would decide the open comparisons."""
        return wanted(self.against["forwards"])

    @cached_property
    def decision(self) -> Decision:
        """The items that decide the comparison at equal forward passes."""
        return decision(self.against["forwards"], *right([*self.mine.points, *self.baseline.points]))

    @property
    def wordings(self) -> list[str]:
        own = [self.mine, self.baseline]
        return wording_text(own, self.baseline.curve, [p for c in own for p in c.points])

    def document(self) -> dict[str, Any]:
        return {
            "command": "duel", "mine": self.mine.curve, "baseline": self.baseline.curve, "items": self.items,
            "rounds": self.rounds, "verdict": {axis: a.word for axis, a in self.against.items()},
            "verdicts": verdict_records({axis: [a] for axis, a in self.against.items()}), "wanted": self.wanted,
            "deciding": record(self.decision), "wordings": self.wordings, "clashes": list(self.clashes),
        }  # fmt: skip


def cache_of(spec: str, caches: Sequence[str]) -> str:
    return caches[0] if caches else registry.unfolded(spec)[1] or "exact"


def check(mine: str, baseline: str, caches: Sequence[str]) -> None:
    """Raises `UsageError` if both names are the same decoder, and for several caches."""
    if len(caches) > 1:
        raise UsageError("a duel has one cache; give one -c")
    if known(mine) == known(baseline) and cache_of(mine, caches) == cache_of(baseline, caches):
        raise UsageError(f"{mine} and {baseline} are one decoder")


def outcome(runs: Sequence[Path], mine: str, baseline: str, caches: Sequence[str]) -> Outcome:
    """The result of some runs. Raises `UsageError` if both decoders are on one curve, or have no common items."""
    check(mine, baseline, caches)
    gathered = gather(runs)
    own, whole = comparable(gathered.rows)
    same = curves([p for p, ok in zip(own, whole, strict=True) if ok])
    first, second = (found_curve(same, spec, cache_of(spec, caches)) for spec in (mine, baseline))
    if first is second:
        raise UsageError(f"{mine} is a setting of {baseline}; a decoder is not compared with itself")
    field = Field.of(same)
    found = {axis: held([(first, second)], axis, field)[0] for axis in axes([*first.points, *second.points])}
    items = second.points[0].summary.n
    return Outcome(first, second, found, len(gathered.runs), items, tuple(gathered.clashes))


def text(found: Outcome) -> str:
    """The verdict, and the comparisons on which it rests."""
    own = [*found.mine.points, *found.baseline.points]
    parts = [
        sentence([found.against["forwards"]], found.baseline.curve),
        said(found.decision, found.mine.curve, found.baseline.curve),
        verdict_table({axis: [a] for axis, a in found.against.items()}, own),
        f"Its settings against `{found.baseline.curve}` at as many forwards, {found.items} items each (the intervals "
        "hold all at once):",
        line_table([found.against["forwards"]], own),
    ]
    if found.wanted:
        parts.append(f"What is open would be decided by {', '.join(f'`{x}`' for x in found.wanted)}.")
    return "\n\n".join([*parts, *found.wordings, *found.clashes])
