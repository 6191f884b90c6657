"""How the time of a step grows with the canvas, the batch and the vocabulary: one of the three varies, and the other
two keep their values in `BASE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from decoders_bench.common.results import markdown
from decoders_bench.step_time.measure import Timing

BASE: Mapping[str, int] = {"length": 128, "batch": 1, "vocab": 32_000}
SWEPT: Mapping[str, tuple[int, ...]] = {
    "length": (32, 128, 512, 2048, 4096),
    "batch": (1, 4, 16, 64),
    "vocab": (1000, 8000, 32_000, 126_464),
}


def shapes() -> list[dict[str, int]]:
    """The shapes that are measured, each once."""
    found = [{**BASE, axis: value} for axis, values in SWEPT.items() for value in values]
    return [shape for i, shape in enumerate(found) if shape not in found[:i]]


def swept(timings: Sequence[Timing], axis: str) -> list[tuple[int, Timing]]:
    """The values of an axis and their timings, ascending."""
    base = {name: value for name, value in BASE.items() if name != axis}
    own = [t for t in timings if all(getattr(t, name) == value for name, value in base.items())]
    return sorted(((getattr(t, axis), t) for t in own), key=lambda pair: pair[0])


def alike(timings: Sequence[Timing]) -> Timing:
    """The common settings of some timings, as the first of them. Raises `ValueError` if they differ in more than the
    three axes and the times."""
    (first, *_) = timings
    same = {replace(t, length=0, batch=0, vocab=0, step_ms=0.0, bare_max_ms=0.0) for t in timings}
    if len(same) > 1:
        raise ValueError("timings of several decoders or kinds of numbers are in one file of scaling")
    return first


def scaling_table(timings: Sequence[Timing]) -> str:
    rows = [
        [
            f"`{t.decoder}`", t.dtype, f"{t.length:,}", str(t.batch), f"{t.vocab:,}", f"{t.step_ms:.1f}",
            f"{t.bare_max_ms:.1f}",
        ]
        for t in timings
    ]
    return markdown(["decoder", "logits", "canvas", "batch", "vocabulary", "step, ms", "bare max, ms"], rows)
