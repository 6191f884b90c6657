"""The tables of the exactness of samples, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown, rows_of
from decoders_bench.exactness.measure import DEVIATIONS, Found, Skipped, Trial, Truth

HEADER = ("decoder", "forwards", "total variation", "deviations above the floor", "exact", "declares exact")


def load_exactness(path: Path) -> list[Found]:
    return [Found(**{**row, "trial": trial_of(row["trial"])}) for row in rows_of(path)]


def trial_of(row: dict[str, Any]) -> Trial:
    return Trial(**{**row, "truth": Truth(**row["truth"])})


def exactness_table(rows: Sequence[Found], skipped: Sequence[Skipped] = ()) -> str:
    """A table for every oracle, from few forward passes to many; the decoders that are exact on all of them; and those
    that could not be measured."""
    parts = []
    for _, group in groupby(rows, key=lambda r: (r.trial.truth, r.trial.samples)):
        own = sorted(group, key=lambda r: (r.nfe, r.distance))
        parts += [caption(own[0]), markdown(HEADER, [line(r) for r in own])]
    parts.append(reading(rows))
    if skipped:
        parts.append("\n".join(["Not measured:", *(f"- `{s.decoder}`: {s.reason}" for s in skipped)]))
    return "\n\n".join(parts)


def caption(r: Found) -> str:
    return (
        f"**{r.trial.truth}**: {r.trial.samples} samples; the error of as many perfect samples is {r.floor:.3f} ± "
        f"{r.deviation:.3f}. A decoder counts as exact if its error is less than {DEVIATIONS:g} standard deviations "
        f"above that; a bias much below {DEVIATIONS * r.deviation:.3f} cannot be detected."
    )


def line(r: Found) -> list[str]:
    return [
        marked(r.trial.decoder, "`"), f"{r.nfe:.2f}", f"{r.distance:.3f}", f"{r.excess:+.1f}",
        "**yes**" if r.exact else "no", "in the limit" if r.declared else "",
    ]


def reading(rows: Sequence[Found]) -> str:
    """The decoders that cannot be distinguished from perfect samples on any oracle, with their forward passes on each,
    the fewest first."""
    found: dict[str, list[Found]] = {}
    for r in rows:
        found.setdefault(r.trial.decoder, []).append(r)
    exact = [own for own in found.values() if all(r.exact for r in own)]
    exact.sort(key=lambda own: [r.nfe for r in own])
    named = ", ".join(f"`{own[0].trial.decoder}` ({', '.join(f'{r.nfe:.2f}' for r in own)})" for own in exact)
    return f"Exact on every oracle, with the forwards on each: {named or 'none'}."
