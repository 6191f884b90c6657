"""Everything that determines a run of `bench versus`, and the twins that it trains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from decoders.core import UsageError

Stream = tuple[str, int]
"""The regime and the seed of the examples that several twins see, one twin of each kind."""
Kind = Literal["ar", "mdm", "block", "again", "latent"]
STACKED: tuple[Kind, ...] = ("ar", "mdm", "block", "again")
"""Autoregression; masked diffusion over the whole canvas; masked diffusion in blocks; and autoregression from other
initial weights, which shows what a difference between two seeds looks like. They have the same network, so they are
computed together."""
KINDS: tuple[Kind, ...] = (*STACKED, "latent")
"""The last one is diffusion of latents, by the recipe of nano-latent. It has a rounder and a table of latents besides
the network of the others, and is trained by itself."""
TITLES: dict[Kind, str] = {
    "ar": "autoregression", "mdm": "masked diffusion", "block": "block diffusion", "again": "autoregression again",
    "latent": "latent diffusion",
}
BLOCK = 4
"""Positions of a block of the block twin."""
TASKS = {
    "chain/easy": 1.2, "answer_first/easy": 0.8, "extract/easy": 0.5, "shuffle/easy": 0.8, "sudoku/easy": 1.2,
}
"""The relative frequencies of the tasks among the examples."""
REPETITIONS = (1, 4, 16, 64, 256)
"""The levels: how often each canary of a level is shown."""
CANARIES = 16
"""The number of canaries of a level; as many again are never shown."""


@dataclass(frozen=True)
class Twin:
    """One model of a run."""

    kind: Kind
    regime: str
    seed: int

    @property
    def objective(self) -> Kind:
        return "ar" if self.kind == "again" else self.kind

    @property
    def name(self) -> str:
        """The directory of its checkpoint: `ar`, `mdm-1`, `ar-repeat2000-1`."""
        regime = "" if self.regime == "fresh" else "-" + self.regime.replace(":", "")
        return f"{self.kind}{regime}" + (f"-{self.seed}" if self.seed else "")


@dataclass(frozen=True)
class Plan:
    """Everything that determines the weights. `examples` are drawn for each seed and step; `width`: columns of the rows
    into which they are packed; `decay`: the share of the steps in which the learning rate falls to 0."""

    steps: int = 2500
    seeds: int = 3
    regimes: tuple[str, ...] = ("fresh", "repeat:500")
    kinds: tuple[Kind, ...] = KINDS
    examples: int = 32
    width: int = 96
    hidden: int = 64
    layers: int = 3
    heads: int = 4
    inner: int = 176
    rate: float = 5e-3
    decay: float = 0.5
    warmup: int = 30
    looks: int = 8
    """The number of evaluations of loss and accuracy during training."""
    items: int = 8
    """The number of validation items of a task in each evaluation."""

    def __post_init__(self) -> None:
        """Raises `UsageError` for an invalid plan."""
        for regime in self.regimes:
            repeated(regime)
        if len(set(self.regimes)) < len(self.regimes):
            raise UsageError("a regime is given twice")

    @property
    def twins(self) -> list[Twin]:
        """The twins by regime and seed; the kind that shows the variation between two seeds is trained only in the
        first regime."""
        return self.twins_of(self.streams)

    def twins_of(self, streams: Sequence[Stream]) -> list[Twin]:
        return [Twin(kind, regime, seed) for regime, seed in streams for kind in self.kinds_in(regime)]

    def kinds_in(self, regime: str) -> tuple[Kind, ...]:
        return self.kinds if regime == self.regimes[0] else tuple(k for k in self.kinds if k in ("ar", "mdm"))

    @property
    def streams(self) -> list[Stream]:
        """The streams that have twins."""
        return [(regime, seed) for regime in self.regimes if self.kinds_in(regime) for seed in range(self.seeds)]

    def of(self, kinds: Sequence[Kind]) -> Plan:
        """The plan with some of its kinds only."""
        return replace(self, kinds=tuple(kind for kind in self.kinds if kind in kinds))


def repeated(regime: str) -> int | None:
    """The number of different examples of a regime; None if every example is drawn anew. Raises `UsageError` for an
    unknown regime."""
    if regime == "fresh":
        return None
    found = re.fullmatch(r"repeat:([1-9][0-9]{0,8})", regime)
    if not found:
        raise UsageError(f"unknown regime {regime!r}; write fresh or repeat:N")
    return int(found[1])
