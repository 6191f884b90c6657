"""WeDLM's streaming parallel decoding: masks are read behind everything that is known, in a window that slides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, Windows, above, leftmost, only, option
from decoders.core.windows import Sliding, one_by_one


def known_first(s: State) -> Tensor:
    """(B, W) long: the number of each position of the window, of which what is known comes first, then what is open,
    both from left to right, and last what the row does not have."""
    known = s.present & ~s.open
    behind = known.sum(-1, keepdim=True) + s.open.cumsum(-1)
    return torch.where(known, known.cumsum(-1) - 1, torch.where(s.open, behind - 1, s.place))


@dataclass(frozen=True)
class WeDLM(Decoder):
    """Show the model a window of `window` positions from the leftmost open one on, in which the masks are read behind
    everything that is known, each position where it stands in the text (topological reordering); commit every mask
    whose entropy and `penalty` times its distance from the leftmost mask are below `tau` together, and always the
    lowest. Liu et al. 2025, 2512.22737, Algorithm 1 and equation 11.

    What is known sees only what is known left of it, so that its keys and values are final as soon as nothing left of
    it is open; masks see all of it, also what is right of them. The window slides as soon as its first position is
    committed, and is filled up with masks.

    The paper's Algorithm 1 fills the window up behind a forward, and its Figure 3 and the code (`WeDLMDecoder` in
    Tencent/WeDLM) before it, so that every forward has `window` positions from the leftmost mask on: so it is here. The
    code has a forward for the prompt alone, which decides nothing. Where a temperature is given, the code divides by it
    after `top_k` and `top_p`, and here it does so before them, as elsewhere.

    The paper has windows of 6 and a `penalty` of 0.1; defaults are those of the code.
    """

    source: ClassVar[str] = "Liu et al. 2025, arXiv 2512.22737"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True
    window: int = option(16, "positions from the leftmost open one on that a forward predicts", min=1)
    tau: float = option(0.4, "nats of entropy and penalty below which a token is committed", min=0)
    penalty: float = option(0.02, "nats for every position between a mask and the leftmost one", min=0)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        if block_causal:
            return Sliding(self.window, within=1) if one_by_one(asked) else asked
        return Sliding(self.window)

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.open, order=known_first(s))

    def step(self, s: State, p: Pred) -> State:
        distance = s.place - leftmost(s.open).long().argmax(-1, keepdim=True)
        score = only(s.open, -(p.entropy() + self.penalty * distance))
        _, tokens, confidence = p.sample(s, self.temperature, self.top_k, self.top_p)
        return s.commit(above(score, score > -self.tau), tokens, confidence)

    def done(self, s: State) -> Tensor:
        """What is known at the left end of the window leaves it."""
        return ~s.open[:, 0]
