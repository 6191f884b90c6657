"""The tables of docs/gpu.md from the results of GPUs; without results, they say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decoders_bench.common.results import markdown, percent
from decoders_bench.latency.rows import Latency
from decoders_bench.latency.tables import latency_of

NOTHING = "Nothing has been measured on a GPU yet."
STEPS = ("one", "many", "others")
SHOWN = (
    ("plain loop", "", False),
    ("threshold:tau=0.9", "none", True),
    ("threshold:tau=0.9", "dual", True),
    ("autoregression, captured", "", False),
)
"""The rows of the first table of docs/gpu.md: the decoder, its cache, and whether graphs are used."""


def cards(folder: Path) -> list[dict[str, Any]]:
    """The results of every card, as written by `decoders_bench.gpu.ledger`, without those of rehearsals."""
    found = [
        json.loads(p.read_text())
        for p in sorted(folder.glob("*.json"))
        if p.name not in ("recordings.json", "cpu.json")
    ]
    return [x for x in found if x["rows"]]


def page(folder: Path) -> str:
    """The whole generated text, card by card."""
    return "\n\n".join(part for found in cards(folder) for part in sections(found)) or f"**{NOTHING}**"


def summary(folder: Path) -> str:
    """A few cells of each card, one row per cell."""
    parts = []
    for found in cards(folder):
        steps = [r for r in latencies(found["rows"], "one") if r.case.model == "llada-8b"]
        chosen = [
            r
            for who, cache, graph in SHOWN
            for r in steps
            if (name(r), r.case.cache, r.case.graph, r.case.fused) == (who, cache, graph, False)
        ]
        body = [[who(r), f"{r.p50:.2f}", share(r.beside), f"{r.tokens_per_second:.0f}"] for r in chosen]
        header = ["LLaDA-8B's shape, batch 1", "ms a step", "outside the network, %", "tokens/s at nano's commits"]
        parts.append(f"{found['card']}: tests on it: {tests(found['rows'])}.\n\n{markdown(header, body)}")
    return "\n\n".join(parts) or NOTHING


def sections(found: dict[str, Any]) -> Iterator[str]:
    rows = found["rows"]
    yield f"### {found['card']}"
    yield f"{found['hardware']}.{ceilings(rows)} Tests on it: {tests(rows)}."
    if table := kernel_table(rows):
        yield table
    steps = [r for part in STEPS for r in latencies(rows, part)]
    if steps:
        yield markdown(HEADER, [line(r) for r in steps])
    if failed := found["failed"]:
        yield "\n".join(["Not measured:", *(f"- `{key}`: {why['why']}" for key, why in failed.items())])


def ceilings(rows: dict[str, Any]) -> str:
    row = rows.get("card/ceilings")
    return "" if row is None else (
        f" A copy moves {row['bandwidth'] / 1e9:.0f} GB/s, read and written; a matrix product in {row['dtype']} does "
        f"{row['flops'] / 1e12:.0f} TFLOP/s, of random numbers."
    )  # fmt: skip


def tests(rows: dict[str, Any]) -> str:
    done = rows.get("checks/pytest")
    if done:
        return f"all {done['passed']} passed"
    passed = len(rows.get("checks/passed", {"ids": ()})["ids"])
    return f"{passed} passed, others did not" if passed else "not run"


def kernel_table(rows: dict[str, Any]) -> str:
    """One line per size, one column per statistic: microseconds, and the speed relative to a copy, in percent."""
    found = {tuple(key.split("/")[1:]): row for key, row in rows.items() if key.startswith("kernel/")}
    sizes, asked = list(dict.fromkeys((k[0], k[1]) for k in found)), list(dict.fromkeys(k[2] for k in found))

    def cell(size: tuple[str, ...], what: str) -> str:
        row, copy = found.get((*size, what)), found.get((*size, "copy"))
        if row is None:
            return ""
        spent = 1e3 * (row["captured"] or row["launched"])
        return f"{spent:.1f}" + (
            f" ({percent(row['gigabytes_per_second'] / copy['gigabytes_per_second'])} %)" if copy else ""
        )

    if not found:
        return ""
    header = ["logits, µs (bytes a second as a share of a copy's)", *asked]
    return markdown(header, [[" ".join(size), *(cell(size, what) for what in asked)] for size in sizes])


HEADER = (
    "shape",
    "",
    "cache",
    "batch",
    "steps",
    "p50, ms",
    "full",
    "cached",
    "network",
    "outside, %",
    "full",
    "cached",
    "idle, %",
    "tokens/s",
    "peak, GiB",
    "of the roof, %",
)


def latencies(rows: dict[str, Any], part: str) -> list[Latency]:
    return [latency_of(row) for key, row in rows.items() if key.startswith(f"{part}/")]


def name(r: Latency) -> str:
    return r.case.decoder if r.way == "decoders" else r.way


def who(r: Latency) -> str:
    return f"`{name(r)}`" + (f", `{r.case.cache}`" if r.case.cache else "") + f", {how(r)}" * r.case.graph


def how(r: Latency) -> str:
    """How the steps are launched."""
    return "fused graph" if r.case.fused else "graph" if r.case.graph or "captured" in r.way else "loop"


def share(x: float | None) -> str:
    return "" if x is None else f"{100 * x:.1f}"


def line(r: Latency) -> list[str]:
    def ms(x: float | None) -> str:
        return "" if x is None else f"{x:.2f}"

    ours = r.way == "decoders"

    beside = (r.beside, r.beside_full, r.beside_cached) if r.case.graph else (r.ours, None, None)
    peak = "" if r.peak_bytes is None else f"{r.peak_bytes / 2**30:.1f}"
    return [
        r.case.model,
        f"`{name(r)}`" if ours else name(r),
        f"`{r.case.cache}`" if ours else "",
        str(r.case.batch),
        how(r),
        ms(r.p50),
        ms(r.full),
        ms(r.cached),
        ms(r.network),
        *map(share, beside),
        share(r.idle),
        f"{r.tokens_per_second:.0f}",
        peak,
        share(r.achieved),
    ]
