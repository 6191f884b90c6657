"""Predictor-corrector sampling: steps that lower the noise, and between them steps that correct tokens at the same
noise level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, option
from decoders.strategies.mdlm import without_mask

FATE, RETURN, NOISE = 0x43, 0x44, 0x45  # salts


class Clock(NamedTuple):
    """The times of a forward, (B, 1) double each."""

    t: Tensor  # before
    s: Tensor  # the time to which its prediction leads
    back: Tensor  # the time to which noise leads back: t in a corrector step, s in a predictor step


@dataclass(frozen=True)
class PredictorCorrector(Decoder):
    """A predictor step removes the noise of one step of time; each corrector step after it removes noise and adds as
    much again. Campbell et al. 2022, 2205.14987, section 4.4, for uniform noise (D3PM, Austin et al. 2021, 2107.03006,
    equation 3 and its uniform transitions).

    With alpha = 1 - t and one x_0 drawn from the model, q(x_s | x_t, x_0) is a mixture, from which each position draws:
    it keeps its token, takes x_0, or is noise again. The predictor goes from t to s in this way. The corrector's rate
    in the paper is the sum of the rates of noise and of its reversal, which leaves the distribution at time t
    unchanged. Ours is such a step of finite length: by that mixture from t to t - `depth` / (predictor steps), and by
    noise back to t; both from one forward. With uniform noise any token may be wrong at any time, and a corrector step
    corrects a text without spending its time. In a model with a mask token the process is the absorbing one: a decided
    token stays until noise masks it again.

    `correctors` follow each predictor step but the last, so T of those take T + correctors (T - 1) forwards, T being
    the most that `steps` has room for.
    """

    source: ClassVar[str] = "Campbell et al. 2022, arXiv 2205.14987; Austin et al. 2021, arXiv 2107.03006"
    attested: ClassVar[Attested] = "paper"
    revises: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("predict", "correct")
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    correctors: int = option(1, "corrector steps after each predictor step", min=0)
    depth: float = option(1.0, "how far a corrector step goes, in predictor steps", min=0)
    temperature: float = option(1.0, "0 takes the likeliest token", min=0)

    def predictors(self, s: State) -> Tensor:
        """(B,) long: T."""
        return (s.window_steps(self.steps) + self.correctors) // (1 + self.correctors)

    def phase(self, s: State) -> Tensor:
        return ((s.step % (1 + self.correctors) != 0) & ~self.done(s)).long()

    def clock(self, s: State) -> Clock:
        T, correct = self.predictors(s)[:, None].double(), self.phase(s)[:, None].bool()
        done = ((s.step + self.correctors) // (1 + self.correctors))[:, None]  # predictor steps before this forward
        t = 1 - done / T
        to = torch.where(correct, (t - self.depth / T).clamp(min=0), (t - 1 / T).clamp(min=0))
        return Clock(t, to, torch.where(correct, t, to))

    def query(self, s: State) -> Query:
        want = s.editable if s.mask_id is None else s.open
        return Query(s.tokens, want)

    def step(self, s: State, p: Pred) -> State:
        time = self.clock(s)
        tokens, confidence = without_mask(s, p).draw(s, self.temperature)
        take, noise = absorbing(s, time) if s.mask_id is not None else uniform(s, time, tokens)
        fate = s.uniform(FATE)
        taken = s.editable & (fate < take)
        noisy = s.editable & ((fate >= 1 - noise) | (s.uniform(RETURN) < renoised(time)))
        after = s.edit(taken, tokens, confidence).commit(taken, tokens, confidence).reopen(noisy)
        if s.mask_id is not None:
            return after
        fresh = (s.uniform(NOISE) * s.vocab).long()
        return replace(after, tokens=torch.where(noisy, fresh, after.tokens))

    def done(self, s: State) -> Tensor:
        return s.step >= self.predictors(s) * (1 + self.correctors) - self.correctors


def renoised(time: Clock) -> Tensor:
    """(B, 1): the chance that a position turns to noise from `s` to `back`."""
    return 1 - (1 - time.back) / (1 - time.s).clamp(min=1e-12)


def absorbing(s: State, time: Clock) -> tuple[Tensor, Tensor]:
    """(B, W) and (B, 1): the chances that q(x_s | x_t, x_0) takes x_0, and that it is noise."""
    take = ((time.t - time.s) / time.t.clamp(min=1e-12)) * s.open
    return take, torch.zeros_like(time.t)


def uniform(s: State, time: Clock, x0: Tensor) -> tuple[Tensor, Tensor]:
    """(B, W) each: the same where noise is uniform. The mixture has a part for each way to come from x_0 to x_t: with
    no noise in between, which takes x_0 to be what stands there; with noise until s only (x_t is kept), after s only
    (x_0 is taken), or in both."""
    left, kept = 1 - time.s, (1 - time.t) / (1 - time.s).clamp(min=1e-12)  # not noise by s, and not from s to t
    straight = s.vocab * kept * left * (x0 == s.tokens)
    total = straight + kept * (1 - left) + (1 - kept) * left + (1 - kept) * (1 - left)
    return (straight + (1 - kept) * left) / total, (1 - kept) * (1 - left) / total
