"""Samplers: each computes the latent z at the next noise level, and nothing else.

Levels are gamma = -log SNR, so the ratio of the SNRs of two levels is the exponential of their difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Pred, State, option
from decoders.strategies.latent.base import AGAIN, Latent, scales


@dataclass(frozen=True)
class DDIM(Latent):
    """The next latent keeps the noise of the present one: deterministic at `eta` 0, with the variance of `ddpm` at
    `eta` 1. Euler's method on the flow of z / alpha is the same sampler, and so is LangFlow's (2604.11748)."""

    source: ClassVar[str] = "Song et al. 2021, 2010.02502, equation 12"
    attested: ClassVar[Attested] = "replayed"
    eta: float = option(0.0, "new noise: 0 none, 1 that of ancestral sampling", min=0, max=1)

    def move(self, s: State, x: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        (a, b), (a_next, b_next) = scales(here, x), scales(ahead, x)
        noise = (s.memo.z - a * x) / b
        fresh = self.eta * b_next * (-torch.expm1(ahead - here)).sqrt()[:, None, None].to(x.dtype)
        z: Tensor = a_next * x + (b_next**2 - fresh**2).clamp(min=0).sqrt() * noise
        return z + fresh * s.normal(AGAIN, x.shape[-1]).to(x.dtype) if self.eta else z


@dataclass(frozen=True)
class DDPM(Latent):
    """Ancestral sampling: the next latent is drawn from its distribution given the present latent z and the predicted
    clean latent x. The sampler of Plaid and Diffusion-LM."""

    source: ClassVar[str] = "Ho et al. 2020, 2006.11239, equation 7"
    attested: ClassVar[Attested] = "replayed"
    variance: Literal["small", "large"] = option("small", "that of the posterior, or of the forward process")

    def move(self, s: State, x: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        (a, b), (a_next, b_next) = scales(here, x), scales(ahead, x)
        c = -torch.expm1(ahead - here)[:, None, None].to(x.dtype)
        mean: Tensor = (1 - c) * a_next / a * s.memo.z + c * a_next * x
        spread = c.sqrt() * (b_next if self.variance == "small" else b)
        return mean + spread * s.normal(AGAIN, x.shape[-1]).to(x.dtype)


@dataclass(frozen=True)
class DPMpp2M(Latent):
    """DPM-Solver++(2M): the predicted clean latent x is extrapolated from its change since the last forward, which
    makes a method of second order at one forward a step. With `eta` above 0 new noise is added, as in its stochastic
    form."""

    source: ClassVar[str] = "Lu et al. 2022, 2211.01095, algorithm 2 and section 5"
    attested: ClassVar[Attested] = "replayed"
    eta: float = option(0.0, "new noise: 0 none, 1 that of the reverse SDE", min=0, max=1)
    solver: Literal["midpoint", "heun"] = option("midpoint", "how x is extrapolated")

    def move(self, s: State, x: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        (a, _), (a_next, b_next) = scales(here, x), scales(ahead, x)
        step = ((here - ahead) / 2)[:, None, None].to(x.dtype)  # in units of log(alpha / sigma)
        whole = (1 + self.eta) * step
        z: Tensor = a_next * (
            torch.exp(-whole) * s.memo.z / a - torch.expm1(-whole) * x + self.lead(s, x, step, whole.clamp(min=1e-12))
        )
        if not self.eta:
            return z
        fresh = (-torch.expm1(-2 * self.eta * step)).sqrt()
        return z + b_next * fresh * s.normal(AGAIN, x.shape[-1]).to(x.dtype)

    def back(self, s: State, forwards: int, like: Tensor) -> Tensor:
        """(B, 1, 1): the step that ended so many forwards ago; 0 is this one."""
        from_, to = (self.level(s, (s.step - forwards - k).clamp(min=0)) for k in (1, 0))
        return ((from_ - to) / 2)[:, None, None].to(like.dtype).clamp(min=1e-12)

    def lead(self, s: State, x: Tensor, step: Tensor, whole: Tensor) -> Tensor:
        """(B, W, D): the term that extrapolates x over the step; `whole (B, 1, 1)` is the step with its noise."""
        far = -torch.expm1(-whole) / 2 if self.solver == "midpoint" else second(whole)
        change = (x - s.memo.x) * step / self.back(s, 0, x)
        return torch.where((s.step > 0)[:, None, None], far * change, 0)


def second(step: Tensor) -> Tensor:
    """The weight of a slope in an exponential integrator of second order."""
    return 1 + torch.expm1(-step) / step


class Three(NamedTuple):
    """A memo that also holds the forward before the last."""

    z: Tensor
    said: Tensor
    x: Tensor
    older: Tensor  # (B, W, D)


@dataclass(frozen=True)
class DPMpp3M(DPMpp2M):
    """DPM-Solver++(3M), stochastic unless `eta` is 0: the predicted clean latent x is extrapolated from its changes in
    the last two steps. A step is of third order, but the first one is of first order, which limits a run: with twice
    the steps its error falls to a quarter."""

    source: ClassVar[str] = "Lu et al. 2022, 2211.01095; its form of third order is k-diffusion's"
    attested: ClassVar[Attested] = "replayed"
    eta: float = option(1.0, "new noise: 0 none, 1 that of the reverse SDE", min=0, max=1)
    solver: Literal["midpoint", "heun"] = option("heun", "how x is extrapolated in the second forward")

    def begin(self, s: State) -> State:
        began = super().begin(s)
        m = began.memo
        return replace(began, memo=Three(m.z, m.said, m.x, m.x))

    def step(self, s: State, p: Pred) -> State:
        after = super().step(s, p)
        return replace(after, memo=after.memo._replace(older=s.memo.x))

    def lead(self, s: State, x: Tensor, step: Tensor, whole: Tensor) -> Tensor:
        near, far = (self.back(s, k, x) / step.clamp(min=1e-12) for k in (0, 1))
        now, then = (x - s.memo.x) / near, (s.memo.x - s.memo.older) / far
        bend = (now - then) / (near + far)
        third = second(whole) * (now + near * bend) - (second(whole) / whole - 0.5) * bend
        return torch.where((s.step > 1)[:, None, None], third, super().lead(s, x, step, whole))


@dataclass(frozen=True)
class Heun(Latent):
    """Heun's method on the flow of z / alpha: an Euler step, then a correction by the mean of the slopes at both of its
    ends. Two forwards a step, and one at the end; if `steps` is even, one of them is not made."""

    source: ClassVar[str] = "Karras et al. 2022, 2206.00364, algorithm 1"
    attested: ClassVar[Attested] = "replayed"
    steps: int = option(33, "forwards: two for each step between levels, and one at the end", min=3)

    @property
    def moves(self) -> int:
        return (self.steps - 1) // 2

    def level(self, s: State, step: Tensor) -> Tensor:
        return self.spaced(s, (step + 1) // 2, self.moves + 1)

    def move(self, s: State, x: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        (a, b), (a_next, b_next) = scales(here, x), scales(ahead, x)
        (a_old, b_old), m = scales(self.level(s, (s.step - 1).clamp(min=0)), x), s.memo
        euler: Tensor = a_next * x + b_next * (m.z - a * x) / b
        slope, first = (m.z / a - x) * a / b, (m.z - a * m.x) / b  # now, and where the step began
        begun = m.x + b_old / a_old * first
        mean: Tensor = a * (begun + (b / a - b_old / a_old) * (first + slope) / 2)
        return torch.where((s.step % 2 == 0)[:, None, None], euler, mean)

    def done(self, s: State) -> Tensor:
        return s.step > 2 * self.moves


@dataclass(frozen=True)
class Renoise(Latent):
    """The predicted clean latent with new noise at the next level; the present latent z is discarded."""

    source: ClassVar[str] = "Han et al. 2023 (SSD-LM), 2210.17432, algorithm 2"
    attested: ClassVar[Attested] = "code"

    def move(self, s: State, x: Tensor, here: Tensor, ahead: Tensor) -> Tensor:
        a_next, b_next = scales(ahead, x)
        return a_next * x + b_next * s.normal(AGAIN, x.shape[-1]).to(x.dtype)


@dataclass(frozen=True)
class Bridge(DDPM):
    """Ancestral sampling in which the clean latent of a position is the embedding of a token that is sampled from the
    prediction, instead of the mean embedding."""

    source: ClassVar[str] = "marginal-conditioned bridges, 2605.13681"
    attested: ClassVar[Attested] = "abstract"
    clamp: ClassVar[float] = 0.0  # type: ignore[misc]  # no option: every forward rounds x, to the drawn token
    token_temperature: float = option(1.0, "of the draw; 0 takes the likeliest token", min=0)

    def rounded(self, s: State, p: Pred, x: Tensor) -> Tensor:
        return x if p.table is None else p.table[p.draw(s, self.token_temperature)[0]]
