"""Self-speculation by shared noise: the tokens are those of autoregression, one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from decoders.core import Attested, Blocks, Pred, State, Windows, leftmost, option, until_first
from decoders.core.windows import one_by_one
from decoders.strategies.left_to_right import drawn_in_a_race
from decoders.strategies.speculation.turns import InTurns, Turn


@dataclass(frozen=True)
class Coupled(InTurns):
    """Self-speculation that produces exactly the tokens of `left_to_right` with the same `temperature` (and
    `race=true`, if that is not 0), `top_p` and `top_k`. Ours; after Han et al. 2026, 2603.25702.

    Drafter and verifier sample by Gumbel races with the same timeless noise. Drafts are accepted up to the first one
    that differs from the verifier's sample, which replaces it; so every token is the one that autoregression would have
    sampled. No draft distribution is stored and no acceptance is drawn; all open positions are verified, not only the
    leftmost run. Tokens are equal up to rounding: a near tie can be decided differently if the same logits are computed
    in two layouts.

    A verification that takes fewer than `redraft` positions leaves its samples right of them as the next drafts (a
    Jacobi iteration) instead of asking for new ones. With the default 2, a row takes at most one forward per token plus
    one per block, even on a model that was never trained to be causal; with 1 it always drafts again.

    A causal model cannot draft from both sides. On it every forward verifies and leaves its samples as the next drafts:
    Jacobi decoding (Santilli et al. 2023, 2305.10427), in windows of `ahead` positions.
    """

    source: ClassVar[str] = "after Han et al. 2026, arXiv 2603.25702"
    attested: ClassVar[Attested] = "ours"
    needs_mask: ClassVar[bool] = True
    leftward: ClassVar[bool] = True
    maskless: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    redraft: int = option(2, "a verification that takes fewer provides the next drafts itself", min=1)
    ahead: int = option(16, "on a causal model, positions in a window, where its windows have one", min=1)

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return Blocks(self.ahead, within=1) if block_causal and one_by_one(asked) else asked

    def begin(self, s: State) -> State:
        return replace(s, memo=s.memo._replace(verify=torch.full_like(s.memo.verify, s.causal)))

    def step(self, s: State, p: Pred) -> State:
        m: Turn = s.memo
        p = p.filtered(self.temperature, self.top_k, self.top_p)
        own = drawn_in_a_race(s, p, self.temperature)
        failed = s.open & (own != m.drafts)
        taken = s.open & (until_first(failed) | leftmost(failed)) & m.verify[:, None]
        again = m.verify & (taken.sum(-1) < self.redraft)
        verify = ~m.verify | again | s.causal
        return replace(s.commit(taken, own, p.prob(own)), memo=Turn(own, verify, failed.long()))
