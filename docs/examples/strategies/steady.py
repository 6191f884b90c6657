"""Memory from one forward to the next."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from decoders import Decoder, Pred, State, above, only, option


class Seen(NamedTuple):
    """What the decoder remembers of every position."""

    token: Tensor  # (B, W) long  the likeliest token of the last forward, -1 before the first
    times: Tensor  # (B, W) long  how many forwards in a row have said so


@dataclass(frozen=True)
class Steady(Decoder):
    """Commit a token when `times` forwards in a row have found it the likeliest."""

    times: int = option(2, "forwards that have to agree", min=1)

    def begin(self, s: State) -> State:
        return replace(s, memo=Seen(torch.full_like(s.tokens, -1), torch.zeros_like(s.tokens)))

    def step(self, s: State, p: Pred) -> State:
        seen: Seen = s.memo
        tokens, confidence = p.best()
        times = torch.where(tokens == seen.token, seen.times + 1, 1)
        chosen = above(only(s.open, confidence), times >= self.times)
        return replace(s, memo=Seen(tokens, times)).commit(chosen, tokens, confidence)
