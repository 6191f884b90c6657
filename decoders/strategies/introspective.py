"""I-DLM's introspective strided decoding: one causal forward verifies the last drafts and makes the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, Windows, leftmost, option, until_first
from decoders.core.tree import mapped
from decoders.core.windows import Sliding, one_by_one
from decoders.stats import reference as stats
from decoders.strategies.speculation.draft import Draft

COIN, REST = 0x45, 0x46  # salts


class Stride(NamedTuple):
    """The memo from one forward to the next."""

    draft: Draft
    drafted: Tensor  # (B, W) bool  the positions with a draft, in the window that began at `start`
    start: Tensor  # (B,) long  the place in the text where that window began
    how: Tensor  # (B, W) long  the index in `outcomes` of each token that the last step committed


@dataclass(frozen=True)
class Introspective(Decoder):
    """Show the model the drafts of the last forward and masks after them, causally: the same forward verifies the
    drafts, gives one token more, and drafts the next `stride` - 1 tokens in the masks. Yu et al. 2026, 2604.11035;
    `IDLMBlockN` in thuEcstasy/I-DLM.

    A draft x with probability q(x) is accepted with probability min(1, p(x) / q(x)) for the verifier's p. The first
    rejected one is drawn from the positive part of p - q, and the positions to its right are drafted again; if all are
    accepted, the next token is drawn from p. So the tokens have the distribution of `left_to_right` with the same
    `temperature`, `top_p` and `top_k`, and at temperature 0 they are its tokens, because a draft is then accepted if it
    is the likeliest one. A forward gives between one token and `stride` tokens.

    Above temperature 0 the code drafts the likeliest token and accepts it as if it had been drawn from q, which changes
    the distribution, and its p and q are those before `top_k` and `top_p`; here a draft is drawn from the `keep`
    likeliest tokens after both, and q is the distribution it was drawn from. The authors' lossless variant has an
    adapter for masks only, which is not included.
    """

    source: ClassVar[str] = "Yu et al. 2026, arXiv 2604.11035"
    attested: ClassVar[Attested] = "code"
    needs_mask: ClassVar[bool] = True
    leftward: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("draft", "verify and draft")
    outcomes: ClassVar[tuple[str, ...]] = ("accepted", "resampled", "next")
    stride: int = option(4, "tokens that one forward may give", min=2)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    keep: int = option(64, "support of the draft distribution: its likeliest tokens", min=1)

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        drafts = 2 * self.stride - 1  # those of the last forward, the next token, and new ones
        return Sliding(drafts, within=1) if block_causal and one_by_one(asked) else asked

    def init(self, s: State) -> State:
        draft = Draft.none(s, min(self.keep, self.top_k or s.vocab, s.vocab))
        cell = torch.zeros_like(s.tokens)
        return replace(s, memo=Stride(draft, cell.bool(), s.position[:, 0], cell))

    def begin(self, s: State) -> State:
        """The state in which drafts have kept their places in the text after the window has slid."""
        m: Stride = s.memo
        width = s.tokens.shape[1]
        source = s.place + (s.position[:, 0] - m.start)[:, None]

        def slid(x: Tensor) -> Tensor:
            index = source.clamp(max=width - 1)
            return x.gather(1, index if x.dim() == 2 else index[..., None].expand_as(x))

        draft, drafted = mapped(slid, m.draft), slid(m.drafted) & (source < width) & s.open
        draft = draft._replace(probs=draft.probs * drafted[..., None])
        return replace(s, memo=m._replace(draft=draft, drafted=drafted, start=s.position[:, 0]))

    def phase(self, s: State) -> Tensor:
        return s.memo.drafted.any(-1).long()  # type: ignore[no-any-return]

    def outcome(self, s: State) -> Tensor:
        return s.memo.how  # type: ignore[no-any-return]

    def wanted(self, s: State) -> Tensor:
        """(B, W) bool: the drafts, the next token, and `stride` - 1 masks after it."""
        m: Stride = s.memo
        return s.open & ((s.open & ~m.drafted).cumsum(-1) <= self.stride)

    def query(self, s: State) -> Query:
        m: Stride = s.memo
        tokens = torch.where(m.drafted, m.draft.tokens, s.tokens)
        return Query(tokens, self.wanted(s), torch.ones_like(s.key, dtype=torch.bool), ahead=True)

    def step(self, s: State, p: Pred) -> State:
        m: Stride = s.memo
        p = p.filtered(self.temperature, self.top_k, self.top_p)
        new = Draft.of(s, p, m.draft.kept.shape[-1], self.temperature == 0, 0.0)
        stands = m.drafted & self.accepted(s, p, m.draft, new)
        last = leftmost(s.open & ~stands)  # the first rejected draft, or the position after the last draft
        taken = s.open & until_first(last) | last
        tokens = torch.where(last, self.drawn(s, p, last, new), m.draft.tokens)
        drafted = self.wanted(s) & ~taken & ~(last & m.drafted).any(-1, keepdim=True)
        memo = m._replace(draft=new, drafted=drafted, how=torch.where(m.drafted, last.long(), 2 * last))
        return replace(s.commit(taken, tokens, p.prob(tokens)), memo=memo)

    def accepted(self, s: State, p: Pred, draft: Draft, new: Draft) -> Tensor:
        """(B, W) bool: the drafts that are accepted if all drafts to their left are."""
        if self.temperature == 0:
            return draft.tokens == new.tokens
        ratio = p.prob(draft.tokens) / draft.chance.clamp(min=torch.finfo(draft.probs.dtype).tiny)
        return s.uniform(COIN) < ratio

    def drawn(self, s: State, p: Pred, where: Tensor, new: Draft) -> Tensor:
        """(B, W) the token for the single position `where`; the position after the last draft has no draft, so its
        residual is p itself."""
        if self.temperature == 0:
            return new.tokens
        u = (s.uniform(REST) * where).sum(-1)
        return stats.sample(s.memo.draft.rest(p, where).log(), u, 1.0)[:, None].expand_as(s.tokens)

    def done(self, s: State) -> Tensor:
        return torch.ones_like(s.key, dtype=torch.bool)
