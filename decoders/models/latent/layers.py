"""Layers that the networks of several families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from decoders.stats.constants import constant


class Normed(nn.Module):
    """A normalised position, scaled."""

    def __init__(self, width: int, centred: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.centred = centred

    def forward(self, x: Tensor) -> Tensor:
        norm = functional.layer_norm if self.centred else functional.rms_norm
        return norm(x, x.shape[-1:], eps=1e-5) * self.weight


class Rotary(nn.Module):
    """Rotary positions; the frequencies lie in the checkpoints."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(0, size, 2) / size))

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """(length, size) the cosines and the sines."""
        frequency = self.get_buffer("inv_freq")
        angle = torch.arange(length, device=frequency.device)[:, None] * frequency
        angle = torch.cat([angle, angle], -1)
        return angle.cos(), angle.sin()


def attention(qkv: Tensor, heads: int, turn: tuple[Tensor, Tensor], sees: Tensor) -> Tensor:
    """(B, L, D): attention of queries, keys and values (B, L, 3 D), turned by `turn`, where `sees (B, L, L)`."""
    B, L, D = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = qkv.view(B, L, 3, heads, D // heads).permute(2, 0, 3, 1, 4)
    cos, sin = turn

    def turned(x: Tensor) -> Tensor:
        left, right = x.chunk(2, -1)
        return x * cos.to(x.dtype) + torch.cat([-right, left], -1) * sin.to(x.dtype)

    mixed = functional.scaled_dot_product_attention(turned(q), turned(k), v, attn_mask=sees[:, None])
    return mixed.transpose(1, 2).reshape(B, L, D)


def step_of(levels: tuple[float, ...], level: Tensor) -> Tensor:
    """(B,) float64: the training step, counted from 0, with this noise level; `levels` are those of all steps, from
    noise to text. Between two levels it is interpolated."""
    rising, level = constant(levels[::-1], level.device, torch.float64), level.double()
    before = (torch.searchsorted(rising, level) - 1).clamp(0, len(levels) - 2)
    share = (level - rising[before]) / (rising[before + 1] - rising[before])
    return before + share.clamp(0, 1)


def waves(t: Tensor, width: int) -> Tensor:
    """(B,) -> (B, width): cosines and sines of times, of periods from 1 to 10,000."""
    half = width // 2
    period = 10000.0 ** -(torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angle = t.float()[:, None] * period
    return functional.pad(torch.cat([angle.cos(), angle.sin()], -1), (0, width % 2))
