"""dllm-reason: its sampler with one of its schedulers."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import torch
from dllm_reason import scheduler as package
from dllm_reason.inference.sampler import DiffusionSampler, SamplingConfig
from dllm_reason.models.base import DiffusionLM, DiffusionOutput
from dllm_reason.utils.registry import SCHEDULER_REGISTRY
from networks import masked
from serving import Decode, Job, serve

for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"{package.__name__}.{module.name}")  # importing each one registers its schedulers


class Wrapped(DiffusionLM):
    """The network in the form of the sampler's model class."""

    def __init__(self, net: Any, mask_id: int) -> None:
        super().__init__(net.config.vocab_size, net.config.max_position_embeddings, mask_id)
        self.net = net

    def forward(self, x_t: torch.Tensor, t: Any, attention_mask: Any = None) -> Any:
        return DiffusionOutput(self.net(x_t).logits, None, None)

    def compute_loss(self, x_0: Any, attention_mask: Any = None) -> Any:
        raise NotImplementedError

    def noise_input(self, x_0: Any, t: Any) -> Any:
        raise NotImplementedError


def sampler(job: Job) -> Decode:
    net, count = masked(job)
    options = dict(job["options"])
    scheduler = SCHEDULER_REGISTRY.get(options.pop("scheduler"))()
    own = DiffusionSampler(
        Wrapped(net, job["mask"]), scheduler, SamplingConfig(block_length=job["block"], show_progress=False, **options)
    )

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        count.times = 0
        canvas = torch.tensor([[*prompt, *[job["mask"]] * job["length"]]])
        out = own.sample(canvas, torch.arange(canvas.shape[1])[None] < len(prompt), job["length"])
        return out.sequences[0, len(prompt) :].tolist(), count.times

    return decode


if __name__ == "__main__":
    serve(sampler, ["dllm-reason"], sorted(SCHEDULER_REGISTRY.keys()))
