"""S2D2: one model drafts a block by diffusion and verifies it left to right. Han et al. 2026, arXiv 2603.25702."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import (
    Decoder,
    Pred,
    Query,
    State,
    above,
    choose,
    either,
    first_run,
    leftmost,
    only,
    option,
    share,
    until_first,
)
from decoders.stats import reference as stats
from decoders.strategies.left_to_right import drawn_in_a_race
from decoders.strategies.s2d2_routing import PARAMETER, Bandit, Estimator, Route, acceptance, bucket, expected_length

DRAW, COIN, RESIDUAL = 0x41, 0x42, 0x43  # salts
BASE, ACCEPTED, RESAMPLED, RATIO, CONFIDENT = range(5)


class Draft(NamedTuple):
    """What is carried from a draft to its verification, and from block to block."""

    tokens: Tensor  # (B, W) long
    confidence: Tensor  # (B, W)     their probability
    kept: Tensor  # (B, W, K) long   the draft distribution: its K likeliest tokens
    probs: Tensor  # (B, W, K)       and their renormalised probabilities
    verify: Tensor  # (B,) bool      the next forward verifies
    round: Tensor  # (B,) long       drafts made in this window
    on: Tensor  # (B,) bool          hysteresis
    bucket: Tensor  # (B,) long      the bandit's context of this draft
    bandit: Bandit
    how: Tensor  # (B, W) long       what the last step's commitments were, see `outcomes`
    post: Tensor  # (B,) long        with edits: drafts that began with nothing open
    settled: Tensor  # (B,) bool     with edits: the last of them changed nothing


def residual(q: Tensor, kept: Tensor, probs: Tensor) -> Tensor:
    """(B, V) the positive part of `q (B, V)` less the draft distribution on its tokens `kept (B, K)`; q itself where nothing is left.
    What is drawn where a draft is rejected; not normalised. Leviathan et al. 2023, 2211.17192, section 2.3."""
    rest = q.scatter_add(1, kept, -probs).clamp(min=0)
    return torch.where(rest.sum(-1, keepdim=True) > 0, rest, q)


@dataclass(frozen=True)
class S2D2(Decoder):
    """Draft the block by diffusion, verify its leftmost open run with the same model left to right, and accept by the speculative
    rule. Han et al. 2026, 2603.25702.

    One forward drafts every open position. `route` decides whether the next one verifies: the run of drafts is shown to the model
    causally (block size 1), a draft x stands with probability min(1, (q(x) / p(x))^temper), and the first that does not is drawn
    from the positive part of q - p. Without verification, and for what verification left of the step's quota, the base rule commits
    drafts: all above `tau`, strictly, or as many as the quota. The bandit's reward is tokens per forward; `score` is the expected
    number of accepted drafts less the cost, which is `cost`, or with `dynamic` that times the number of confident drafts.

    With a `temperature` above 0 and `route=always`, and `temper`, `ratio`, `resample`, `confident` and `block_steps` as they are by
    default, samples have the distribution of `left_to_right` with the same `temperature`, `top_p` and `top_k`: whatever `keep` is,
    since the drafts are drawn from the renormalised distribution that they are judged by. Nothing else is exact, unless it happens to
    do the same. Measured on `decoders.testing.oracle`, the total variation between the truth and 4000 samples of four positions,
    where perfect samples are at 0.033 by chance:

        temperature=1.0                          0.035
        temperature=0.0                          0.707
        temperature=1.0,resample=false           0.611
        temperature=1.0,route=never              0.481
        temperature=1.0,route=score              0.333
        temperature=1.0,block_steps=1            0.337
        temperature=1.0,confident=true,tau=0.5   0.196
        temperature=1.0,temper=0.5               0.169
        temperature=1.0,ratio=0.5                0.101

    As in the reference, p and q of an argmax draft (`temperature=0`) are those of temperature 1, so that such a run is random, too.
    Where a row ends inside a block, the quota divides what there is of it; the reference pads the row and divides the whole block.
    With `keep` below the vocabulary the p of an argmax draft is a little larger than in the reference, by the renormalisation.

    The reference's `cache_ver` and `draft_ver` keep the keys and values of the accepted prefix from the causal forward, so that
    later drafts of the block see them as blocks of one. Here the exact rule (`must_recompute`) compares what every column saw: the
    turn from draft to verification and back makes the block's columns stale and nothing left of the block, and there is never a
    commit pass. What those options would still save are the accepted columns of the current block, at the price of drafts from
    another model than the block-causal one; a draft, which changes for every token that a block gets, has to run the rest of them
    anyway. So there is no such option.
    """

    source: ClassVar[str] = "Han et al. 2026, arXiv 2603.25702"
    needs_mask: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("draft", "verify")
    outcomes: ClassVar[tuple[str, ...]] = ("base", "accepted", "resampled", "ratio", "confident")
    route: Route = option("always", "which drafts are verified")
    base: Literal["dynamic", "static"] = option("dynamic", "base rule: all drafts above tau, or the quota only")
    tau: float = option(0.85, "confidence above which the base rule commits a draft", min=0, max=1)
    block_steps: int | None = option(None, "drafts of a block, for the quota of each; none: one position each", min=1)
    min_span: int = option(1, "min_span: length of the run from which it is verified", min=0)
    on: float = option(0.0, "score: the score from which; hysteresis: above which to begin verifying")
    off: float = option(0.0, "hysteresis: score below which to stop")
    cost: float = option(1.0, "score, hysteresis: what a verification has to save", min=0)
    dynamic: bool = option(False, "score, hysteresis: the cost is per draft above tau")
    estimator: Estimator = option("soft_entropy", "score, hysteresis: how acceptance is foretold")
    parameter: float | None = option(None, "of the estimator; none: the reference's", min=0)
    beta: float = option(1.0, "ucb: weight of what is unknown", min=0)
    temperature: float = option(0.0, "0 drafts the likeliest tokens", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    keep: int = option(64, "support of the draft distribution: its likeliest tokens", min=1)
    temper: float = option(1.0, "exponent of the ratio; below 1 accepts more", min=0)
    ratio: float | None = option(None, "also accept what has this ratio, even right of a rejection", min=0, max=1)
    resample: bool = option(True, "draw a rejected position anew; else commit its draft all the same")
    confident: bool = option(False, "a verification also commits the open drafts above tau")

    def init(self, s: State) -> State:
        (B, W), K, dtype = s.tokens.shape, min(self.keep, self.top_k or s.vocab, s.vocab), torch.float32
        row, cell = torch.zeros_like(s.key), torch.zeros_like(s.tokens)
        kept = cell[..., None].expand(B, W, K)
        no = row.bool()
        return replace(s, memo=Draft(
            cell, cell.to(dtype), kept, kept.to(dtype), no, row, no, row, Bandit.new(B, row.device), cell, row, no,
        ))

    def begin(self, s: State) -> State:
        d: Draft = s.memo
        no, zero = torch.zeros_like(d.verify), torch.zeros_like(d.round)
        return replace(s, memo=d._replace(verify=no, round=zero, post=zero, settled=no))

    def phase(self, s: State) -> Tensor:
        return s.memo.verify.long()  # type: ignore[no-any-return]

    def outcome(self, s: State) -> Tensor:
        return s.memo.how  # type: ignore[no-any-return]

    def query(self, s: State) -> Query:
        d: Draft = s.memo
        span = first_run(s.open)
        verify = Query(torch.where(span, d.tokens, s.tokens), span, torch.ones_like(d.verify), ahead=True)
        return either(d.verify, verify, Query(s.tokens, s.open))

    def step(self, s: State, p: Pred) -> State:
        p = p.filtered(self.temperature, self.top_k, self.top_p)
        return choose(s.memo.verify, self.verify(s, p), self.draft(s, p))

    def draft(self, s: State, p: Pred) -> State:
        """Draft all that is open; commit by the base rule unless the drafts are to be verified."""
        kept, probs = p.top(self.keep)
        tokens = self.choice(s, kept, probs)
        confidence = p.prob(tokens)
        verify, on, where = self.routed(s, p, confidence)
        d: Draft = s.memo
        s = replace(s, memo=d._replace(
            tokens=tokens, confidence=confidence.to(d.confidence.dtype), kept=kept, probs=probs.to(d.probs.dtype), verify=verify, on=on,
            bucket=where, round=d.round + 1, how=torch.full_like(d.how, BASE),
        ))
        return choose(verify, s, self.rewarded(s, self.based(s, self.quota(s))))

    def choice(self, s: State, kept: Tensor, probs: Tensor) -> Tensor:
        """(B, W) the drafts: the likeliest tokens, or samples of the draft distribution."""
        if self.temperature == 0:
            return kept[..., 0]
        index = stats.sample(probs.log().flatten(0, 1), s.uniform(DRAW).flatten(), 1.0).view_as(s.tokens)
        return kept.gather(-1, index.clamp(max=kept.shape[-1] - 1)[..., None])[..., 0]  # unasked positions have nothing to draw from

    def verify(self, s: State, p: Pred) -> State:
        """Accept the drafts of the leftmost open run up to the first that fails, draw that one anew, and see to the quota."""
        d: Draft = s.memo
        span = first_run(s.open)
        own = (d.probs * (d.kept == d.tokens[..., None])).sum(-1)  # what the drafts were drawn with
        ratio = (p.prob(d.tokens) / own.clamp(min=torch.finfo(own.dtype).tiny)).clamp(max=1) ** self.temper
        failed = span & ~(self.coin(s) < ratio)
        accepted, rejected = span & until_first(failed), leftmost(failed)
        by_ratio = span & ~accepted & ~rejected & (ratio >= self.ratio) if self.ratio is not None else torch.zeros_like(span)
        tokens = torch.where(rejected, self.redrawn(s, p, rejected)[:, None], d.tokens) if self.resample else d.tokens
        taken = accepted | rejected | by_ratio
        how = ACCEPTED * accepted + (RESAMPLED if self.resample else ACCEPTED) * rejected + RATIO * by_ratio  # one of them, else BASE
        after = replace(s, memo=d._replace(verify=torch.zeros_like(d.verify), how=how)).commit(taken, tokens, p.prob(tokens))
        if self.confident:
            sure = after.open & (d.confidence > self.tau)
            after = replace(after, memo=after.memo._replace(how=torch.where(sure, CONFIDENT, how))).commit(sure, d.tokens, d.confidence)
        missing = self.quota(s) - (s.open & ~after.open).sum(-1)
        return self.rewarded(s, choose(missing > 0, self.based(after, missing), after))

    def coin(self, s: State) -> Tensor:
        """(B, W) the uniform numbers of the acceptance."""
        return s.uniform(COIN)

    def redrawn(self, s: State, p: Pred, where: Tensor) -> Tensor:
        """(B,) a token from the residual at one position a row."""
        d: Draft = s.memo
        row = where.long().argmax(-1)[:, None, None].expand(-1, 1, d.kept.shape[-1])
        q, kept, probs = p.probs_at(where), d.kept.gather(1, row)[:, 0], d.probs.gather(1, row)[:, 0]
        return self.pick(residual(q, kept, probs.to(q.dtype)), (s.uniform(RESIDUAL) * where).sum(-1))

    def pick(self, weight: Tensor, u: Tensor) -> Tensor:
        """(B,) the token of `weight (B, V)` in whose share the uniform number `u (B,)` falls."""
        return stats.sample(weight.log(), u, 1.0)

    def quota(self, s: State) -> Tensor:
        """(B,) long: how many positions this round has to commit at least."""
        d: Draft = s.memo
        return torch.ones_like(d.round) if self.block_steps is None else share(s.size, self.block_steps, d.round - 1)

    def based(self, s: State, at_least: Tensor) -> State:
        """The base rule on the drafts."""
        d: Draft = s.memo
        sure = d.confidence > self.tau if self.base == "dynamic" else torch.zeros_like(s.open)
        return s.commit(above(only(s.open, d.confidence), sure, at_least), d.tokens, d.confidence)

    def routed(self, s: State, p: Pred, confidence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) whether to verify, whether hysteresis is on, and the bandit's bucket. Where nothing is open nothing changes."""
        d: Draft = s.memo
        some = s.open.any(-1)
        match self.route:
            case "always" | "never":
                return some & (self.route == "always"), d.on, d.bucket
            case "min_span":
                return some & (first_run(s.open).sum(-1) >= self.min_span), d.on, d.bucket
            case "ucb":
                where = bucket(s, p)
                return some & d.bandit.verifies(where, self.beta), d.on, where
        score = self.score(s, p, confidence)
        if self.route == "score":
            return some & (score >= self.on), d.on, d.bucket
        on = torch.where(some, (score > self.on) | d.on & ~(score < self.off), d.on)
        return some & on, on, d.bucket

    def score(self, s: State, p: Pred, confidence: Tensor) -> Tensor:
        """(B,): how many drafts of the leftmost open run are likely to be accepted, less what it costs to ask."""
        value = PARAMETER[self.estimator] if self.parameter is None else self.parameter
        alpha = acceptance(self.estimator, value, s, p, confidence)
        cost = self.cost * (s.open & (confidence > self.tau)).sum(-1) if self.dynamic else self.cost
        return expected_length(alpha, first_run(s.open)) - cost

    def rewarded(self, before: State, after: State) -> State:
        """The bandit learns what a round has made."""
        if self.route != "ucb":
            return after
        d: Draft = before.memo
        made = (before.open & ~after.open).sum(-1)
        bandit = choose(before.open.any(-1), d.bandit.learn(d.bucket, d.verify, made), d.bandit)
        return replace(after, memo=after.memo._replace(bandit=bandit))


