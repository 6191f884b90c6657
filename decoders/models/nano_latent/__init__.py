"""The embedded model of latents: small enough to ship, trained on the tasks of the embedded masked model, loaded like
any checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from decoders.core import option
from decoders.models.loaded import Loaded
from decoders.models.source import Source


@dataclass(frozen=True)
class NanoLatent(Source):
    """The embedded model of latents and its rounder; it needs no download and no accelerator."""

    device: str = option("cpu", "where it runs: cpu, cuda, cuda:1")

    def load(self) -> Loaded:
        from decoders.models.checkpoint import load_checkpoint

        return load_checkpoint(Path(__file__).parent, "nano-latent", device=self.device)
