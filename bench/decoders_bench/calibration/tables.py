"""The tables of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoders_bench.calibration.measure import Bin, Calibration
from decoders_bench.common.results import markdown, percent, recorded_on, rows_of

ALL = "all"


def load(path: Path) -> list[Calibration]:
    return [Calibration(**row | {"curve": tuple(Bin(**b) for b in row["curve"])}) for row in rows_of(path)]


def between(x: float, ends: Sequence[float]) -> str:
    return f"{x:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"


def task_table(rows: Sequence[Calibration]) -> str:
    """A row for each task and open part of its answers."""
    head = [
        "task", "open", "holes", "labels", "their mass, %", "likeliest's probability, %", "right, %", "ECE",
        "ECE if calibrated", "Brier score", "of a uniform guess",
    ]
    return markdown(head, [
        [
            r.task, r.open, str(r.holes), f"{r.labels:.0f}", percent(r.mass), percent(r.probability), percent(r.right),
            between(r.ece, r.ece_interval), f"{r.ece_calibrated:.3f}", between(r.brier, r.brier_interval),
            f"{r.brier_uniform:.2f}",
        ]
        for r in rows
    ])


def curve_table(rows: Sequence[Calibration]) -> str:
    """The reliability curves over all tasks."""
    head = ["open", "holes", "likeliest's probability, %", "right, %"]
    return markdown(head, [
        [r.open, str(b.holes), f"{100 * b.probability:.1f}",
         f"{100 * b.right:.1f} ({100 * b.low:.1f} to {100 * b.high:.1f})"]
        for r in rows if r.task == ALL for b in r.curve
    ])  # fmt: skip


def section(path: Path) -> str:
    """The results in a file as text."""
    rows = load(path)
    return f"{recorded_on(path)}.\n\n{task_table(rows)}\n\n{curve_table(rows)}"


def summary(path: Path) -> str:
    """The results over all tasks."""
    return task_table([r for r in load(path) if r.task == ALL])
