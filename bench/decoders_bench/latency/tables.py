"""The tables of step times, and rows on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

from decoders_bench.common.outcome import CLOCK_TEXT
from decoders_bench.common.results import markdown, percent, rows_of
from decoders_bench.latency.launches import STORE
from decoders_bench.latency.roofline import Ceilings
from decoders_bench.latency.rows import Absent, Case, Latency
from decoders_bench.latency.split import FORWARD, REGIONS

HEADER = (
    "", "cache", "batch", "step p50, ms", "p95", "full", "cached", *REGIONS, "not the model, %", "idle, %", "NFE",
    "tokens/NFE", "tokens/s", "peak, GiB", "roof, ms", "bound by", "achieved, %",
)

OWN = tuple(region for region in REGIONS if region != FORWARD)
LAUNCHES = ("", "cache", "batch", *OWN, "besides the network", FORWARD, STORE)


def load_latencies(path: Path) -> list[Latency]:
    return [latency_of(row) for row in rows_of(path)]


def latency_of(row: dict[str, Any]) -> Latency:
    ceilings = row["ceilings"] and Ceilings(**row["ceilings"])
    return Latency(**{**row, "case": Case(**row["case"]), "ceilings": ceilings})


def setting(case: Case) -> tuple[object, ...]:
    """The settings that the rows of one table have in common."""
    own = ("batch", "decoder", "cache")
    return tuple(getattr(case, f.name) for f in fields(case) if f.name not in own)


def latency_table(rows: Sequence[Latency], absent: Sequence[Absent] = ()) -> str:
    """A table for every model and canvas length, and the cases that could not be measured."""
    parts = []
    for _, group in groupby(rows, key=lambda r: setting(r.case)):
        own = list(group)
        parts += [caption(own[0]), markdown(HEADER, [line(r) for r in own])]
        if counted := [r for r in own if r.launches]:
            parts += ["Operations launched a step:", markdown(LAUNCHES, [launched(r) for r in counted])]
    if absent:
        parts.append(
            "\n".join(
                ["Not measured:", *(f"- {named(a.case, a.way)}, batch {a.case.batch}: {a.reason}" for a in absent)]
            )
        )
    return "\n\n".join(parts)


def launched(r: Latency) -> list[str]:
    n = r.launches.get
    counts = (*(n(region, 0) for region in OWN), r.launches_beside or 0, n(FORWARD, 0), n(STORE, 0))
    return [f"`{r.case.decoder}`", f"`{r.case.cache}`", str(r.case.batch), *(f"{x:.0f}" for x in counts)]


def named(case: Case, way: str) -> str:
    return f"`{case.decoder}`" + (f" with `{case.cache}`" if case.cache else "") if way == "decoders" else way


def caption(r: Latency) -> str:
    c = r.case
    size = f"{r.parameters / 1e9:.2f} G parameters" if r.parameters >= 5e6 else f"{r.parameters / 1e6:.2f} M parameters"
    layers = f", {c.layers} layers of it" if c.layers else ""
    prompt = f"prompts of {c.prompt} and canvas" if c.prompt else "canvas"
    captured = (
        "steps captured as graphs"
        if c.device.startswith("cuda")
        else "operations recorded and replayed, which stands in for graphs"
    )
    made = (", compiled" if c.compiled else "") + (f", {captured}, polled every {c.poll}" if c.graph else "")
    text = (
        f"**`{c.model}`**{layers}, {size}, {c.dtype}, {c.device}{made}: {prompt} of {c.length} in blocks of "
        f"{c.block}; {r.repeats} run(s) of each after one, {CLOCK_TEXT[c.clock]}."
    )
    if r.ceilings:
        text += (
            f" Measured ceilings: copy {r.ceilings.bandwidth / 1e9:.1f} GB/s, matrix product "
            f"{r.ceilings.flops / 1e12:.2f} TFLOP/s."
        )
    return text


def line(r: Latency) -> list[str]:
    def ms(x: float | None) -> str:
        return "" if x is None else f"{x:.2f}"

    def share(x: float | None) -> str:
        return "" if x is None else percent(x)

    peak = "" if r.peak_bytes is None else f"{r.peak_bytes / 2**30:.1f}"
    bound = r.ceilings.bound(r.moved, r.flops) if r.ceilings else ""
    return [
        f"`{r.case.decoder}`" if r.way == "decoders" else r.way, f"`{r.case.cache}`" if r.way == "decoders" else "",
        str(r.case.batch), ms(r.p50), ms(r.p95), ms(r.full), ms(r.cached), *(ms(r.split.get(name)) for name in REGIONS),
        share(r.ours), share(r.idle), f"{r.nfe:.0f}", f"{r.tokens_per_forward:.1f}", f"{r.tokens_per_second:.1f}", peak,
        ms(r.roof), bound, share(r.achieved),
    ]
