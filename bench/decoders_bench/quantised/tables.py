"""The table of quantised models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoders.files import readable
from decoders_bench.common.results import markdown, rows_of
from decoders_bench.quantised.measure import Found

HEADER = ("model", "weights", "bytes", "error of the logits", "likeliest token stays", "right answers")


def load_quantised(path: Path) -> list[Found]:
    return [Found(**row) for row in rows_of(path)]


def quantised_table(rows: Sequence[Found]) -> str:
    return markdown(HEADER, [line(r) for r in rows])


def line(r: Found) -> list[str]:
    kind = {"none": "as stored"}.get(r.method, r.method)
    if r.problem:
        return [r.model, kind, r.problem, "", "", ""]
    answers = "" if r.asked is None else f"{r.right} of {r.asked}"
    return [r.model, kind, readable(r.bytes), f"{100 * r.error:.2g} %", f"{100 * r.same:.1f} %", answers]
