"""PC-Sampler: from left to right rather than not, and no credit for what is common anyway."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Decoder, Pred, State, UsageError, only, option, share, top
from decoders.strategies.llada import per_window

TABLE = "frequency"
"""The name of the tensor in a file of frequencies: (V,), counts or probabilities of the tokens in a corpus."""


@cache
def surprise(path: str) -> Tensor:
    """(V,) float: -log of the frequency of every token in a corpus, from a safetensors file; infinite where that is 0. Raises
    `UsageError`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise UsageError(f"PCSampler: there is no file {path}; corpus is a safetensors file with one tensor {TABLE!r}, a number a token")
    try:
        table = load_file(path).get(TABLE)
    except SafetensorError as e:
        raise UsageError(f"PCSampler: {path} is no safetensors file: {e}") from None
    if table is None or table.dim() != 1 or not bool((table >= 0).all()) or not bool(table.sum() > 0):
        raise UsageError(f"PCSampler: {path} must hold one tensor {TABLE!r} with a number of at least 0 for every token, not all of them 0")
    return -(table.double() / table.double().sum()).log().float()


@dataclass(frozen=True)
class PCSampler(Decoder):
    """Commit an even share a step, by exp(-`decay` i) min(-c log f, `cap`) for confidence c at position i and the frequency f of the
    token in a corpus. PC-Sampler, 2508.13021.

    The first factor keeps the order from left to right, the second one, the paper's content-aware calibration, holds back tokens
    such as stop tokens and punctuation, which are likely because they are common. The paper's `decay` is 0.25, 0 for Sudoku and 0.5 for
    Countdown, and its cap 10. Only ratios of positions count, so it does not matter where they are counted from.

    Frequencies belong to a tokenizer and a corpus, so none are shipped: without a `corpus` all tokens count as equally frequent, and
    what is left is confidence with a decay. A token that the corpus lacks has the score of the cap.
    """

    source: ClassVar[str] = "PC-Sampler, 2025, arXiv 2508.13021"
    rarity: ClassVar[Tensor | None] = None  # (V,) float  what `corpus` holds
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    decay: float = option(0.25, "how much the order is from left to right; 0: not at all", min=0)
    cap: float = option(10.0, "the most that confidence and rarity together may count", min=1e-6)
    corpus: str | None = option(None, "safetensors file with a tensor `frequency`, a number for every token")
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rarity", None if self.corpus is None else surprise(self.corpus))

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        content = (confidence * self.surprise(s, tokens)).nan_to_num(0.0).clamp(torch.finfo(confidence.dtype).tiny, self.cap)
        score = content.log() - self.decay * (s.position - s.position[:, :1])  # of logarithms, which cannot underflow
        return s.commit(top(only(s.open, score), share(s.opened, per_window(self.steps, s), s.step)), tokens, confidence)

    def surprise(self, s: State, tokens: Tensor) -> Tensor:
        """(B, W) float: -log of the frequency of `tokens`."""
        if self.rarity is None:
            return torch.full_like(s.confidence, math.log(s.vocab))
        table = torch.nn.functional.pad(self.rarity, (0, max(s.vocab - len(self.rarity), 0)), value=torch.inf)
        return table.to(tokens.device)[tokens]
