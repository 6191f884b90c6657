"""Ancestral sampling of the absorbing diffusion: in steps of time, or from one event to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, only, option, top
from decoders.stats.constants import constant

TIME = 0x31  # salt


def absorbing_posterior(logits: Tensor, tokens: Tensor, open: Tensor, mask_id: int, t: float, s: float) -> Tensor:
    """(B, W, V) float: q(x_s | x_t, x_0 ~ model), the distribution of every position when time goes from `t` to `s`: an
    open position stays masked with probability s/t and otherwise takes a token from the model, which never predicts the
    mask (SUBS); a decided one stays. Sahoo et al. 2024, 2406.07524, equation 7; Austin et al. 2021, 2107.03006, section
    3.1. The schedule is log-linear, so the chance of being masked at t is t.
    """
    x0 = logits.index_fill(-1, constant((mask_id,), logits.device), -torch.inf).softmax(-1)
    blank = torch.nn.functional.one_hot(torch.full_like(tokens, mask_id), logits.shape[-1]).to(x0)
    kept = torch.nn.functional.one_hot(tokens, logits.shape[-1]).to(x0)
    return torch.where(open[..., None], x0 * ((t - s) / t) + blank * (s / t), kept)


def without_mask(s: State, p: Pred) -> Pred:
    """SUBS: the mask token is never predicted."""
    return p if s.mask_id is None else p.without((s.mask_id,))


def nucleus(p: Pred, top_p: float) -> Pred:
    """The prediction kept to the likeliest tokens whose cumulative probability is at most `top_p`, and always the
    likeliest one. The token that crosses `top_p` is left out, unlike in the usual nucleus (`Pred.filtered`), as in the
    official code of BD3-LM and of ReMDM."""
    if top_p >= 1:
        return p
    ordered, index = p.rows.sort(dim=-1, descending=True, stable=True)
    out = ordered.softmax(-1).cumsum(-1) > top_p
    out[..., 0] = False
    logits = p.rows.masked_fill(torch.zeros_like(out).scatter(1, index, out), -torch.inf)
    return replace(p, logits=logits.view_as(p.logits), banned=())


@dataclass(frozen=True)
class Ancestral(Decoder):
    """MDLM's ancestral sampler, without the forwards that would change nothing. Sahoo et al. 2024, 2406.07524
    (`ddpm_cache`); the absorbing posterior of D3PM, Austin et al. 2021, 2107.03006.

    Under that posterior (`absorbing_posterior`) each position is unmasked at a time of its own, uniform in [0, 1] and
    independent of all tokens. So the times are drawn first, each step of the schedule that contains none is skipped,
    and the result has the distribution of the step-by-step sampler, with at most `steps` forwards. The reference's
    final argmax for times below its epsilon of 1e-5 is left out: those positions are sampled in the last step.
    """

    source: ClassVar[str] = "Sahoo et al. 2024, arXiv 2406.07524; Austin et al. 2021, arXiv 2107.03006"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True
    steps: int | None = option(None, "steps of time for the whole row; none: one per position", min=1)
    temperature: float = option(1.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = without_mask(s, p).draw(s, self.temperature)
        when = (s.uniform(TIME, timeless=True) * s.window_steps(self.steps)[:, None]).long()
        soonest = torch.where(s.open, when, torch.iinfo(torch.long).max).amin(-1, keepdim=True)
        return s.commit(s.open & (when == soonest), tokens, confidence)


@dataclass(frozen=True)
class FirstHitting(Decoder):
    """One position a forward, in random order: the ancestral sampler in the limit of infinitely many steps. Arriola et
    al. 2025, BD3-LM, 2503.09573, section 5.2 (the first-hitting sampler of Zheng et al. 2024, 2409.02908).

    It jumps to the next time at which something is unmasked, t * u^(1/n) for n masked positions, and unmasks one of
    them at random: the order statistics of independent uniform times, which are drawn here directly. `top_p` is the
    official code's: see `nucleus`. That code also gives the model the time and spends a forward per block on storing
    keys and values; neither is needed here.
    """

    source: ClassVar[str] = "Arriola et al. 2025, arXiv 2503.09573"
    attested: ClassVar[Attested] = "code"
    needs_mask: ClassVar[bool] = True
    unbiased: ClassVar[bool] = True
    temperature: float = option(1.0, "0 takes the likeliest token", min=0)
    top_p: float = option(1.0, "keep the likeliest tokens that together have no more than this", min=0, max=1)

    def step(self, s: State, p: Pred) -> State:
        p = nucleus(without_mask(s, p).filtered(self.temperature), self.top_p)
        tokens, confidence = p.draw(s, 1.0 if self.temperature > 0 else 0.0)
        soonest = top(only(s.open, -s.uniform(TIME, timeless=True)), 1)
        return s.commit(soonest, tokens, confidence)
