"""Diffusion-LM (Li et al. 2022, 2205.14217) and DiffuSeq (Gong et al. 2022, 2210.08933): the clean latent predicted by
a BERT encoder, of latents that are put in and out by small networks, under a discrete schedule.

Names of weights and of settings are those of their checkpoints (XiangLi1999/Diffusion-LM 759889d, Shark-NLP/DiffuSeq
f78945d); written from their formulas. Both take the sizes of bert-base for the encoder, whose heads have 64 numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from decoders.core import Space, UsageError, alpha, sigma
from decoders.models.latent.layers import step_of, waves
from decoders.models.latent.model import Said
from decoders.stats import betas

HEAD = 64
EPS = 1e-12
TIMES = 1000  # what the steps of training are scaled to


def pair(sizes: tuple[int, int, int], between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(*sizes[:2]), between, nn.Linear(*sizes[1:]))


class BertDiffusion(nn.Module):
    """The network of the weights of a checkpoint and of its training_args.json. Raises `UsageError` for what is not
    known of it."""

    def __init__(self, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        super().__init__()
        refuse_others(weights, config)
        self.levels = betas.levels(config["noise_schedule"], config["diffusion_steps"])
        self.scale = TIMES / len(self.levels) if config.get("rescale_timesteps") else 1.0
        self.predicts_noise = not config.get("predict_xstart")
        places, width = weights["position_embeddings.weight"].shape
        vocab, latent = weights["word_embedding.weight"].shape
        layers = {name.split(".")[2] for name in weights if name.startswith("input_transformers.layer.")}
        inner = len(weights["input_transformers.layer.0.intermediate.dense.weight"])
        time, self.times = weights["time_embed.0.weight"].shape
        self.word_embedding, self.lm_head = nn.Embedding(vocab, latent), nn.Linear(latent, vocab)
        self.time_embed = pair((self.times, time, width), nn.SiLU())
        if "input_up_proj.0.weight" in weights:
            self.input_up_proj = pair((latent, width, width), nn.Tanh())
            self.output_down_proj = pair((width, width, latent), nn.Tanh())
        self.position_embeddings = nn.Embedding(places, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPS)
        encoder = BertConfig(
            hidden_size=width, num_hidden_layers=len(layers), num_attention_heads=max(width // HEAD, 1),
            intermediate_size=inner,
        )
        encoder._attn_implementation = "sdpa"
        self.input_transformers = BertEncoder(encoder)

    @property
    def positions(self) -> int:
        return self.position_embeddings.num_embeddings

    @property
    def table(self) -> Tensor:
        return self.word_embedding.weight

    def space(self) -> Space:
        return Space(self.table.shape[1], self.levels, discrete=True)

    def forward(self, z: Tensor, said: Tensor, level: Tensor, sees: Tensor) -> Said:
        narrow = hasattr(self, "input_up_proj")
        x = self.input_up_proj(z) if narrow else z
        time = self.time_embed(waves(step_of(self.levels, level) * self.scale, self.times).to(z.dtype))
        place = self.position_embeddings.weight[: z.shape[1]]
        x = self.LayerNorm(place + x + time[:, None])
        lowest = torch.finfo(z.dtype).min
        bias = torch.zeros(sees.shape, dtype=z.dtype, device=z.device).masked_fill(~sees, lowest)[:, None]
        found = self.input_transformers(x, attention_mask=bias).last_hidden_state
        found = self.output_down_proj(found) if narrow else found
        if self.predicts_noise:
            found = (z - sigma(level).to(z.dtype) * found) / alpha(level).to(z.dtype)
        return Said(self.lm_head(found), found, self.lm_head.bias)


def refuse_others(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Raises `UsageError` for kinds of these models that are not known here."""
    schedule = config.get("noise_schedule")
    if schedule not in betas.BETAS:
        raise UsageError(f"its training_args.json has the schedule {schedule!r}; known is {', '.join(betas.BETAS)}")
    if config.get("learn_sigma") or config.get("experiment_mode", "lm") != "lm" or config.get("logits_mode", 1) != 1:
        raise UsageError(
            "its training_args.json asks for learn_sigma, conditional_gen or another logits_mode, and only the plain "
            "language model is known here"
        )
    if "word_embedding.weight" not in weights:
        raise UsageError("its embeddings are not among its weights: only models trained end to end (e2e) are known")
