"""The sizes of all measurements: on a GPU, and in the rehearsal on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "results" / "gpu"
"""The recordings of earlier runs in the repository."""


@dataclass(frozen=True)
class Scale:
    device: str
    dtype: str
    suffix: str
    """The suffix of the names of shapes."""
    rows: tuple[int, ...]
    """Rows of logits for the statistics kernel."""
    vocab: int
    """Columns of these logits."""
    batches: tuple[int, ...]
    """Batch sizes in addition to one row."""
    runs: int
    """The number of runs of each statistic of the kernel."""
    steps: int
    repeats: int
    marks: str
    """The selection of tests for `pytest -m`."""
    names: str
    """The selection of tests for `pytest -k`."""
    shares: int
    """The number of parallel processes of the tests."""
    reserve: float
    """The most seconds that a cell of the step times may take: it is not begun with less time left."""
    most: int | None = None
    """The number of the other strategies that are measured."""


FULL = Scale("cuda", "bfloat16", "", (4096, 32), 126_464, (8, 32), 20, 16, 3, "gpu and not slow", "", 8, 20.0)
TINY = Scale("cpu", "float32", "-tiny", (2,), 500, (2,), 1, 2, 1, "not slow", "test_device and cpu", 1, 12.0, most=3)
PROMPT, LENGTH, BLOCK = 256, 256, 32
"""Lengths in positions, equal in both scales, so that the rehearsal needs the same recordings as a GPU run."""
