"""Merging several quality runs into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders import UsageError
from decoders_bench.quality.rows import MEASURED, NAMES, Row, Run, Setting, load
from decoders_bench.quality.settings import unified
from decoders_bench.quality.verdicts import usual

SAME = tuple(name for name in NAMES if name not in (*MEASURED, "cell"))
"""The fields that have to be equal in all outcomes of the same item."""
OWN = ("started",)
"""The fields of the environment that differ between any two runs, so that a difference is not reported."""


@dataclass(frozen=True)
class Gathered:
    """The rows and traces of all runs, each item once."""

    runs: list[Run]
    rows: list[Row]
    traces: list[dict[str, Any]]
    clashes: list[str]
    """One sentence for each difference between the environments."""

    @property
    def baseline(self) -> str:
        """The default baseline: that of the first run or, if it names none, that of `bench quality`."""
        info = self.runs[0].info
        return str(info.get("baseline") or usual(info["grid"]["decoders"] or [self.rows[0].curve]))


def gather(paths: Sequence[Path]) -> Gathered:
    """Merge runs. Raises `UsageError` if a directory contains no run, if no run has an outcome, if the runs disagree
    about an item, or if two decoders were asked different things under the same name. Equal settings are merged even if
    they are written differently (`quality.settings`). A directory of runs, such as `bench duel` writes, stands for all
    of its runs."""
    runs = [load(path) for path in spread_out(paths)]
    origin = {(row.cell, row.item): run.path for run in reversed(runs) for row in run.rows}
    rows: dict[tuple[Setting, Any], Row] = {}
    asked: dict[Any, Row] = {}
    for row in unified(row for run in runs for row in run.rows):
        first = rows.setdefault((row.setting, row.question), row)
        for name in SAME if first is not row else ():
            if (a := getattr(first, name)) != (b := getattr(row, name)):
                raise UsageError(
                    f"{origin[first.key]} and {origin[row.key]} disagree about item {row.item} of "
                    f"{row.task}/{row.rung} under {row.decoder} "
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
    there = {row.key for row in rows.values()}
    traced = [t for run in reversed(runs) for t in run.traces]
    traces = {(t["cell"], t["item"]): t for t in traced if (t["cell"], t["item"]) in there}
    return Gathered(runs, list(rows.values()), list(traces.values()), clashes(runs))


def spread_out(paths: Sequence[Path]) -> list[Path]:
    """The runs among the directories, and the runs inside the directories that are not runs themselves."""
    out = []
    for path in paths:
        inner = [] if (path / "run.json").exists() else sorted(p.parent for p in path.glob("*/run.json"))
        out += inner or [path]
    return out


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def clashes(runs: Sequence[Run]) -> list[str]:
    """The differences between the environments of the runs."""
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
