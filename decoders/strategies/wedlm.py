"""WeDLM's streaming parallel decoding: masks are read after all known tokens, in a window that slides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, Windows, above, leftmost, only, option
from decoders.core.windows import Sliding, one_by_one


def known_first(s: State) -> Tensor:
    """(B, W) long: the rank of each position of the window: the known ones come first, then the open ones, both from
    left to right, and last those that the row does not have."""
    known = s.present & ~s.open
    behind = known.sum(-1, keepdim=True) + s.open.cumsum(-1)
    return torch.where(known, known.cumsum(-1) - 1, torch.where(s.open, behind - 1, s.place))


@dataclass(frozen=True)
class WeDLM(Decoder):
    """Show the model a window of `window` positions from the leftmost open one on, in which the masks are read after
    all known tokens, each position with its place in the text (topological reordering); commit every mask whose entropy
    plus `penalty` times its distance from the leftmost mask is below `tau`, and always the one with the lowest sum. Liu
    et al. 2025, 2512.22737, Algorithm 1 and equation 11.

    A known token sees only the known tokens left of it, so its keys and values are final as soon as no position to its
    left is open; masks see all known tokens, also those to their right. The window slides as soon as its first position
    is committed, and is filled up with masks.

    The paper's Algorithm 1 fills the window up after a forward; its Figure 3 and the code (`WeDLMDecoder` in
    Tencent/WeDLM) do so before it, so that every forward has `window` positions from the leftmost mask on, and this
    class follows them. The code first runs a forward over the prompt alone, which commits nothing. The code divides by
    the temperature after `top_k` and `top_p`, and this library before them, as in all its strategies.

    The paper uses windows of 6 and a `penalty` of 0.1; the defaults here are those of the code.
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
        """(B,) bool: the first position of the window is known, so the window slides."""
        return ~s.open[:, 0]
