"""Which drafts are accepted: the rule of speculative sampling, and the more lenient rules of the reference."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Part, State, first_run, leftmost, option, until_first
from decoders.strategies.speculation.draft import Draft

OUTCOMES = ("base", "accepted", "resampled", "ratio", "confident")
BASE, ACCEPTED, RESAMPLED, RATIO, CONFIDENT = range(5)


class Verdict(NamedTuple):
    """The result for a draft."""

    taken: Tensor  # (B, W) bool    the committed positions
    redrawn: Tensor  # (B, W) bool  of that, the one position that gets another token than was drafted
    how: Tensor  # (B, W) long      which of `OUTCOMES` it is


@dataclass(frozen=True)
class Acceptance(Part):
    """Judges the drafts of the leftmost open run."""

    @abstractmethod
    def __call__(self, s: State, draft: Draft, ratio: Tensor, u: Tensor) -> Verdict:
        """From the ratio q(x) / p(x) of every draft x, by its two probabilities, and uniform numbers, both (B, W)."""
        raise NotImplementedError


def rejection(s: State, ratio: Tensor, u: Tensor) -> Verdict:
    """Speculative sampling: the first draft of the first run whose number `u` is not below its ratio is rejected, and
    those before it are accepted."""
    span = first_run(s.open)
    failed = span & ~(u < ratio)
    accepted, rejected = span & until_first(failed), leftmost(failed)
    return Verdict(accepted | rejected, rejected, ACCEPTED * accepted + RESAMPLED * rejected)


@dataclass(frozen=True)
class Speculative(Acceptance):
    """A draft x is accepted with probability min(1, q(x) / p(x)); the first rejected one is drawn again. Leviathan et
    al. 2023, 2211.17192."""

    name: ClassVar[str] = "speculative"

    def __call__(self, s: State, draft: Draft, ratio: Tensor, u: Tensor) -> Verdict:
        return rejection(s, ratio, u)


@dataclass(frozen=True)
class Lenient(Acceptance):
    """The other acceptance rules of the reference, each of which commits more than `speculative` does."""

    name: ClassVar[str] = "lenient"
    temper: float = option(1.0, "exponent of the ratio; below 1 accepts more", min=0)
    ratio: float | None = option(None, "also accept what has this ratio, even right of a rejection", min=0, max=1)
    resample: bool = option(True, "draw a rejected position anew; else commit its draft all the same")
    confident: bool = option(False, "a verification also commits the open drafts above tau")

    def __call__(self, s: State, draft: Draft, ratio: Tensor, u: Tensor) -> Verdict:
        ratio = ratio.clamp(max=1) ** self.temper
        taken, rejected, how = rejection(s, ratio, u)
        if not self.resample:
            rejected, how = torch.zeros_like(rejected), ACCEPTED * taken
        if self.ratio is not None:
            more = first_run(s.open) & ~taken & (ratio >= self.ratio)
            taken, how = taken | more, how + RATIO * more
        if self.confident:
            more = s.open & ~taken & draft.sure
            taken, how = taken | more, how + CONFIDENT * more
        return Verdict(taken, rejected, how)
