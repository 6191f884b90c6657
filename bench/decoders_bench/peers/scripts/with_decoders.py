"""This library, taking turns with the others. A job has the specs `decoder` and `cache`; one that says `record` answers with the random
numbers that a uniform-noise decoder drew, for peers to be given the same."""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from networks import diffusion_gemma
from serving import serve

import decoders
from decoders import Blocks, get, get_cache
from decoders.models.diffusion_gemma import DiffusionGemmaModel
from decoders.strategies.uniform import Gemma


def masked(job):
    model = decoders.load("nano", attention=job["attention"]).model
    decoder, cache, windows = get(job["decoder"]), get_cache(job["cache"]), Blocks(job["block"])

    def decode(prompt, draws):
        (row,) = decoders.decode(model, decoder, [prompt], length=job["length"], windows=windows, cache=cache, stop=False)
        return list(row.canvas[len(prompt) :]), row.nfe

    return decode


@dataclass(frozen=True)
class Recorded(Gemma):
    """With what it drew."""

    drawn: list = field(default_factory=list, compare=False)

    def step(self, s, p):
        self.drawn.append(p.cooled(self.temperature(s.step)).draw(s)[0])
        return super().step(s, p)


def canvases(job):
    net, _ = diffusion_gemma(job)
    model, windows = DiffusionGemmaModel(net), Blocks(net.config.canvas_length)
    decoder, cache = get(job["decoder"]), get_cache(job["cache"])

    def decode(prompt, draws):
        (row,) = decoders.decode(model, decoder, [prompt], length=job["length"], windows=windows, cache=cache, stop=False)
        return list(row.canvas[len(prompt) :]), row.nfe

    def record(prompt, draws):
        recorded, shown = Recorded(**vars(decoder)), []

        def watch(f, p, c):
            shown.append((bool(f.entered), f.tokens.gather(1, f.at)))

        (row,) = decoders.decode(
            model, recorded, [prompt], length=job["length"], windows=windows, cache=cache, stop=False, watch=watch
        )
        return list(row.canvas[len(prompt) :]), row.nfe, {"samples": listed(recorded.drawn), "noise": listed(noises(shown))}

    return record if job.get("record") else decode


def noises(shown):
    """What a loop asks for that draws new noise after every step: what stood on the canvas at each, and after a canvas's last step, where
    the result stands on it, anything."""
    for (_, tokens), (entered, _) in pairwise([*shown, (True, None)]):
        yield tokens
        if entered:
            yield torch.zeros_like(tokens)


def listed(tensors):
    return [x.flatten().tolist() for x in tensors]


if __name__ == "__main__":
    serve(lambda job: {"nano": masked, "diffusion_gemma": canvases}[job["model"]](job), ["dllm-decoders"])
