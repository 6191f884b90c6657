"""Plaid (Gulrajani and Hashimoto 2023, 2305.18619): embeddings of unit norm, gamma(t) learnt, logits from the network.

A checkpoint is four files, and no config: sizes are read off the weights (igul222/plaid e7d5cf8; written from its
formulas). The head's output is divided by how much wider the network is than one of 256, as maximal update
parametrisation has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from decoders.core import Space
from decoders.models.latent.layers import Normed, Rotary, attention
from decoders.models.latent.model import Said, prior

LEVELS = 4097
WIDTH = 256  # of the network that maximal update parametrisation counts from
HEAD = 64  # numbers in a head, where the weights do not say


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))
        return out


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.rmsnorm1, self.rmsnorm2 = Normed(width, centred=False), Normed(width, centred=False)
        self.attn_qkv = nn.Linear(width, 3 * width, bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, scale: float, turn: tuple[Tensor, Tensor], sees: Tensor) -> Tensor:
        x = x + scale * self.attn_out(attention(self.attn_qkv(self.rmsnorm1(x)), self.heads, turn, sees))
        out: Tensor = x + scale * self.mlp(self.rmsnorm2(x))
        return out


class Denoiser(nn.Module):
    """The weights of model.pt, whose sizes they have themselves."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        width, latent = weights["input_linear.weight"].shape
        blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
        frequencies = weights.get("rotary_emb.inv_freq")
        size = HEAD if frequencies is None else 2 * len(frequencies)
        self.input_linear, self.selfcond_linear = (nn.Linear(latent, width, bias=False) for _ in range(2))
        self.gamma_linear = nn.Linear(64, width, bias=False)
        self.rotary_emb = Rotary(size)
        self.blocks = nn.ModuleList(Block(width, width // size) for _ in range(blocks))
        self.output_norm = Normed(width)
        self.output_linear = nn.Linear(width, len(weights["output_linear.weight"]))


class Plaid(nn.Module):
    """The network of the four files, each a mapping of names to tensors."""

    def __init__(self, files: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.model = Denoiser(files["model"])
        self.embedding_matrix, self.noise_schedule, self.gamma_bounds = nn.Module(), nn.Module(), nn.Module()
        small = {"embedding_matrix": ("matrix",), "noise_schedule": ("W1", "b1", "W2"),
                 "gamma_bounds": ("gamma_0", "gamma_1")}
        for part, names in small.items():
            for name in names:
                setattr(getattr(self, part), name, nn.Parameter(torch.empty_like(files[part][name])))

    @property
    def table(self) -> Tensor:
        matrix: Tensor = self.embedding_matrix.matrix  # type: ignore[assignment]
        found: Tensor = matrix / (matrix.norm(dim=1, keepdim=True) + 1e-8)
        return found

    def space(self) -> Space:
        """Its levels, by the monotone network that it learnt between two bounds, in float64."""
        first, second, bias = (getattr(self.noise_schedule, name).double() for name in ("W1", "W2", "b1"))
        t = torch.linspace(1, 0, LEVELS, dtype=torch.float64, device=first.device)[:, None]
        raw = torch.tanh((t - 0.5) @ functional.softplus(first).T + bias) @ functional.softplus(second).T
        share = ((raw - raw[-1]) / (raw[0] - raw[-1]))[:, 0]
        low, high = (getattr(self.gamma_bounds, name).double() for name in ("gamma_0", "gamma_1"))
        return Space(self.table.shape[1], tuple((low + (high - low) * share).tolist()))

    def forward(self, z: Tensor, said: Tensor, level: Tensor, sees: Tensor) -> Said:
        net, latent, table = self.model, z.shape[-1], self.table
        variance = (-level).sigmoid() / latent + level.sigmoid()
        x = net.input_linear(z / variance.sqrt().to(z.dtype)[:, None, None])
        x = x + net.selfcond_linear(said * latent**0.5)
        angle = torch.linspace(-5, 5, 32, device=z.device, dtype=torch.float64).exp() * level.double()[:, None]
        x = x + net.gamma_linear(torch.cat([angle.sin(), angle.cos()], -1).to(z.dtype))[:, None]
        turn, scale = net.rotary_emb(z.shape[1]), len(net.blocks) ** -0.5
        for block in net.blocks:
            x = block(x, scale, turn, sees)
        head = net.output_linear
        hidden = net.output_norm(x) * (WIDTH / head.in_features)
        return Said(head(hidden) + prior(z, level, table))
