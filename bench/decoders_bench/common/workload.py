"""What the benches of time have in common: the rows that are decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """What is measured."""

    model: str
    """The name of a shape, or the spec of a model."""
    device: str
    dtype: str
    batch: int
    prompt: int
    """Positions; of a model with a tokenizer 0, since its prompts are those of a task."""
    length: int
    block: int
