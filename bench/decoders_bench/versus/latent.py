"""The training of a twin of latents: nano-latent's recipe, with the network, the examples and the schedule of the other
twins.

What the recipe adds, the others do not have: the table of latents, the layers that take a latent and its level, and the
rounder. Its denoiser begins with the bits of the other twins of its seed where their weights have the same names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from decoders import Generator
from decoders.models.source import load_model
from decoders_bench.nano.batches import Example
from decoders_bench.nano.latents import HIGHEST, LOWEST, LatentBatch, Pair, collate, losses, losses_at
from decoders_bench.nano.tokenizer import segmenter
from decoders_bench.nano.train_latents import created, layers_of, levels_of, weights_of
from decoders_bench.versus.asks import plain
from decoders_bench.versus.checkpoints import LEVELS, write_one
from decoders_bench.versus.examples import of_item, of_step
from decoders_bench.versus.looks import items
from decoders_bench.versus.plan import TASKS, Plan, Twin
from decoders_bench.versus.train import Training, initial, network_plan, stored

LOOKED = "ddim"
"""The decoder of the evaluations during training, with one forward for each of its 32 levels."""


def begun(plan: Plan, twin: Twin) -> Pair:
    """The initial networks of a twin; the body of the denoiser is that of the other twins of its seed."""
    pair = created(network_plan(plan, twin.seed))
    shared = {name.removeprefix("model."): x for name, x in initial(plan, twin).items() if name.startswith("model.")}
    pair.denoiser.body.load_state_dict(shared)
    return pair


def noisy(examples: Sequence[Example], key: str) -> LatentBatch:
    """Examples in random order as rows of latents; `key` seeds all randomness."""
    rng = Random(key)
    return collate(rng.sample(examples, len(examples)), rng, segmenter().end)


class LatentRun(Training):
    """The twin of latents of one stream."""

    def network(self) -> tuple[torch.nn.Module, list[torch.nn.Parameter], list[torch.nn.Parameter]]:
        (self.twin,), ((self.regime, self.seed),) = self.twins, self.streams
        self.pair = begun(self.plan, self.twin).to(self.device)
        matrices = [p for layer in layers_of(self.pair) for p in layer.parameters() if p.dim() == 2]
        ids = set(map(id, matrices))
        return self.pair, matrices, [p for p in self.pair.parameters() if id(p) not in ids]

    def drawn(self, step: int) -> LatentBatch:
        return noisy(of_step(self.plan, self.regime, self.seed, step), self.key(step))

    def key(self, step: int) -> str:
        return f"versus/{self.regime}/{self.seed}/{step}/latents"

    def lost(self, b: LatentBatch) -> Tensor:
        denoiser, rounder = losses(self.pair, b, self.dice(self.key(self.step)), self.step)
        return (denoiser + rounder)[None] / self.plan.examples

    def dice(self, key: str) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(Random(key).getrandbits(62))

    def clip(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)

    def looked(self) -> dict[str, Any]:
        return {"loss": [round(self.validation(), 5)], "right": [self.right()]}

    @torch.inference_mode()
    def validation(self) -> float:
        """The loss of an example at levels that are spread evenly, so that the levels that the training takes by then
        do not matter."""
        examples = [of_item(item) for item in items(max(self.plan.items, 8))]
        b, n = noisy(examples, "versus/validation").to(self.device), len(examples)
        level = LOWEST + (HIGHEST - LOWEST) * (torch.arange(n, device=self.device) + 0.5) / n
        denoiser, rounder, _ = losses_at(self.pair, b, level, self.dice("versus/validation"))
        return float(denoiser + rounder) / n

    def right(self) -> dict[str, int]:
        """The number of right validation items of each task, from the checkpoint that the weights would make now."""
        asked = plain(items(self.plan.items))
        own = dict.fromkeys(TASKS, 0)
        with TemporaryDirectory() as name:
            where = Path(name) / "twin"
            write_one(self.plan, self.twin, self.exported(0), where)
            g = Generator(load_model(str(where), device=self.device), LOOKED)
        for task in TASKS:
            mine = [a for a in asked if f"{a.item.task}/{a.item.rung}" == task]
            found = g([a.prompt for a in mine], length=mine[0].length, batch=len(mine))
            own[task] = sum(a.right(x.text) for a, x in zip(mine, found, strict=True))
        return own

    def exported(self, number: int) -> dict[str, Tensor]:
        return stored(weights_of(self.pair)) | {LEVELS: torch.tensor(levels_of(self.pair))}