@dataclass(frozen=True)
class EditingS2D2(S2D2):
    """`s2d2` for LLaDA2.1, whose base rule, the joint threshold of `llada2`, also overwrites what is decided where another token has
    more than `tau_edit`. Han et al. 2026, 2603.25702, with Bie et al. 2026, 2602.08676.

    Edits come from drafts and are made before the verifier sees the block. A block ends when a draft that began with nothing open
    has changed nothing, or after `max_post` such drafts.
    """

    source: ClassVar[str] = "Han et al. 2026, arXiv 2603.25702; Bie et al. 2026, arXiv 2602.08676"
    revises: ClassVar[bool] = True
    tau: float = option(0.95, "confidence above which the base rule commits a draft", min=0, max=1)
    tau_edit: float = option(0.9, "confidence above which another token replaces a decided one; above 1: no editing", min=0)
    max_post: int = option(16, "drafts of a block with nothing open, at most", min=0)

    def query(self, s: State) -> Query:
        q = super().query(s)
        return replace(q, want=torch.where(s.memo.verify[:, None], q.want, s.editable))

    def draft(self, s: State, p: Pred) -> State:
        full = ~s.open.any(-1)
        tokens, confidence = p.best()
        edit = s.editable & ~s.open & (tokens != s.tokens) & (confidence > self.tau_edit)
        memo = s.memo._replace(post=s.memo.post + full, settled=full & ~edit.any(-1))
        return super().draft(replace(s.edit(edit, tokens, confidence), memo=memo), p)

    def done(self, s: State) -> Tensor:
        d: Draft = s.memo
        return ~s.open.any(-1) & (d.settled | (d.post >= self.max_post))


