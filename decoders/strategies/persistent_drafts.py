"""Persistent drafts: several steps per forward. The model is shown its own next tokens beside the canvas, and those
that stay the likeliest are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import (
    Attested,
    Candidates,
    Decoder,
    Pred,
    Query,
    State,
    choose,
    only,
    option,
    rank,
    top,
    until_first,
)
from decoders.strategies.frechet import jointly_likeliest


class Drafts(NamedTuple):
    """The tokens that the last prediction would have decided next."""

    tokens: Tensor  # (B, W) long
    rank: Tensor  # (B, W) long  0 for the surest; `ahead` or more is no draft


@dataclass(frozen=True)
class PersistentDrafts(Decoder):
    """Commit by Fréchet's bound (`frechet`), and before that up to `ahead` drafts, which are the most confident
    predictions that the last step left open: beside the canvas, the forward shows the model the first draft, the first
    two, and so on (`Query.beside`). The first draft is committed if the model, seeing the tokens that were committed
    since, still finds it the likeliest, with a probability of at least `keep` or as one that the bound commits now; the
    second one if, seeing the first, it still does; and so on. The bound is then applied to the prediction beside the
    last committed draft. Ours.

    It combines Fast-dLLM++'s bound (2606.02955), FreeDave's several canvases in a forward (2510.00294) and
    CreditDecoding's observation that a token that stays the likeliest can be committed sooner (2510.06133). It is not
    lossless as `freedave` is: a draft need not be the token that the rule alone would have decided next, which is why
    it is faster. Measured on nano's validation items (docs/best.md), on the same canvases: `freedave` with guesses of
    the next states of `threshold` saves less, because a guess with one wrong position is lost; drafts in another order
    than by confidence, or more than one per canvas, are worse. Requiring only that a draft stays the likeliest token
    (`keep=0`) loses little accuracy in short texts and a lot in longer ones; the default is the smallest `keep` with
    the bound's own accuracy there.

    Positions right of a decided stop token are decided when they are sure, but they are not drafted, and they do not
    count as the one best position that every forward decides. Every forward decides something, so a window of W
    positions takes at most W forwards, each of which costs up to 1 + `ahead`. With `ahead=0` it is `frechet`.
    """

    source: ClassVar[str] = "cf. arXiv 2606.02955, 2510.00294, 2510.06133"
    attested: ClassVar[Attested] = "ours"
    needs_mask: ClassVar[bool] = True
    delta: float = option(
        0.75, "by how much Fréchet's lower bound must exceed the upper; smaller commits more", min=-1, max=1
    )
    ahead: int = option(3, "drafts that a forward may decide", min=0)
    keep: float = option(0.8, "probability that a draft must keep", min=0, max=1)

    def begin(self, s: State) -> State:
        return replace(s, memo=Drafts(s.tokens, torch.full_like(s.tokens, self.ahead)))

    def query(self, s: State) -> Query:
        d: Drafts = s.memo
        i = torch.arange(self.ahead, device=s.tokens.device)[:, None]
        drafted = s.open[:, None] & (d.rank[:, None] <= i)  # (B, A, W): candidate i shows the drafts up to number i
        asked = (s.open[:, None] & (d.rank[:, None] == i)).any(-1, keepdim=True)
        tokens = torch.where(drafted, d.tokens[:, None], s.tokens[:, None])
        return Query(s.tokens, s.open, beside=Candidates(tokens, s.open[:, None] & ~drafted & asked))

    def step(self, s: State, p: Pred) -> State:
        d: Drafts = s.memo
        stands = torch.ones_like(s.key, dtype=torch.bool)
        tokens, confidence = p.best()
        for i, other in enumerate(p.beside):
            draft = s.open & (d.rank == i)
            beside = (s.open & ~draft).any(-1)  # otherwise the candidate wanted nothing
            sure = (confidence >= self.keep) | self.decides(s, confidence)
            lasts = draft & (tokens == d.tokens) & sure
            stands = stands & lasts.any(-1) & beside
            s = s.commit(lasts & stands[:, None], tokens, confidence)
            tokens, confidence = choose(stands, other.best(), (tokens, confidence))
        s = s.commit(self.decides(s, confidence), tokens, confidence)
        order = rank(only(self.counts(s), confidence))
        return replace(s, memo=Drafts(tokens, torch.where(self.counts(s), order, self.ahead)))

    def decides(self, s: State, confidence: Tensor) -> Tensor:
        """(B, W) bool: what Fréchet's bound commits at these confidences, or the one best position."""
        score = only(s.open, confidence)
        sure = top(score, jointly_likeliest(score, self.delta))
        wanted = only(self.counts(s), confidence)
        return sure | top(wanted, 1 - (sure & (wanted >= 0)).sum(-1))

    def counts(self, s: State) -> Tensor:
        """(B, W) bool: the open positions that are not right of a decided stop token; in rows that have none, all open
        positions."""
        left = s.open & until_first(s.decided & s.is_stop(s.tokens))
        return torch.where(left.any(-1, keepdim=True), left, s.open)
