"""CreditDecoding: a token that was the likeliest in earlier forwards is committed sooner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, above, only, option

TIE = 1e-5
SPENT = 1e-9
"""A credit that has faded to this share has no effect: it changes a logit by less than the precision of float32."""


class Credits(NamedTuple):
    """The credits of each of the last K forwards of the window, a column for each; the oldest is overwritten."""

    token: Tensor  # (B, W, K) long
    credit: Tensor  # (B, W, K) float  to that token, decayed since


@dataclass(frozen=True)
class Credit(Decoder):
    """Fast-dLLM's threshold, on logits that are raised by `alpha` log(1 + C) for each token with a credit C; a token
    gains credit in every forward in which it is the likeliest. CreditDecoding, 2510.06133;
    `CreditThresholdParallelDecoder` of dInfer, 2510.08666.

    In every forward all credits are multiplied by `decay`, and at each open position the likeliest token gains its
    probability to the power `gamma`. Then positions at or above `tau` are committed, or else the best one and those
    that tie with it to 1e-5, as in the reference. A position whose likeliest token is the mask is no candidate, unless
    there is no other: then the best of them takes its second choice; the reference would wait forever. With `alpha=0`
    it is dInfer's `ThresholdParallelDecoder`.

    The reference keeps a credit for every token of the vocabulary. Here the gains of the last K forwards are kept,
    which is enough: one token per position gains in a forward, a window takes at most W forwards, and the share `decay
    ** K` of a credit remains after K forwards. K is W, or the number of forwards after which a billionth remains (94
    for a decay of 0.8).
    """

    source: ClassVar[str] = "CreditDecoding, 2025, arXiv 2510.06133; dInfer, 2025, arXiv 2510.08666"
    attested: ClassVar[Attested] = "replayed"
    tau: float = option(0.9, "confidence from which a token is committed", min=0, max=1)
    alpha: float = option(0.7, "weight of the credits", min=0)
    decay: float = option(0.8, "share of a credit that remains from one forward to the next", min=0, max=1)
    gamma: float = option(0.2, "power of the probability that a token gains", min=0)

    def begin(self, s: State) -> State:
        none = s.tokens[..., None].expand(-1, -1, self.kept(s.tokens.shape[1]))
        return replace(s, memo=Credits(torch.zeros_like(none), torch.zeros(none.shape, device=none.device)))

    def kept(self, W: int) -> int:
        """K: the number of forwards that are kept for a window of W positions."""
        if self.decay in (0, 1):
            return W if self.decay else 1
        return min(W, ceil(log(SPENT) / log(self.decay)) + 1)

    def step(self, s: State, p: Pred) -> State:
        memo = self.gained(s, *p.best())
        p = self.fused(p, memo)
        tokens, confidence, score = guarded(s, p)
        sure = score >= (score.amax(-1, keepdim=True) - TIE).clamp(max=self.tau)
        return replace(s, memo=memo).commit(above(score, sure), tokens, confidence)

    def gained(self, s: State, token: Tensor, probability: Tensor) -> Credits:
        """The credits after this forward."""
        memo: Credits = s.memo
        K = memo.token.shape[-1]
        now = torch.arange(K, device=s.tokens.device) == (s.step % K)[:, None, None]  # (B, 1, K)
        gain = torch.where(s.open, probability.float() ** self.gamma, 0.0)
        return Credits(
            torch.where(now, token[..., None], memo.token), torch.where(now, gain[..., None], memo.credit * self.decay),
        )

    def fused(self, p: Pred, memo: Credits) -> Pred:
        """The prediction with the credits added to its logits."""
        at = p.at.clamp(max=p.width - 1)[..., None].expand(-1, -1, memo.token.shape[-1])
        credit = torch.zeros_like(p.logits).scatter_add(
            2, memo.token.gather(1, at), memo.credit.gather(1, at).to(p.logits.dtype)
        )
        return replace(p, logits=p.logits + self.alpha * credit.log1p())


def guarded(s: State, p: Pred) -> tuple[Tensor, Tensor, Tensor]:
    """(B, W) long, (B, W) and (B, W): the likeliest token that is not the mask, its probability, and the score by which
    open positions are ranked: that probability, and a negative number where the mask is likelier."""
    tokens, confidence = p.best()
    if s.mask_id is None:
        return tokens, confidence, only(s.open, confidence)
    blank = tokens == s.mask_id
    tokens, _ = p.without((s.mask_id,)).best()
    confidence = p.prob(tokens)
    return tokens, confidence, only(s.open, torch.where(blank, confidence - 2, confidence))
