"""diffusers: its two pipelines for language models, with their schedulers."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from networks import diffusion_gemma, masked
from serving import Decode, Draws, Job, serve

diffusers.utils.logging.disable_progress_bar()


def refinement(job: Job) -> Decode:
    net, count = masked(job)
    pipe = diffusers.LLaDA2Pipeline(model=net, scheduler=diffusers.BlockRefinementScheduler(), tokenizer=None)
    pipe.set_progress_bar_config(disable=True)

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        count.times = 0
        out = pipe(
            input_ids=torch.tensor([prompt]), gen_length=job["length"], block_length=job["block"],
            mask_token_id=job["mask"], eos_early_stop=False, output_type="seq", **job["options"],
        )
        return out.sequences[0].tolist(), count.times

    return decode


class Given:
    """A processor that takes the prompt as token ids, without a chat template."""

    def apply_chat_template(self, messages: list[int], **_: object) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor([messages])}


def canvases(job: Job) -> Decode:
    net, count = diffusion_gemma(job)
    options = job["options"]
    scheduler = diffusers.EntropyBoundScheduler(
        entropy_bound=options["bound"], t_max=options["t_max"], t_min=options["t_min"]
    )
    pipe = diffusers.DiffusionGemmaPipeline(model=net, scheduler=scheduler, processor=None)
    pipe.processor = Given()
    pipe.set_progress_bar_config(disable=True)

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        count.times = 0
        with Draws(draws).given():
            out = pipe(
                messages=prompt, gen_length=job["length"], num_inference_steps=options["block_steps"],
                stability_threshold=options["stability"], confidence_threshold=options["confidence"],
                eos_early_stop=False, output_type="seq",
            )
        return out.sequences[0].tolist(), count.times

    return decode


if __name__ == "__main__":
    serve(lambda job: {"refinement": refinement, "canvases": canvases}[job["way"]](job), ["diffusers"])
