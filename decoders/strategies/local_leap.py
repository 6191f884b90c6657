"""LocalLeap: a lower threshold near confident positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, above, near, only, option


@dataclass(frozen=True)
class LocalLeap(Decoder):
    """Commit every prediction at or above `tau`, those at or above `relaxed` that are at most `radius` positions from
    one of them, and always the best one. LocalLeap, 2510.07081.

    The anchors are open positions of this forward. The official code was not available; the rule is that of the
    re-implementation in DAWN's repository, whose defaults these are. With `relaxed` at `tau` it is `threshold`.
    """

    source: ClassVar[str] = "LocalLeap, 2025, arXiv 2510.07081"
    attested: ClassVar[Attested] = "replayed"
    outcomes: ClassVar[tuple[str, ...]] = ("threshold passed", "near an anchor", "forced minimum")
    tau: float = option(0.9, "confidence from which a token is committed, and an anchor", min=0, max=1)
    relaxed: float = option(0.75, "confidence from which a token near an anchor is committed", min=0, max=1)
    radius: int = option(4, "how far an anchor reaches, in positions", min=0)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        anchor = s.open & (confidence >= self.tau)
        sure = anchor | (near(anchor, self.radius) & (confidence >= self.relaxed))
        return s.commit(above(only(s.open, confidence), sure), tokens, confidence)

    def outcome(self, s: State) -> Tensor:
        sure = s.confidence >= self.tau
        anchored = (sure & (s.committed_at == s.clock[:, None] - 1)).any(-1, keepdim=True)
        return torch.where(sure, 0, 2 - anchored.long())
