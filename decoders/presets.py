"""Presets: a decoder and a cache that have one name in the literature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Two spec strings under one name. Options after the name are the decoder's; another cache can be given
    separately."""

    decoder: str
    cache: str
    summary: str
    source: str


FAST_DLLM = Preset(
    "threshold", "dual", "Parallel decoding above a confidence, with the dual cache.",
    "Wu et al. 2025, arXiv 2505.22618",
)
ENTROPYCACHE = Preset(
    "threshold", "entropycache", "Parallel decoding above a confidence, with the cache that entropy refreshes.",
    "Cheong et al. 2026, arXiv 2603.18489",
)
EULER = Preset(
    "ddim", "exact", "Euler's method on the flow of the latents, which is DDIM without fresh noise.",
    "Karras et al. 2022, arXiv 2206.00364, section 3",
)
