"""Training of nano-latent, the embedded model of latents, in the same way as nano; its rounder is trained in the same
steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import torch

from decoders_bench.nano.batches import Mode
from decoders_bench.nano.latents import LATENT, ROUNDER_LAYERS, LatentBatch, Pair, latent_batches, losses
from decoders_bench.nano.tokenizer import segmenter
from decoders_bench.nano.train import Plan, Run, deviation

MIX = {
    "chain/easy": 2.0, "chain/hard": 1.5, "answer_first/easy": 1.0, "answer_first/hard": 1.0, "extract/easy": 1.0,
    "extract/hard": 1.0, "sudoku/easy": 1.0, "sudoku/hard": 1.0, "list/easy": 3.0, "list/hard": 2.0,
    "shuffle/easy": 1.5, "shuffle/hard": 1.0, "ledger/easy": 0.8,
}
"""The relative frequencies of the tasks and rungs; ledger/hard is too long for a row."""
LEVELS = 257
"""The range of levels on which the model declares that it was trained, from noise to text."""


def recipe(plan: Plan) -> Plan:
    """The plan with the settings of nano-latent."""
    return replace(plan, stages=((0, MIX),), positions=3000, warmup=50, decay=0.5)


def created(plan: Plan) -> Pair:
    """The initial networks."""
    torch.manual_seed(plan.seed)
    pair = Pair(len(segmenter()), plan.hidden, plan.layers, plan.heads, plan.inner)
    bodies = (pair.denoiser.body, plan.layers), (pair.rounder.body, ROUNDER_LAYERS)
    with torch.no_grad():
        for body, layers in bodies:
            for name, weight in body.named_parameters():
                if weight.dim() == 2:
                    weight.normal_(std=deviation(name, plan.hidden, layers))
    return pair


def layers_of(pair: Pair) -> list[torch.nn.Module]:
    """The layers of both bodies, whose matrices Muon trains."""
    bodies: Any = pair.denoiser.body, pair.rounder.body
    return [layer for body in bodies for layer in body.layers]


@torch.no_grad()
def levels_of(pair: Pair) -> list[float]:
    """The levels of the training, from noise to text."""
    return [round(x, 5) for x in pair.warp(torch.linspace(1, 0, LEVELS, device=pair.known.device)).tolist()]


def config_of(plan: Plan, levels: Sequence[float]) -> dict[str, object]:
    """The config.json of a checkpoint that was trained on these levels."""
    tokenizer = segmenter()
    return {
        "model_type": "nano_latent", "vocab_size": len(tokenizer), "hidden_size": plan.hidden, "layers": plan.layers,
        "rounder_layers": ROUNDER_LAYERS, "heads": plan.heads, "inner": plan.inner, "latent_size": LATENT,
        "levels": list(levels), "eos_token_id": tokenizer.end,
    }


def weights_of(pair: Pair) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, by name."""
    return {name: x for name, x in pair.state_dict().items() if name != "known"}


class LatentRun(Run):
    """One worker's networks, optimisers and checkpoint."""

    model: Pair

    def network(self) -> tuple[torch.nn.Module, Iterable[torch.nn.Module]]:
        pair = created(self.plan)
        return pair.to(self.plan.device), layers_of(pair)

    @staticmethod
    def drawn(plan: Plan, step: int, ranks: Sequence[int]) -> tuple[Mode, list[Any]]:
        made: list[LatentBatch] = []
        for rank in ranks:
            own = Random(f"{plan.seed}/{rank}/{step}")
            made += latent_batches(plan.mix(step), own, plan.positions, plan.widest)
        return Mode("latent"), made

    def loss(self, b: Any) -> torch.Tensor:
        dice = torch.Generator(self.plan.device).manual_seed((self.plan.seed * 1_000_003 + self.step) * 64 + self.rank)
        denoiser, rounder = losses(self.model, b, dice, self.step)
        self.smoothed("denoiser", denoiser.detach() / len(b.tokens))
        self.smoothed("rounder", rounder.detach() / len(b.tokens))
        return denoiser + rounder

    def written(self) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
        return config_of(self.plan, levels_of(self.model)), weights_of(self.model)
