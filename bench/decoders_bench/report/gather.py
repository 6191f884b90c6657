"""Several quality runs as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders import UsageError
from decoders_bench.quality.rows import NAMES, Row, Run, load

SAME = tuple(name for name in NAMES if name != "seconds")
"""What two runs may not differ in about the same item."""
OWN = ("started",)
"""What every run has of its own in its environment, so that a difference says nothing."""


@dataclass(frozen=True)
class Gathered:
    """The rows and traces of all runs, each item once."""

    runs: list[Run]
    rows: list[Row]
    traces: list[dict[str, Any]]
    clashes: list[str]
    """One sentence for everything in which the environments differ."""


def gather(paths: Sequence[Path]) -> Gathered:
    """Raises `UsageError` if a directory holds no run, if none has an outcome, if the runs disagree about an item, or
    if two decoders were asked different things under the same name."""
    runs = [load(path) for path in paths]
    rows: dict[tuple[str, int], tuple[Row, Path]] = {}
    asked: dict[Any, Row] = {}
    for run in runs:
        for row in run.rows:
            first, where = rows.setdefault(row.key, (row, run.path))
            for name in SAME if first is not row else ():
                if (a := getattr(first, name)) != (b := getattr(row, name)):
                    raise UsageError(
                        f"{where} and {run.path} disagree about item {row.item} of {row.task}/{row.rung} under "
                        f"{row.decoder} "
                        f"({name} {short(a)} and {short(b)}): report them separately"
                    )
            other = asked.setdefault(row.question, row)
            if (other.prompt, other.expected) != (row.prompt, row.expected):
                raise UsageError(
                    f"item {row.item} of {row.task}/{row.rung} is one question for {other.decoder} and another for "
                    f"{row.decoder}: "
                    "the runs were made with different versions of the task, so report them separately"
                )
    if not rows:
        raise UsageError(f"{', '.join(str(p) for p in paths)}: no item has an outcome yet")
    traces = {(t["cell"], t["item"]): t for run in reversed(runs) for t in run.traces if (t["cell"], t["item"]) in rows}
    return Gathered(runs, [row for row, _ in rows.values()], list(traces.values()), clashes(runs))


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def clashes(runs: Sequence[Run]) -> list[str]:
    """What the environments of the runs differ in."""
    out = []
    environments = [run.info["environment"] for run in runs]
    for name in dict.fromkeys(name for e in environments for name in e):
        values: dict[Any, list[str]] = {}
        for run, e in zip(runs, environments, strict=True):
            values.setdefault(e.get(name), []).append(run.path.name or str(run.path))
        if name not in OWN and len(values) > 1:
            out.append(
                f"The runs differ in {name}: "
                + "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())
                + "."
            )
    return out