class Coupling(NamedTuple):
    """What the two sides of `Coupled` share."""

    drafts: Tensor  # (B, W) long
    verify: Tensor  # (B,) bool  the next forward verifies
    how: Tensor  # (B, W) long


@dataclass(frozen=True)
class Coupled(Decoder):
    """Self-speculation whose tokens are those of autoregression, one by one: `left_to_right` with the same `temperature` (by the
    race, where it is not 0), `top_p` and `top_k`. Ours; after Han et al. 2026, 2603.25702.

    Drafter and verifier race with the same timeless Gumbel noise. A draft stands while both sides agree, and where they first do
    not, the verifier's own sample is taken, so that every token is the one that autoregression would have raced to. No draft
    distribution is kept and no coin is flipped; all open positions are verified, not the leftmost run alone. Equal up to rounding: a
    near tie can fall the other way where logits of the same thing are computed in two layouts.

    A verification that takes fewer than `redraft` positions leaves its samples right of them as the next drafts (a Jacobi iteration)
    instead of asking for new ones. By default, 2, no row takes more than a forward a token and one a block, even on a model that
    was never trained to be causal; 1 always drafts anew.
    """

    source: ClassVar[str] = "after Han et al. 2026, arXiv 2603.25702"
    needs_mask: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("draft", "verify")
    outcomes: ClassVar[tuple[str, ...]] = ("accepted", "resampled")
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    redraft: int = option(2, "a verification that takes fewer provides the next drafts itself", min=1)

    def init(self, s: State) -> State:
        zero = torch.zeros_like(s.tokens)
        return replace(s, memo=Coupling(zero, torch.zeros_like(s.key, dtype=torch.bool), zero))

    def begin(self, s: State) -> State:
        return replace(s, memo=s.memo._replace(verify=torch.zeros_like(s.memo.verify)))

    def phase(self, s: State) -> Tensor:
        return s.memo.verify.long()  # type: ignore[no-any-return]

    def outcome(self, s: State) -> Tensor:
        return s.memo.how  # type: ignore[no-any-return]

    def query(self, s: State) -> Query:
        m: Coupling = s.memo
        return Query(torch.where(s.open & m.verify[:, None], m.drafts, s.tokens), s.open, m.verify, ahead=True)

    def step(self, s: State, p: Pred) -> State:
        m: Coupling = s.memo
        p = p.filtered(self.temperature, self.top_k, self.top_p)
        own = drawn_in_a_race(s, p, self.temperature)
        failed = s.open & (own != m.drafts)
        taken = s.open & (until_first(failed) | leftmost(failed)) & m.verify[:, None]
        again = m.verify & (taken.sum(-1) < self.redraft)
        return replace(s.commit(taken, own, p.prob(own)), memo=Coupling(own, ~m.verify | again, failed.long()))
