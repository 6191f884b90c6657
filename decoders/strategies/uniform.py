"""Uniform noise: for models without a mask token, in which open positions show random tokens and every position is
predicted at every step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, Query, State, above, only, option, within_bound
from decoders.strategies.mdlm import without_mask

FATE, NOISE = 0x41, 0x42  # salts


class Draft(NamedTuple):
    """The state of convergence of a window."""

    best: Tensor  # (B, W) long  the likeliest tokens of the last forward, -1 before the first
    stable: Tensor  # (B,) long  forwards since they last changed
    finished: Tensor  # (B,) bool


@dataclass(frozen=True)
class Gemma(Decoder):
    """DiffusionGemma's sampler: accept the positions of lowest entropy as long as they are nearly independent, and draw
    new noise at the others. transformers' `EntropyBoundSampler` with `StableAndConfidentStoppingCriteria` (5.23); the
    bound is that of the EB-Sampler, Ben-Hamu et al. 2025, 2505.24857, Equation 7.

    At every step each position is sampled at a temperature that falls in a straight line from `t_max` to `t_min`. In
    order of their entropy at that temperature, positions are accepted as long as the entropies before them sum to at
    most `bound`, which bounds the joint mutual information of the accepted ones. Acceptance lasts for one step; all
    other positions become noise again. The window ends with the likeliest tokens of the last forward: when they have
    not changed for `stability` forwards and the mean entropy is below `confidence`, or after `block_steps` forwards.
    The model conditions on its last prediction at that step's temperature (`Query.level`).

    The last of `block_steps` commits everything, as the official generation loop does; the `step` of diffusers'
    `EntropyBoundScheduler` accepts by the bound at its last timestep too, and leaves the rest to its pipeline.

    A model with a mask token is shown mask tokens instead of noise. Given tokens are left out; the official sampler has
    none.
    """

    source: ClassVar[str] = "transformers 5.23, DiffusionGemma; Ben-Hamu et al. 2025, arXiv 2505.24857"
    attested: ClassVar[Attested] = "replayed"
    revises: ClassVar[bool] = True
    block_steps: int = option(48, "forwards for a window, at most", min=1)
    bound: float = option(0.1, "of the entropies summed, in nats", min=0)
    t_max: float = option(0.8, "temperature before the first step", min=1e-3)
    t_min: float = option(0.4, "temperature that the last step comes near to", min=1e-3)
    stability: int = option(1, "forwards for which the likeliest tokens have to stay the same", min=0)
    confidence: float = option(0.005, "mean entropy, in nats, below which a window may end", min=0)

    def begin(self, s: State) -> State:
        return replace(
            s, memo=Draft(torch.full_like(s.tokens, -1), torch.zeros_like(s.size), torch.zeros_like(s.size).bool())
        )

    def temperature(self, step: Tensor) -> Tensor:
        """(B,) float32: the temperature of a step, counted from 0."""
        left = (self.block_steps - step).float() / self.block_steps
        return self.t_min + (self.t_max - self.t_min) * left

    def query(self, s: State) -> Query:
        return Query(torch.where(s.open, s.blank(), s.tokens), s.editable, level=self.temperature(s.step - 1))

    def step(self, s: State, p: Pred) -> State:
        memo: Draft = s.memo
        p = p.cooled(self.temperature(s.step))
        entropy, (best, sure) = p.entropy(), p.best()
        same = ((best == memo.best) | ~s.editable).all(-1)
        stable = torch.where(same, memo.stable + 1, 0)
        mean = torch.where(s.editable, entropy, 0).sum(-1) / s.editable.sum(-1).clamp(min=1)
        finished = (stable >= self.stability) & (mean < self.confidence) | (s.step >= self.block_steps - 1)
        accepted = within_bound(s.editable, entropy, self.bound)
        tokens, confidence = p.draw(s)
        last = finished[:, None]
        tokens, confidence = torch.where(last, best, tokens), torch.where(last, sure, confidence)
        accepted = accepted | last
        after = s.reopen(~accepted).edit(accepted, tokens, confidence).commit(accepted & s.open, tokens, confidence)
        return replace(after, memo=Draft(best, stable, finished))

    def done(self, s: State) -> Tensor:
        memo: Draft = s.memo
        return memo.finished


@dataclass(frozen=True)
class BlockRefinement(Decoder):
    """Commit every prediction above `tau`, or as many as an even pace requires; the other positions become noise again.
    diffusers' `BlockRefinementScheduler` (0.42) without a mask token; with one its pace is that of `sdar`, and its
    editing is that of `llada2`.

    After step i of n, at least ceil((i + 1) L / n) of the L positions that were open are committed, for good.
    """

    source: ClassVar[str] = "diffusers 0.42, BlockRefinementScheduler"
    attested: ClassVar[Attested] = "replayed"
    block_steps: int | None = option(None, "forwards for a window, at most; none: one per position", min=1)
    tau: float = option(0.7, "confidence above which a token is committed", min=0)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def query(self, s: State) -> Query:
        return Query(torch.where(s.open, s.blank(), s.tokens), s.open)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.draw(s, self.temperature)
        steps = s.opened.clamp(min=1) if self.block_steps is None else self.block_steps
        due = ((s.step + 1) * s.opened + steps - 1) // steps
        lacking = (torch.minimum(due, s.opened) - (s.opened - s.open.sum(-1))).clamp(min=0)
        return s.commit(above(only(s.open, confidence), confidence > self.tau, lacking), tokens, confidence)


@dataclass(frozen=True)
class UniformDDIM(Decoder):
    """Discrete DDIM: from time t to s a position keeps what it has, takes a token from the model, or turns to noise.
    Song et al. 2021, 2010.02502, appendix A (the non-Markovian process of multinomial diffusion).

    With alpha = 1 - t, the share of the text that is not noise, q(x_s | x_t, x_0) keeps x_t with probability sigma,
    takes x_0 with alpha_s - sigma alpha_t, and is uniform otherwise. sigma = (1 - eta) (1 - alpha_s) / (1 - alpha_t)
    here: at `eta=0`, the largest that the process allows, nothing turns to noise again; at 1, x_t is never kept as
    such. x_0 is sampled from the model. A model with a mask token was trained to reverse the absorbing process: a
    decided token stays, and with `eta` above 0 may be masked again.
    """

    source: ClassVar[str] = "Song et al. 2021, arXiv 2010.02502, appendix A"
    attested: ClassVar[Attested] = "paper"
    revises: ClassVar[bool] = True
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    temperature: float = option(1.0, "0 takes the likeliest token", min=0)
    eta: float = option(0.0, "0: nothing becomes noise again; 1: as much as possible does", min=0, max=1)

    def query(self, s: State) -> Query:
        return Query(s.tokens, s.editable)

    def step(self, s: State, p: Pred) -> State:
        p = without_mask(s, p)
        tokens, confidence = p.draw(s, self.temperature)
        steps = s.window_steps(self.steps).double()
        t, then = ((steps - s.step - n).clamp(min=0) / steps for n in (0, 1))
        sigma = (1 - self.eta) * then / t.clamp(min=1e-12)
        take = (1 - then) - sigma * (1 - t)
        fate = s.uniform(FATE)  # first positions that take a token, then those that keep theirs, then noise
        taken = fate < take[:, None]
        noise = fate >= (take + sigma)[:, None]
        after = s.reopen(noise).commit(taken & s.open, tokens, confidence)
        if s.mask_id is not None:  # the absorbing process: a decided position predicts its own token
            return after
        fresh = (s.uniform(NOISE) * s.vocab).long()
        after = replace(after, tokens=torch.where(noise & s.open, fresh, after.tokens))
        return after.edit(taken & ~s.open, tokens, confidence)

    def done(self, s: State) -> Tensor:
        over = s.step >= s.window_steps(self.steps)
        settled = s.mask_id is not None and self.eta == 0  # no further change is possible
        return ~s.open.any(-1) & (over | settled)
