"""Schedules: gamma(t), the noise level of every forward of a sampler.

A level is gamma = -log SNR. The levels on which a model was trained are in `Space.levels`; a schedule chooses the
levels of a sampler's forwards.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import torch
from torch import Tensor

from decoders.core import Part, Space, UsageError, option
from decoders.stats import betas
from decoders.stats.constants import constant


@dataclass(frozen=True)
class Schedule(Part):
    """Chooses the noise level of each forward."""

    @abstractmethod
    def __call__(self, space: Space, place: Tensor, count: int) -> Tensor:
        """(B,) float64: the level number `place (B,)` of `count`; the first is noise and the last the text."""
        raise NotImplementedError


def ends(space: Space, like: Tensor) -> Tensor:
    """(2,) float64: the first and the last level of a model."""
    return constant((space.levels[0], space.levels[-1]), like.device, torch.float64)


@dataclass(frozen=True)
class Learned(Schedule):
    """At equal steps among the levels that the model learnt, interpolated between two of them; a model of discrete
    levels is evaluated at some of its own, spaced as evenly as whole numbers allow."""

    name: ClassVar[str] = "learned"

    def __call__(self, space: Space, place: Tensor, count: int) -> Tensor:
        if space.discrete:
            return constant(some(space.levels, count), place.device, torch.float64)[place]
        levels = constant(space.levels, place.device, torch.float64)
        at = place.double() * (len(levels) - 1) / (count - 1)
        low = at.floor().long().clamp(max=len(levels) - 2)
        return torch.lerp(levels[low], levels[low + 1], at - low)


@cache
def some(levels: tuple[float, ...], count: int) -> tuple[float, ...]:
    """`count` of the levels of a model. Raises `UsageError` if it has fewer."""
    try:
        kept = betas.evenly(len(levels), count)
    except ValueError:
        raise UsageError(f"this model has {len(levels)} noise levels, and {count} forwards need {count}") from None
    return tuple(levels[-1 - i] for i in reversed(kept))


@dataclass(frozen=True)
class Even(Schedule):
    """At equal steps of gamma, between the model's first level and its last."""

    name: ClassVar[str] = "even"

    def __call__(self, space: Space, place: Tensor, count: int) -> Tensor:
        first, last = ends(space, place)
        return torch.lerp(first, last, place.double() / (count - 1))


@dataclass(frozen=True)
class Karras(Schedule):
    """At equal steps of a root of the noise, between the model's first level and its last. Karras et al. 2022,
    2206.00364, equation 5."""

    name: ClassVar[str] = "karras"
    rho: float = option(7.0, "which root; the larger, the more forwards near the text", min=1)

    def __call__(self, space: Space, place: Tensor, count: int) -> Tensor:
        first, last = (ends(space, place) / (2 * self.rho)).exp()
        return 2 * self.rho * torch.lerp(first, last, place.double() / (count - 1)).log()


@dataclass(frozen=True)
class Discrete(Schedule):
    """At some of the levels of a table used in training, whatever `Space.levels` is. Respacing of Nichol and Dhariwal
    2021, 2102.09672, as in the code of Diffusion-LM."""

    trained: int = option(2000, "steps of training", min=20)
    kept: Literal["even", "stride"] = option(
        "even", "which of them: evenly over all, or from the first on, a whole number of them apart"
    )
    sections: tuple[int, ...] = option((), "how many of each equal section of the training; written 10+15+20")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sections and min(self.sections) < 1:
            raise UsageError(f"{self.name}: sections must be numbers of at least 1")

    def __call__(self, space: Space, place: Tensor, count: int) -> Tensor:
        return constant(respaced(self, count), place.device, torch.float64)[place]

    def steps(self, count: int) -> list[int]:
        """The steps of training at which `count` forwards are made. Raises `UsageError` if that number is
        impossible."""
        try:
            if not self.sections:
                return (betas.evenly if self.kept == "even" else betas.strided)(self.trained, count)
            if sum(self.sections) == count:
                return betas.by_section(self.trained, self.sections)
        except ValueError:
            pass
        raise UsageError(f"the schedule {self.name} cannot give {count} levels with these options")


@cache
def respaced(schedule: Discrete, count: int) -> tuple[float, ...]:
    """The levels of so many forwards, from noise to text."""
    table = betas.levels(schedule.name, schedule.trained)
    return tuple(table[-1 - i] for i in reversed(schedule.steps(count)))


@dataclass(frozen=True)
class Sqrt(Discrete):
    """Much noise early, and little late. Li et al. 2022 (Diffusion-LM), 2205.14217, appendix A."""

    name: ClassVar[str] = "sqrt"


@dataclass(frozen=True)
class Cosine(Discrete):
    """Nichol and Dhariwal 2021, 2102.09672, equation 17."""

    name: ClassVar[str] = "cosine"


@dataclass(frozen=True)
class Linear(Discrete):
    """Betas that grow linearly. Ho et al. 2020, 2006.11239, section 4."""

    name: ClassVar[str] = "linear"


@dataclass(frozen=True)
class TruncatedCosine(Discrete):
    """The cosine schedule, starting later. The code of Diffusion-LM."""

    name: ClassVar[str] = "trunc_cos"


@dataclass(frozen=True)
class TruncatedLinear(Discrete):
    """The linear schedule, with each beta larger by 0.01. The code of Diffusion-LM."""

    name: ClassVar[str] = "trunc_lin"


@dataclass(frozen=True)
class PiecewiseLinear(Discrete):
    """The linear schedule, beginning with ten larger betas. The code of Diffusion-LM."""

    name: ClassVar[str] = "pw_lin"
