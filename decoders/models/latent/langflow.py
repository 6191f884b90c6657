"""LangFlow (2604.11748): embeddings of norm sqrt(d) under a diffusion transformer whose layers the level modulates.

Names of weights and of settings are those of its checkpoints (nealchen2003/LangFlow a712b08); written from its
formulas. Its setting `embedding_norm_method` says layernorm, and what it does is to scale to a norm of sqrt(d).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from decoders.core import Space
from decoders.models.latent.layers import Normed, Rotary, attention, waves
from decoders.models.latent.model import Said, prior

EDGE = 1e-5  # how near its first and last level come to the ends of the distribution
LEVELS = 3841
FREQUENCIES = 256


class Block(nn.Module):
    def __init__(self, width: int, heads: int, condition: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = Normed(width), Normed(width)
        self.attn_qkv = nn.Linear(width, 3 * width, bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.adaLN_modulation = nn.Linear(condition, 6 * width)

    def forward(self, x: Tensor, c: Tensor, turn: tuple[Tensor, Tensor], sees: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.adaLN_modulation(c)[:, None].chunk(6, -1)
        qkv = self.attn_qkv(self.norm1(x) * (1 + scale) + shift)
        x = x + gate * self.attn_out(attention(qkv, self.heads, turn, sees))
        out: Tensor = x + gate_mlp * self.mlp(self.norm2(x) * (1 + scale_mlp) + shift_mlp)
        return out


class Final(nn.Module):
    def __init__(self, width: int, vocab: int, condition: int) -> None:
        super().__init__()
        self.norm_final = Normed(width)
        self.linear = nn.Linear(width, vocab)
        self.adaLN_modulation = nn.Linear(condition, 2 * width)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, -1)
        out: Tensor = self.linear(self.norm_final(x) * (1 + scale) + shift)
        return out


class Backbone(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, condition, heads = config["hidden_size"], config["cond_dim"], config["n_heads"]
        self.vocab_embed = nn.Module()
        self.vocab_embed.embedding = nn.Parameter(torch.empty(config["vocab_size"], width))
        self.sigma_map = nn.Module()
        self.sigma_map.mlp = nn.Sequential(
            nn.Linear(FREQUENCIES, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.rotary_emb = Rotary(width // heads)
        self.blocks = nn.ModuleList(Block(width, heads, condition) for _ in range(config["n_blocks"]))
        self.output_layer = Final(width, config["vocab_size"], condition)
        if config.get("self_conditioning", True):
            self.self_cond_proj = nn.Linear(2 * width, width, bias=False)


class LangFlow(nn.Module):
    """The network of a checkpoint whose config.json is `config`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.conditioned = bool(config.get("self_conditioning", True))
        self.with_prior, self.normed = config.get("use_bias", True), config.get("use_normalized_embedding", True)
        self.cutoff = float(config.get("gumbel_cutoff", EDGE))
        self.backbone = Backbone(config)
        self.proposal = nn.Module()
        for name in ("loc", "scale", "entropy"):
            setattr(self.proposal, name, nn.Parameter(torch.zeros(())))

    @property
    def table(self) -> Tensor:
        found: Tensor = self.backbone.vocab_embed.embedding  # type: ignore[assignment]
        return functional.normalize(found, dim=-1) * found.shape[-1] ** 0.5 if self.normed else found

    def space(self) -> Space:
        """Its levels are the quantiles of the Gumbel distribution that it learnt, cut off at both ends. By torch in
        single precision, as its own sampler has them: the first is 0.01 away from what it would be."""
        loc, scale = (getattr(self.proposal, name).detach().float().cpu() for name in ("loc", "scale"))
        t = torch.linspace(1 - EDGE, EDGE, LEVELS)
        low, high = (float(loc - scale * math.log(x)) for x in (-math.log(self.cutoff), self.cutoff))
        levels = torch.distributions.Gumbel(loc, scale).icdf(t).clamp(low, high)
        return Space(self.table.shape[1], tuple(levels.tolist()))

    def forward(self, z: Tensor, said: Tensor, level: Tensor, sees: Tensor) -> Said:
        net, x = self.backbone, z
        if self.conditioned:
            x = x + net.self_cond_proj(torch.cat([x, said], -1))
        condition: Any = net.sigma_map.mlp
        c = functional.silu(condition(waves(level, FREQUENCIES).to(x.dtype)))
        turn = net.rotary_emb(x.shape[1])
        for block in net.blocks:
            x = block(x, c, turn, sees)
        logits = net.output_layer(x, c)
        return Said(logits + prior(z, level, self.table) if self.with_prior else logits)
