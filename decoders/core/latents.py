"""Latents: what stands at a position for a model that denoises vectors in place of tokens.

A noise level is gamma = -log SNR: a clean x stands there as alpha x + sigma noise, where alpha² = sigmoid(-gamma) and
sigma² = sigmoid(gamma) (Kingma et al. 2021, 2107.00630, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Space:
    """The space of latents in which a model denoises."""

    width: int
    """D: the width of a position's latent."""
    levels: tuple[float, ...]
    """Noise levels from noise to text, at least two, at equal steps of what the model learns between them."""
    discrete: bool = False
    """The model was trained on these levels only, and on none between them."""


@dataclass(frozen=True)
class Latents:
    """The latents that are shown at the editable positions of a window, in place of their tokens."""

    z: Tensor  # (B, W, D) float
    said: Tensor  # (B, W, D) float  the last forward's prediction of it, for self-conditioning; 0 before the first one


def alpha(level: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1): the scale of the clean latent at a noise level."""
    return (-level).sigmoid().sqrt()[:, None, None]


def sigma(level: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1): the scale of the noise at a noise level."""
    return level.sigmoid().sqrt()[:, None, None]
