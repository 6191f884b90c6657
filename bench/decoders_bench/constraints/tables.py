"""The tables of the measurements of constraints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from decoders_bench.common.results import markdown, measured_with
from decoders_bench.constraints.measure import Overhead, Validity


def validity_table(rows: Sequence[Validity]) -> str:
    shown = [
        [f"`{r.decoder}`", f"{r.valid} of {r.schemas}", f"{r.states:.0f}", f"{r.tokens:.1f}", f"{r.forwards:.1f}"]
        for r in rows
    ]
    return markdown(["decoder", "valid texts", "states", "tokens", "NFE"], shown)


def overhead_table(rows: Sequence[Overhead]) -> str:
    shown = [
        [
            f"`{r.decoder}`", str(r.schemas), f"{r.states:.0f}", f"{r.free_ms:.1f}", f"{r.constrained_ms:.1f}",
            f"{r.ratio:.1f}",
        ] for r in rows
    ]
    return markdown(["decoder", "schemas", "states", "ms a forward, free", "constrained", "ratio"], shown)


def constraints_section(path: Path) -> str:
    found = json.loads(path.read_text())
    validity, overhead = [Validity(**row) for row in found["validity"]], [Overhead(**row) for row in found["overhead"]]
    return f"{measured_with(found)}\n\n{validity_table(validity)}\n\n{overhead_table(overhead)}"
