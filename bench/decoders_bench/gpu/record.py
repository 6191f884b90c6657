"""Recordings of how many tokens nano commits in each forward pass, for all runs that are replayed on a GPU: they are
made in advance on a CPU, and committed to the repository."""

from __future__ import annotations

from collections.abc import Iterator

from decoders import UsageError
from decoders_bench.gpu.scale import FULL
from decoders_bench.gpu.steps import every, needed
from decoders_bench.gpu.work import RECORDINGS
from decoders_bench.latency.recordings import Recordings, Wanted


def wanted() -> list[Wanted]:
    """All recordings without repetition, in the order in which they are needed."""
    return list(dict.fromkeys(found for cell in every(FULL) if (found := needed(cell, FULL))))


def missing() -> Iterator[tuple[int, int, str]]:
    """Make the missing recordings; after each, yield its number, the total and its name."""
    kept, asked = Recordings(RECORDINGS), wanted()
    for number, one in enumerate(asked, 1):
        made, why = one in kept.made, ""
        try:
            _ = kept[one]
        except UsageError as e:
            why = f": {e}"
        if not made:
            yield number, len(asked), f"{one.decoder} with {one.cache}{why}"
