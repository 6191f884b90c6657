"""CoDAR: latents are denoised, and then rounded to tokens from left to right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, choose, leftmost, option
from decoders.strategies.latent.base import Latent
from decoders.strategies.latent.samplers import DPMpp2M
from decoders.strategies.left_to_right import drawn_in_a_race


class Memo(NamedTuple):
    """The phase of a row, and the memo of its sampler."""

    rounding: Tensor  # (B,) bool  its latents are finished
    draft: Tensor  # (B, W) long  their tokens
    own: Any


@dataclass(frozen=True)
class Codar(Decoder):
    """Denoise the latents, then round them to tokens: the model's rounder, an autoregressive decoder that attends to
    the clean latents, writes the tokens from left to right. For models of latents that accept causal queries.

    With `verify` the tokens closest to the latents are a draft. One causal forward gives the rounder's token at each
    position after the draft's tokens to its left; the draft is accepted up to the first difference, where the rounder's
    token is taken. So the tokens are those of rounding one by one (`verify=false`), in one forward plus one for each
    correction, instead of one for each position. This has not been published for CoDAR; it is the verification of S2D2
    (2603.25702), and at a `temperature` both sides sample with the same timeless noise.

    Forwards of the two kinds are its phases, so that traces tell them apart."""

    source: ClassVar[str] = "CoDAR 2026, arXiv 2603.02547"
    attested: ClassVar[Attested] = "abstract"
    revises: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("denoise", "round")
    denoiser: Latent = option(DPMpp2M(steps=16), "the sampler of the latents")
    verify: bool = option(True, "check all positions of the draft in one forward, and not one by one")
    temperature: float = option(0.0, "of the rounding; 0 takes the likeliest token", min=0)

    def windows(self, asked: Any, block_causal: bool) -> Any:
        return self.denoiser.windows(asked, block_causal)

    def begin(self, s: State) -> State:
        own = self.denoiser.begin(s).memo
        return replace(s, memo=Memo(torch.zeros_like(s.key, dtype=torch.bool), s.tokens, own))

    def query(self, s: State) -> Query:
        m: Memo = s.memo
        q = self.denoiser.query(replace(s, memo=m.own))
        assert q.latents is not None
        shown = torch.where(s.open, m.draft, s.tokens) if self.verify else s.tokens
        want, latents = s.open if self.verify else leftmost(s.open), replace(q.latents, said=m.own.said)
        ask = choose(m.rounding, replace(q, tokens=shown, want=want, latents=latents), q)
        return replace(ask, causal=m.rounding, ahead=self.verify)

    def step(self, s: State, p: Pred) -> State:
        return choose(s.memo.rounding, self.rounded(s, p), self.denoised(s, p))

    def denoised(self, s: State, p: Pred) -> State:
        """A step of the sampler. After its last one all decided positions are a draft, and open again."""
        t = self.denoiser.step(replace(s, memo=s.memo.own), p)
        turn = self.denoiser.done(replace(t, step=s.step + 1, clock=s.clock + 1))
        t = replace(t, memo=Memo(turn, t.tokens, t.memo))
        return choose(turn, t.reopen(t.decided), t)

    def rounded(self, s: State, p: Pred) -> State:
        """The draft as far as the rounder agrees, and the rounder's token at the first difference."""
        p = p.filtered(self.temperature)
        token = drawn_in_a_race(s, p, self.temperature)
        stands = self.stands(s, token) if self.verify else leftmost(s.open)
        return s.commit(stands, token, p.prob(token))

    def stands(self, s: State, token: Tensor) -> Tensor:
        """(B, W) bool: the open positions up to the first one where the rounder's `token (B, W)` is not the draft's,
        including that one."""
        other = s.open & (token != s.memo.draft)
        found: Tensor = s.open & (other.cumsum(-1) - other.long() == 0)
        return found

    def phase(self, s: State) -> Tensor:
        return s.memo.rounding.long()  # type: ignore[no-any-return]

    def done(self, s: State) -> Tensor:
        return s.memo.rounding & ~s.open.any(-1)  # type: ignore[no-any-return]
