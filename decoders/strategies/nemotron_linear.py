"""Nemotron-Labs-Diffusion's linear self-speculation: a block is drafted by diffusion and verified causally."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Pred, State, leftmost, option, until_first
from decoders.strategies.speculation.turns import InTurns, Turn


@dataclass(frozen=True)
class NemotronLinear(InTurns):
    """Draft the next block in one forward, verify it in a second one that is causal, and take what the two agree on and
    one token more. Fu et al. 2026, 2607.05722; `linear_spec_generate` in the checkpoints' own code.

    Every token comes from the causal forward, conditioned on the tokens to its left, and a draft is accepted if it is
    the same token: so at temperature 0 the tokens are those of `left_to_right`, and with a `temperature` samples have
    its distribution. The next block begins at the first disagreement, and the rest is drafted again: blocks of the size
    of the windows slide along the row. A round takes two forwards and gives between one token and a whole block.

    In the official code a block begins with the last accepted token, which sees the block's masks, and the very first
    token comes from a causal forward; here the block begins after that token, which is context. So drafts may differ,
    and tokens do not. The official code stops with an error if no draft is above `threshold`; here such a round gives
    one token.
    """

    source: ClassVar[str] = "Fu et al. 2026, arXiv 2607.05722"
    attested: ClassVar[Attested] = "code"
    needs_mask: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True
    threshold: float = option(0.0, "confidence above which a draft is shown to the verifier", min=0, max=1)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)

    def step(self, s: State, p: Pred) -> State:
        m: Turn = s.memo
        _, tokens, confidence = p.sample(s, self.temperature, self.top_k, self.top_p)
        failed = s.open & (tokens != m.drafts)
        taken = s.open & (until_first(failed) | leftmost(failed)) & m.verify[:, None]
        drafts = torch.where(confidence > self.threshold, tokens, s.blank())
        return replace(s.commit(taken, tokens, confidence), memo=Turn(drafts, ~m.verify, failed.long()))

    def done(self, s: State) -> Tensor:
        return ~s.memo.verify  # type: ignore[no-any-return]
