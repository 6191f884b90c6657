"""S2D2: one model drafts a block by diffusion and verifies it left to right. Han et al. 2026, arXiv 2603.25702."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, choose, either, first_run, option
from decoders.stats import reference as stats
from decoders.strategies.older import moved
from decoders.strategies.speculation.acceptance import BASE, CONFIDENT, OUTCOMES, Acceptance, Speculative
from decoders.strategies.speculation.base import Base, Dynamic, Joint
from decoders.strategies.speculation.draft import Draft
from decoders.strategies.speculation.routes import Always, Route

COIN, RESIDUAL = 0x42, 0x43  # salts
ROUTING = {k: k for k in ("on", "off", "cost", "dynamic", "estimator", "parameter", "beta")} | {"min_span": "span"}
LENIENT = {k: k for k in ("temper", "ratio", "resample", "confident")}


class Round(NamedTuple):
    """The phase of a row: between a draft and its verification, or before the next draft."""

    draft: Draft
    verify: Tensor  # (B,) bool     the next forward verifies it
    number: Tensor  # (B,) long     drafts made in this window
    how: Tensor  # (B, W) long      which of `outcomes` the last step's commitments were
    route: Any  # the memo of the route for the row
    base: Any  # the memo of the base rule for the window


@dataclass(frozen=True)
class S2D2(Decoder):
    """Draft the block by diffusion, verify its leftmost open run with the same model left to right, and accept by the
    speculative rule. Han et al. 2026, 2603.25702.

    One forward drafts every open position. `route` decides whether the next one verifies: the run of drafts is shown to
    the model causally (block size 1), and `accept` decides which of them are kept. The speculative rule keeps a draft x
    with probability min(1, q(x) / p(x)), and draws the first rejected one from the positive part of q - p. Without
    verification, and if verification commits less than the step's quota, `base` commits drafts.

    With a `temperature` above 0 and `route`, `accept` and `base` as they are by default, samples have the distribution
    of `left_to_right` with the same `temperature`, `top_p` and `top_k`: this holds for any `keep`, since drafts are
    drawn from the same renormalised distribution that acceptance uses. Other settings are not exact, unless they amount
    to the same. Measured on `decoders.testing.oracle`, the total variation between the truth and 4000 samples of four
    positions, where perfect samples are at 0.033 by chance:

        temperature=1.0                                            0.035
        temperature=0.0                                            0.707
        temperature=1.0,accept=(lenient:resample=false)            0.611
        temperature=1.0,route=never                                0.481
        temperature=1.0,route=score                                0.333
        temperature=1.0,base=(dynamic:steps=1)                     0.337
        temperature=1.0,accept=(lenient:confident=true),tau=0.5    0.196
        temperature=1.0,accept=(lenient:temper=0.5)                0.169
        temperature=1.0,accept=(lenient:ratio=0.5)                 0.101

    As in the reference, p and q of an argmax draft (`temperature=0`) are those of temperature 1, so such a run is
    random, too. If a row ends inside a block, the quota divides the part of the block that exists; the reference pads
    the row and divides the whole block. With `keep` below the vocabulary the p of an argmax draft is a little larger
    than in the reference, by the renormalisation.

    The reference's `cache_ver` and `draft_ver` keep the keys and values of the accepted prefix from the causal forward,
    so that later drafts of the block see them as blocks of one. Here the exact rule (`must_recompute`) compares what
    every column saw: the change from draft to verification and back makes the block's columns stale and no column left
    of the block, and no separate commit pass is needed. Those options would only save recomputing the accepted columns
    of the current block, and drafts would then come from another model than the block-causal one; the other columns of
    the block have to run for every draft anyway. So there is no such option.
    """

    source: ClassVar[str] = "Han et al. 2026, arXiv 2603.25702"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("draft", "verify")
    outcomes: ClassVar[tuple[str, ...]] = OUTCOMES
    route: Route = option(Always(), "which drafts are verified")
    accept: Acceptance = option(Speculative(), "which verified drafts stand")
    base: Base = option(Dynamic(), "what commits drafts that are not verified")
    tau: float = option(0.85, "confidence above which a draft is sure", min=0, max=1)
    temperature: float = option(0.0, "0 drafts the likeliest tokens", min=0)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    keep: int = option(64, "support of the draft distribution: its likeliest tokens", min=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "revises", self.base.revises)

    @classmethod
    def respelled(cls, name: str, given: dict[str, str]) -> tuple[str, dict[str, str]]:
        given = moved(given, "route", Route, "always", ROUTING)
        given = moved(given, "accept", Acceptance, "lenient", LENIENT)
        return name, moved(given, "base", Base, "dynamic", {"block_steps": "steps"})

    def init(self, s: State) -> State:
        row, cell = torch.zeros_like(s.key), torch.zeros_like(s.tokens)
        draft = Draft.none(s, min(self.keep, self.top_k or s.vocab, s.vocab))
        return replace(s, memo=Round(draft, row.bool(), row, cell, self.route.init(s), self.base.begin(s)))

    def begin(self, s: State) -> State:
        m: Round = s.memo
        row = torch.zeros_like(m.number)
        return replace(s, memo=m._replace(verify=row.bool(), number=row, base=self.base.begin(s)))

    def phase(self, s: State) -> Tensor:
        return s.memo.verify.long()  # type: ignore[no-any-return]

    def outcome(self, s: State) -> Tensor:
        return s.memo.how  # type: ignore[no-any-return]

    def query(self, s: State) -> Query:
        m: Round = s.memo
        span = first_run(s.open)
        verify = Query(torch.where(span, m.draft.tokens, s.tokens), span, torch.ones_like(m.verify), ahead=True)
        return either(m.verify, verify, Query(s.tokens, self.base.wanted(s)))

    def step(self, s: State, p: Pred) -> State:
        p = p.filtered(self.temperature, self.top_k, self.top_p)
        return choose(s.memo.verify, self.verified(s, p), self.drafted(s, p))

    def drafted(self, s: State, p: Pred) -> State:
        """Draft every open position; commit by the base rule unless the drafts are to be verified."""
        m: Round = s.memo
        s, base = self.base.edited(s, p, m.base)
        draft = Draft.of(s, p, self.keep, self.temperature == 0, self.tau)
        verify, route = self.route(s, p, draft, m.route)
        verify = verify & s.open.any(-1)
        s = replace(s, memo=Round(draft, verify, m.number + 1, torch.full_like(m.how, BASE), route, base))
        return choose(verify, s, self.learned(s, self.base.committed(s, draft, self.quota(s))))

    def verified(self, s: State, p: Pred) -> State:
        """Commit the accepted drafts of the leftmost open run, and as many others as the quota requires."""
        m: Round = s.memo
        ratio = p.prob(m.draft.tokens) / m.draft.chance.clamp(min=torch.finfo(m.draft.probs.dtype).tiny)
        taken, redrawn, how = self.accept(s, m.draft, ratio, self.coin(s))
        tokens = torch.where(redrawn, self.redrawn(s, p, redrawn)[:, None], m.draft.tokens)
        confidence = torch.where(how == CONFIDENT, m.draft.confidence, p.prob(tokens))
        after = replace(s, memo=m._replace(verify=torch.zeros_like(m.verify), how=how)).commit(
            taken, tokens, confidence
        )
        missing = self.quota(s) - taken.sum(-1)
        return self.learned(s, choose(missing > 0, self.base.committed(after, m.draft, missing), after))

    def quota(self, s: State) -> Tensor:
        """(B,) long: how many positions this round has to commit at least."""
        return self.base.quota(s, s.memo.number)

    def coin(self, s: State) -> Tensor:
        """(B, W) the uniform numbers of the acceptance."""
        return s.uniform(COIN)

    def redrawn(self, s: State, p: Pred, where: Tensor) -> Tensor:
        """(B,) a token from the residual at one position a row."""
        d: Draft = s.memo.draft
        return self.pick(d.rest(p, where), (s.uniform(RESIDUAL) * where).sum(-1))

    def pick(self, weight: Tensor, u: Tensor) -> Tensor:
        """(B,) the token sampled from `weight (B, V)` by the uniform number `u (B,)`."""
        return stats.sample(weight.log(), u, 1.0)

    def learned(self, before: State, after: State) -> State:
        """The state after the route has learnt from a round."""
        m: Round = before.memo
        return replace(after, memo=after.memo._replace(route=self.route.learned(before, after, m.verify, m.route)))

    def done(self, s: State) -> Tensor:
        return self.base.done(s, s.memo.base)


@dataclass(frozen=True)
class EditingS2D2(S2D2):
    """`s2d2` for LLaDA2.1: its base rule, the joint threshold of `llada2`, also replaces a decided token where another
    one has a probability above `tau_edit`. Han et al. 2026, 2603.25702, with Bie et al. 2026, 2602.08676."""

    source: ClassVar[str] = "Han et al. 2026, arXiv 2603.25702; Bie et al. 2026, arXiv 2602.08676"
    attested: ClassVar[Attested] = "replayed"
    revises: ClassVar[bool] = True
    base: Base = option(Joint(), "what commits drafts that are not verified, and edits")
    tau: float = option(0.95, "confidence above which a draft is sure", min=0, max=1)

    @classmethod
    def respelled(cls, name: str, given: dict[str, str]) -> tuple[str, dict[str, str]]:
        names = {"block_steps": "steps", "tau_edit": "tau_edit", "max_post": "max_post"}
        if given.get("base") in ("dynamic", "static"):  # older specs chose how to fill; editing was always on
            never = {"tau": "1.0"} if given["base"] == "static" else {}
            given = {key: text for key, text in given.items() if key != "base"} | never
        return super().respelled(name, moved(given, "base", Base, "joint", names))
