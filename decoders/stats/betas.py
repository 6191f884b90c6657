"""Discrete noise schedules: tables of T betas, the shares of the variance that the steps of training replace by noise.

`linear` is of Ho et al. 2020 (2006.11239), `cosine` of Nichol and Dhariwal 2021 (2102.09672), and the others of
Diffusion-LM (Li et al. 2022, 2205.14217), whose code has all six under these names. All numbers are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import accumulate, repeat

import torch
from torch import Tensor

Signal = Callable[[Tensor], Tensor]
"""The share of the variance that belongs to the text, alpha squared, at a share of the way to noise."""

LARGEST = 0.999
HEAD = 10  # steps of `pw_lin` that begin with more noise


def from_signal(signal: Signal, count: int, first: bool = False) -> Tensor:
    """(count,): the betas under which so much signal is left after each step. `first`: the first beta removes the
    signal that is already missing at the start, and the others follow one step later."""
    left = signal(torch.arange(count + 1, dtype=torch.float64) / count)
    betas = (1 - left[1:] / left[:-1]).clamp(max=LARGEST)
    return torch.cat([(1 - left[:1]).clamp(max=LARGEST), betas[:-1]]) if first else betas


def cosine(offset: float) -> Signal:
    return lambda t: torch.cos((t + offset) / (1 + offset) * math.pi / 2) ** 2


def line(first: float, last: float, count: int, steps: int) -> Tensor:
    """(count,): from one beta to another, both of a schedule of 1000 steps, for one of so many `steps`."""
    return torch.linspace(first * 1000 / steps, last * 1000 / steps, count, dtype=torch.float64)


def linear_with_head(count: int) -> Tensor:
    head = torch.linspace(0.1 / count + 0.01, 0.1 / count, HEAD, dtype=torch.float64)
    return torch.cat([head, line(1e-4, 2e-2, count - HEAD, count)])


BETAS: dict[str, Callable[[int], Tensor]] = {
    "sqrt": lambda count: from_signal(lambda t: 1 - (t + 1e-4).sqrt(), count),
    "cosine": lambda count: from_signal(cosine(0.008), count),
    "linear": lambda count: line(1e-4, 2e-2, count, count),
    "trunc_cos": lambda count: from_signal(cosine(0.1), count, first=True),
    "trunc_lin": lambda count: line(1e-4, 2e-2, count, count) + 0.01,
    "pw_lin": linear_with_head,
}


@cache
def levels(name: str, count: int) -> tuple[float, ...]:
    """gamma = -log SNR after each of `count` steps of a schedule, from noise to text."""
    return gammas((1 - BETAS[name](count)).cumprod(0))


def gammas(signal: Tensor) -> tuple[float, ...]:
    """-log SNR where so much of the variance is the text's, from the last of `signal (T,)` to the first."""
    return tuple((torch.log1p(-signal) - signal.log()).flip(0).tolist())


def evenly(steps: int, count: int) -> list[int]:
    """So many of the steps of training, as evenly as whole numbers are, the first and the last among them. Raises
    `ValueError` if there are not so many."""
    if count > steps:
        raise ValueError(f"{count} of {steps} steps")
    stride = (steps - 1) / max(count - 1, 1)
    # summed instead of multiplied, as in the reference: halves are rounded differently
    return [round(at) for at in accumulate(repeat(stride, count - 1), initial=0.0)]


def strided(steps: int, count: int) -> list[int]:
    """So many of the steps of training, the first among them and all equally far apart: "ddimN" in the code of
    Diffusion-LM. Raises `ValueError` if no whole number of steps lies between so many."""
    for stride in range(1, steps):
        if len(kept := range(0, steps, stride)) == count:
            return list(kept)
    raise ValueError(f"{count} of {steps} steps")


def by_section(steps: int, counts: tuple[int, ...]) -> list[int]:
    """The steps of training parted into equal sections, and `evenly` so many of each. Raises `ValueError` if a section
    has not so many."""
    size, more = divmod(steps, len(counts))
    sizes = [size + (i < more) for i in range(len(counts))]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [start + i for start, n, count in zip(starts, sizes, counts, strict=True) for i in evenly(n, count)]
