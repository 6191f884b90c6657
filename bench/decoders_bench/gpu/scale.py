"""How large everything is: on a GPU, and in the rehearsal on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "results" / "gpu"
"""Of earlier runs, in the tree."""


@dataclass(frozen=True)
class Scale:
    device: str
    dtype: str
    suffix: str
    """Of the names of shapes."""
    rows: tuple[int, ...]
    """Of logits, for the statistics kernel,"""
    vocab: int
    """and their columns."""
    batches: tuple[int, ...]
    """Beside one row."""
    runs: int
    """Of each of the kernel's questions."""
    steps: int
    repeats: int
    marks: str
    """Which tests, as `pytest -m` takes it,"""
    names: str
    """and `pytest -k`;"""
    shares: int
    """in so many processes."""
    reserve: float
    """Seconds that a step's cell may take: it is not begun if less is left."""
    most: int | None = None
    """Of the other strategies, only so many."""


FULL = Scale("cuda", "bfloat16", "", (4096, 32), 126_464, (8, 32), 20, 16, 3, "gpu and not slow", "", 8, 20.0)
TINY = Scale("cpu", "float32", "-tiny", (2,), 500, (2,), 1, 2, 1, "not slow", "test_device and cpu", 1, 12.0, most=3)
PROMPT, LENGTH, BLOCK = 256, 256, 32
"""In positions; of both, so that the rehearsal needs the very recordings that a GPU will need."""
