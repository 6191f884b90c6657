"""Any rule on predictions whose unlikely tokens are cut away."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from decoders.core import Around, Attested, Decoder, Pred, State, option
from decoders.strategies.fast_dllm import Threshold


@dataclass(frozen=True)
class Nucleus(Around):
    """Any rule, on truncated predictions: only the `top_k` likeliest tokens remain, of those the fewest whose
    probabilities reach `top_p`, and of those the tokens that are at least `min_p` times as likely as the likeliest. Fan
    et al. 2018, 1805.04833; Holtzman et al. 2020, 1904.09751; Nguyen et al. 2024, 2407.01082.

    This is for rules that have no such options; the rule sees the renormalised probabilities. Probabilities are those
    at the temperature of `base`. Without options it is `base`.
    """

    source: ClassVar[str] = "Holtzman et al. 2020, arXiv 1904.09751"
    attested: ClassVar[Attested] = "paper"
    everything: ClassVar[bool] = True
    base: Decoder = option(Threshold(), "the rule that commits")
    top_k: int | None = option(None, "number of tokens that remain", min=1)
    top_p: float | None = option(None, "the probability that remains; the token that crosses it is kept", min=0, max=1)
    min_p: float | None = option(None, "the least probability, as a share of the largest", min=0, max=1)

    def step(self, s: State, p: Pred) -> State:
        return super().step(s, self.cut(p))

    def cut(self, p: Pred) -> Pred:
        """The truncated prediction, and those beside it."""
        rows = p.filtered(temperature_of(self.base) or 1.0, self.top_k, self.top_p).rows
        if self.min_p:
            rows = rows.masked_fill(rows < rows.amax(-1, keepdim=True) + math.log(self.min_p), -torch.inf)
        logits = p.logits.masked_fill(rows.view_as(p.logits) == -torch.inf, -torch.inf)
        return replace(p, logits=logits, beside=tuple(map(self.cut, p.beside)))


def temperature_of(decoder: Decoder) -> float:
    """The temperature at which a decoder samples; 0 for one that does not sample, or has no such option."""
    own = getattr(decoder, "temperature", None)
    inner = getattr(decoder, "base", None)
    if isinstance(own, int | float):  # `gemma` has a temperature for each step, which it applies itself
        return float(own)
    return temperature_of(inner) if isinstance(inner, Decoder) else 0.0
