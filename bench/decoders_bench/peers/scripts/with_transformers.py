"""transformers: `generate` of DiffusionGemma."""

from __future__ import annotations

from typing import Any

import torch
from networks import diffusion_gemma
from serving import Decode, Draws, Job, serve
from transformers.models.diffusion_gemma import generation_diffusion_gemma as generation


def canvases(job: Job) -> Decode:
    net, count = diffusion_gemma(job)
    options = job["options"]
    config = generation.DiffusionGemmaGenerationConfig(
        max_denoising_steps=options["block_steps"], t_min=options["t_min"], t_max=options["t_max"],
        stability_threshold=options["stability"], confidence_threshold=options["confidence"],
        sampler_config=generation.EntropyBoundSamplerConfig(entropy_bound=options["bound"]),
        max_new_tokens=job["length"], disable_compile=True,
    )

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        count.times = 0
        with Draws(draws).given():
            out = net.generate(torch.tensor([prompt]), generation_config=config)
        return out.sequences[0, len(prompt) :].tolist(), count.times

    return decode


if __name__ == "__main__":
    serve(canvases, [])
