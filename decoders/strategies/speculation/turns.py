"""Two kinds of forwards in turns: one drafts the open positions, the next verifies the drafts causally."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Decoder, Query, State


class Turn(NamedTuple):
    """What the two sides share."""

    drafts: Tensor  # (B, W) long
    verify: Tensor  # (B,) bool  the next forward verifies them
    how: Tensor  # (B, W) long  which of `outcomes` the last step's commitments were


@dataclass(frozen=True)
class InTurns(Decoder):
    """Drafts and verifies in turns; the `step` of a subclass chooses the drafts and the accepted tokens."""

    phases: ClassVar[tuple[str, ...]] = ("draft", "verify")
    outcomes: ClassVar[tuple[str, ...]] = ("accepted", "resampled")

    def init(self, s: State) -> State:
        zero = torch.zeros_like(s.tokens)
        return replace(s, memo=Turn(zero, torch.zeros_like(s.key, dtype=torch.bool), zero))

    def phase(self, s: State) -> Tensor:
        return s.memo.verify.long()  # type: ignore[no-any-return]

    def outcome(self, s: State) -> Tensor:
        return s.memo.how  # type: ignore[no-any-return]

    def query(self, s: State) -> Query:
        m: Turn = s.memo
        return Query(torch.where(s.open & m.verify[:, None], m.drafts, s.tokens), s.open, m.verify, ahead=True)
