"""What samplers of latents have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Decoder, Latents, Pred, Query, Space, State, UsageError, Whole, Windows, alpha, option, sigma
from decoders.stats.constants import constant
from decoders.strategies.latent.schedules import Learned, Schedule

FIRST, AGAIN = 0x61, 0x62  # salts


class Memo(NamedTuple):
    """The latents of the window."""

    z: Tensor  # (B, W, D)
    said: Tensor  # (B, W, D)  the model's last prediction of the clean latent, for self-conditioning
    x: Tensor  # (B, W, D)  the clean latent that the last move used


@dataclass(frozen=True)
class Latent(Decoder):
    """A sampler of latents: write `move`, which says where z goes from one noise level to the next.

    There are `steps` forwards, at as many noise levels, from noise to text; for a model with blocks, so many in each
    block. The prediction of the last forward is the text; before it, the committed and edited tokens are those that the
    present latents are closest to. No token is final until the end, so all are shown as a draft."""

    revises: ClassVar[bool] = True
    steps: int = option(32, "forwards, each at a noise level of its own", min=2)
    schedule: Schedule = option(Learned(), "the noise levels")
    self_conditioning: bool = option(True, "give the model its last prediction, if it was trained with that")
    temperature: float = option(1.0, "of the score; below 1 sharper (Plaid takes 0.9)", min=0.01)
    clamp: float = option(
        0.0, "the share of the forwards, the last ones, that round x to the nearest token (Diffusion-LM: 1)", min=0,
        max=1,
    )
    last: Literal["forward", "table"] = option(
        "forward", "the text: tokens of the last forward, or those nearest to its latents (Diffusion-LM)"
    )

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return asked if block_causal else Whole()

    def begin(self, s: State) -> State:
        z = s.normal(FIRST, space(s).width, timeless=True)
        return replace(s, memo=Memo(z, torch.zeros_like(z), torch.zeros_like(z)))

    def query(self, s: State) -> Query:
        m: Memo = s.memo
        said = m.said if self.self_conditioning else torch.zeros_like(m.said)
        return Query(s.tokens, s.editable, level=self.level(s, s.step), latents=Latents(m.z, said))

    def step(self, s: State, p: Pred) -> State:
        m: Memo = s.memo
        said, (here, ahead) = p.denoised(), self.levels_of(s)
        x = self.sharpened(m.z, self.rounded(s, p, said), here)
        z = self.move(s, x, here, ahead)
        token, confidence = self.reading(p, x)
        after = s.commit(s.open, token, confidence).edit(token != s.tokens, token, confidence)
        return replace(after, memo=m._replace(z=z, said=said, x=x))

    def move(self, s: State, x: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        """(B, W, D): z at the level `ahead (B,)`, from `s.memo.z` at the level `here (B,)`, where `x (B, W, D)` is the
        clean latent that is expected."""
        raise NotImplementedError

    def levels_of(self, s: State) -> tuple[Tensor, Tensor]:
        """(B,) and (B,): the level of this forward, and the one that z goes to."""
        return self.level(s, s.step), self.level(s, s.step + 1)

    def level(self, s: State, step: Tensor) -> Tensor:
        """(B,) float: the noise level of a forward, by its number."""
        return self.spaced(s, step, self.steps)

    def spaced(self, s: State, place: Tensor, count: int) -> Tensor:
        """(B,) float64: the level number `place (B,)` of `count`, from noise to text; the last one for larger
        numbers."""
        return self.schedule(space(s), place.clamp(max=count - 1), count)

    def rounded(self, s: State, p: Pred, x: Tensor) -> Tensor:
        """x, in the last forwards rounded to the nearest token: the clamping trick of Diffusion-LM (Li et al. 2022,
        2205.14217, section 4.3)."""
        if not self.clamp or p.table is None:
            return x
        near = p.table[torch.cdist(x, p.table.expand(len(x), -1, -1)).argmin(-1)]
        late = s.step >= (1 - self.clamp) * self.steps
        return torch.where(late[:, None, None], near, x)

    def sharpened(self, z: Tensor, x: Tensor, level: Tensor) -> Tensor:
        """x at a temperature of the score: the noise that x leaves in z is divided by the temperature (Gulrajani and
        Hashimoto 2023, 2305.18619, section 6)."""
        if self.temperature == 1:
            return x
        a = alpha(level).to(z.dtype)
        return (z - (z - a * x) / self.temperature) / a

    def reading(self, p: Pred, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, W) long and (B, W): the tokens of the present latents, and their probabilities."""
        token, confidence = p.best()
        if self.last == "forward" or p.table is None:
            return token, confidence
        read = x.to(p.table.dtype) @ p.table.T
        read = read if p.offset is None else read + p.offset
        token = read.index_fill(-1, constant(p.banned, read.device), -torch.inf).argmax(-1)
        return token, p.prob(token)

    def done(self, s: State) -> Tensor:
        return s.step >= self.steps


def space(s: State) -> Space:
    """The latent space of the model. Raises `UsageError` if it has none."""
    if s.space is None:
        raise UsageError("this engine has no latents to denoise")
    return s.space


def scales(level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, 1) and (B, 1, 1): the scales of the clean latent and of the noise at a level."""
    return alpha(level).to(like.dtype), sigma(level).to(like.dtype)
