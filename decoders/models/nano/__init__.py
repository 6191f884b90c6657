"""The embedded model: small enough to ship, trained on the generated tasks of `decoders bench`, loaded like any
checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from decoders.core import option
from decoders.models.loaded import Loaded
from decoders.models.source import Source


@dataclass(frozen=True)
class Nano(Source):
    """The embedded masked diffusion model; it needs no download and no accelerator."""

    attention: Literal["bidirectional", "block"] = option(
        "bidirectional", "what each position sees; block: no later block"
    )
    device: str = option("cpu", "where it runs: cpu, cuda, cuda:1")
    quantize: Literal["int8", "int4"] | None = option(None, "the linear layers below the head in 8 or 4 bits")

    def load(self) -> Loaded:
        directory = Path(__file__).parent
        if self.device == "cpu" and self.quantize is None:
            from decoders.models.nano.lean import load_lean

            return load_lean(directory, "nano", self.attention)
        from decoders.models.checkpoint import load_checkpoint

        return load_checkpoint(directory, "nano", self.attention, self.device, quantize=self.quantize)
