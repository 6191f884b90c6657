"""PC-Sampler: a preference for the left, and less weight for tokens that are common anyway."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, UsageError, only, option, top

TABLE = "frequency"
"""The name of the tensor in a file of frequencies: (V,), counts or probabilities of the tokens in a corpus."""


class Rarity(NamedTuple):
    """The rarity of tokens in a corpus."""

    known: Tensor  # (V,) float  -log of the frequency of every token
    absent: float  # for token ids beyond the table


@cache
def rarity(path: str, absent: float | None) -> Rarity:
    """From a safetensors file of counts or frequencies, which are divided by their sum. `absent`: the frequency in
    place of 0; none: the smallest in the table. Raises `UsageError`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise UsageError(
            f"PCSampler: there is no file {path}; corpus is a safetensors file with one tensor {TABLE!r}, a number a "
            "token"
        )
    try:
        table = load_file(path).get(TABLE)
    except SafetensorError as e:
        raise UsageError(f"PCSampler: {path} is no safetensors file: {e}") from None
    if table is None or table.dim() != 1 or not bool((table >= 0).all()) or not bool(table.sum() > 0):
        raise UsageError(
            f"PCSampler: {path} must hold one tensor {TABLE!r} with a number of at least 0 for every token, not all "
            "of them 0"
        )
    frequency = table.double() / table.double().sum()
    least = float(frequency[frequency > 0].min()) if absent is None else absent
    return Rarity(-torch.where(frequency > 0, frequency, least).log().float(), -math.log(least))


@dataclass(frozen=True)
class PCSampler(Decoder):
    """Commit an even share a step, by exp(-`decay` i) min(-c log f, `cap`) for confidence c at position i and the
    frequency f of the token in a corpus. PC-Sampler, 2508.13021.

    The first factor prefers positions to the left; the second one, the paper's content-aware calibration, holds back
    tokens such as stop tokens and punctuation, which are likely because they are common. The paper's `decay` is 0.25, 0
    for Sudoku and 0.5 for Countdown, and its cap 10. Only ratios of these factors matter, so positions may be counted
    from anywhere.

    Frequencies belong to a tokenizer and a corpus, so none are included: without a `corpus` all tokens count as equally
    frequent, and the score is confidence with a decay. A token that the corpus lacks counts as one that occurs once:
    the official code uses 1 over the number of tokens in the corpus, which is the smallest frequency in any large
    table; so the smallest frequency is used here unless `absent` is given.
    """

    source: ClassVar[str] = "PC-Sampler, 2025, arXiv 2508.13021"
    attested: ClassVar[Attested] = "replayed"
    rarity: ClassVar[Rarity | None] = None
    """The content of `corpus`."""
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    decay: float = option(0.25, "how much the order is from left to right; 0: not at all", min=0)
    cap: float = option(10.0, "the largest value of confidence times rarity", min=1e-6)
    corpus: str | None = option(None, "safetensors file with a tensor `frequency`, a number for every token")
    absent: float | None = option(None, "frequency of what it lacks; none: the smallest in it", min=1e-30, max=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rarity", None if self.corpus is None else rarity(self.corpus, self.absent))

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        content = (confidence * self.surprise(s, tokens)).clamp(torch.finfo(confidence.dtype).tiny, self.cap)
        score = content.log() - self.decay * (s.position - s.position[:, :1])  # of logarithms, which cannot underflow
        return s.commit(top(only(s.open, score), s.quota(self.steps)), tokens, confidence)

    def surprise(self, s: State, tokens: Tensor) -> Tensor:
        """(B, W) float: -log of the frequency of `tokens`."""
        if self.rarity is None:
            return torch.full_like(s.confidence, math.log(s.vocab))
        known, absent = self.rarity
        table = torch.nn.functional.pad(known, (0, max(s.vocab - len(known), 0)), value=absent)
        return table.to(tokens.device)[tokens]
