"""dllm-reason: its sampler with one of its schedulers."""

import importlib
import pkgutil

import torch
from dllm_reason import scheduler as package
from dllm_reason.inference.sampler import DiffusionSampler, SamplingConfig
from dllm_reason.models.base import DiffusionLM, DiffusionOutput
from dllm_reason.utils.registry import SCHEDULER_REGISTRY
from networks import masked
from serving import serve

for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"{package.__name__}.{module.name}")  # each enters its own into the registry


class Wrapped(DiffusionLM):
    """What its sampler calls a model."""

    def __init__(self, net, mask_id):
        super().__init__(net.config.vocab_size, net.config.max_position_embeddings, mask_id)
        self.net = net

    def forward(self, x_t, t, attention_mask=None):
        return DiffusionOutput(self.net(x_t).logits, None, None)

    def compute_loss(self, x_0, attention_mask=None):
        raise NotImplementedError

    def noise_input(self, x_0, t):
        raise NotImplementedError


def sampler(job):
    net, count = masked(job)
    options = dict(job["options"])
    scheduler = SCHEDULER_REGISTRY.get(options.pop("scheduler"))()
    own = DiffusionSampler(Wrapped(net, job["mask"]), scheduler, SamplingConfig(block_length=job["block"], show_progress=False, **options))

    def decode(prompt, draws):
        count.times = 0
        canvas = torch.tensor([[*prompt, *[job["mask"]] * job["length"]]])
        out = own.sample(canvas, torch.arange(canvas.shape[1])[None] < len(prompt), job["length"])
        return out.sequences[0, len(prompt) :].tolist(), count.times

    return decode


if __name__ == "__main__":
    serve(sampler, ["dllm-reason"], sorted(SCHEDULER_REGISTRY.keys()))
