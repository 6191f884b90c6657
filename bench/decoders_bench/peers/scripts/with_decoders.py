"""This library, in turns with the others. A job has the specs `decoder` and `cache`; a job with `record` also returns
the random numbers that a uniform-noise decoder drew, so that peers can use the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from networks import diffusion_gemma, network
from serving import Decode, Job, serve
from torch import Tensor

import decoders
from decoders import Blocks, Forward, Pred, State, get, get_cache
from decoders.core import Model, asks
from decoders.core.canvas import Canvas
from decoders.models.adapter import TransformersModel
from decoders.models.diffusion_gemma import DiffusionGemmaModel
from decoders.strategies.uniform import Gemma


def model_of(job: Job) -> Model:
    if job["model"] == "nano":
        return decoders.load("nano", attention=job["attention"]).model
    return TransformersModel(network(job), mask_id=job["mask"], block_causal=job["attention"] == "block")


def masked(job: Job) -> Decode:
    model = model_of(job)
    decoder, length, windows, cache = get(job["decoder"]), job["length"], Blocks(job["block"]), get_cache(job["cache"])

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        (row,) = decoders.decode(model, decoder, [prompt], length=length, windows=windows, cache=cache, stop=False)
        return list(row.canvas[len(prompt) :]), row.nfe

    return decode


@dataclass(frozen=True)
class Recorded(Gemma):
    """A decoder that records its random numbers."""

    drawn: list[Tensor] = field(default_factory=list, compare=False)

    def step(self, s: State, p: Pred) -> State:
        self.drawn.append(p.cooled(self.temperature(s.step)).draw(s)[0])
        return super().step(s, p)


def canvases(job: Job) -> Decode:
    net, _ = diffusion_gemma(job)
    model, windows = DiffusionGemmaModel(net), Blocks(net.config.canvas_length)
    decoder, cache = get(job["decoder"]), get_cache(job["cache"])

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        (row,) = decoders.decode(
            model, decoder, [prompt], length=job["length"], windows=windows, cache=cache, stop=False
        )
        return list(row.canvas[len(prompt) :]), row.nfe

    def record(prompt: list[int], draws: Any) -> tuple[list[int], int, dict[str, list[list[int]]]]:
        recorded = Recorded(**vars(decoder))
        asks(recorded, block_causal=True)  # this takes a step, whose random numbers are recorded, too
        recorded.drawn.clear()
        shown: list[tuple[bool, Tensor]] = []

        def watch(f: Forward, p: Pred, c: Canvas) -> None:
            shown.append((bool(f.entered), f.tokens.gather(1, f.at)))

        (row,) = decoders.decode(
            model, recorded, [prompt], length=job["length"], windows=windows, cache=cache, stop=False, watch=watch
        )
        return (
            list(row.canvas[len(prompt) :]),
            row.nfe,
            {"samples": listed(recorded.drawn), "noise": listed(noises(shown))},
        )

    return record if job.get("record") else decode


def noises(shown: Sequence[tuple[bool, Tensor]]) -> Iterator[Tensor]:
    """The noise for a loop that draws new noise after every step: the canvas at each step, and an arbitrary value after
    the last step of a canvas, when the canvas contains the result."""
    afterwards = [*(entered for entered, _ in shown[1:]), True]
    for (_, tokens), entered in zip(shown, afterwards, strict=True):
        yield tokens
        if entered:
            yield torch.zeros_like(tokens)


def listed(tensors: Iterable[Tensor]) -> list[list[int]]:
    return [x.flatten().tolist() for x in tensors]


if __name__ == "__main__":
    serve(lambda job: (canvases if job["model"] == "diffusion_gemma" else masked)(job), ["dllm-decoders"])
