"""The table of requests and tokens per second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoders_bench.common.results import markdown, rows_of
from decoders_bench.vllm.measure import Throughput


def load_throughput(path: Path) -> list[Throughput]:
    return [Throughput(**row) for row in rows_of(path)]


def throughput_table(rows: Sequence[Throughput]) -> str:
    """Engines against concurrency."""
    body = [
        [
            r.engine, str(r.concurrency), f"{r.tokens_per_second:.0f}", f"{r.seconds:.2f}", str(r.nfe),
            f"{r.tokens_per_forward:.2f}",
        ]
        for r in rows
    ]
    return markdown(["engine", "concurrency", "tokens/s", "seconds", "forwards", "tokens per forward"], body)
