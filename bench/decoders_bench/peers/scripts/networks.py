"""The networks for the peers, read from a directory with the classes of transformers."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from serving import Counted, Job
from torch import Tensor


def network(job: Job) -> Any:
    """The network in the job's directory, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(job["path"], dtype=torch.float32).eval()


def masked(job: Job) -> tuple[Any, Counted]:
    """The network of a masked diffusion model in a form that every peer can call: it accepts `(input_ids,
    attention_mask, position_ids)`, and each position attends to all positions, or to all up to the end of its block.
    The masks of peers are for padding only; there is none. With full attention no mask is passed, which is the fastest
    path."""
    net = network(job)
    plain = net.forward
    if job["attention"] != "block":
        for module in net.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False

    @cache
    def sees(n: int) -> Tensor | None:
        if job["attention"] != "block":
            return None
        block = torch.arange(n) // job["block"]
        hidden = torch.zeros(n, n).masked_fill(block[None] > block[:, None], torch.finfo(torch.float32).min)
        return hidden[None, None]

    def forward(
        input_ids: Tensor, attention_mask: object = None, position_ids: Tensor | None = None, **_: object
    ) -> Any:
        return plain(
            input_ids=input_ids, attention_mask=sees(input_ids.shape[1]), position_ids=position_ids, use_cache=False
        )

    return net, Counted(net, forward)


def diffusion_gemma(job: Job) -> tuple[Any, Counted]:
    from transformers import DiffusionGemmaForBlockDiffusion

    net = DiffusionGemmaForBlockDiffusion.from_pretrained(job["path"], dtype=torch.float32).eval()
    return net, Counted(net)
