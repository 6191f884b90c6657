"""Fast-dLLM++: commit while the Fréchet bounds say that the joint prediction is the likeliest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, only, option, top


@dataclass(frozen=True)
class Frechet(Decoder):
    """Commit the n most confident predictions for the largest n with L > U + `delta`, always at least one; L is a lower
    bound on their joint probability, U an upper bound on that of any other choice. Fast-dLLM++, 2606.02955.

    For confidences c_1 >= c_2 >= ... any joint distribution with these marginals gives the n predictions together at
    least L = max(0, c_1 + ... + c_n - (n - 1)), Fréchet's lower bound, and any choice that differs from them somewhere
    at most U = 1 - c_n. As n grows, L falls and U rises, so the n that pass are the first ones. If all confidences are
    equal it is `factor` with f = 1 - delta; otherwise it commits more, because surer predictions compensate for less
    sure ones.
    """

    source: ClassVar[str] = "Fast-dLLM++, 2026, arXiv 2606.02955"
    attested: ClassVar[Attested] = "code"
    delta: float = option(
        0.25, "by how much the lower bound must exceed the upper; smaller commits more", min=-1, max=1
    )
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        score = only(s.open, confidence)
        return s.commit(top(score, jointly_likeliest(score, self.delta).clamp(min=1)), tokens, confidence)


def jointly_likeliest(score: Tensor, delta: float) -> Tensor:
    """(B,) long: the largest n such that L > U + `delta` for the n highest of `score (B, W)`, confidences or -inf; see
    `Frechet`."""
    ordered = score.sort(dim=-1, descending=True, stable=True).values
    doubt = (1 - ordered).cumsum(-1)  # 1 - L, before L is clamped at 0
    return ((1 - doubt).clamp(min=0) - (1 - ordered) > delta).sum(-1)
