"""ReMDM: the ancestral sampler of masked diffusion, with decided tokens that may be masked again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, option
from decoders.strategies.mdlm import nucleus, without_mask

EVENT = 0x32  # salt
ETA = {"cap": 0.008, "rescale": 0.015, "conf": 1.0, "loop": 0.02, "forward_backward": 1.0}


class Rates(NamedTuple):
    """Chances in one step of time, (B, W) each."""

    unmask: Tensor  # of open positions
    remask: Tensor  # of decided positions


@dataclass(frozen=True)
class ReMDM(Decoder):
    """Unmask at random as MDLM does, and mask decided tokens again with a probability sigma that leaves the
    distribution at every time unchanged. Wang et al. 2025, 2503.00307, equation 6 (the step) and section 4 (the
    schedules of sigma).

    When time goes from t to s, alpha being 1 - t, an open position takes a token with probability (alpha_s - (1 -
    sigma) alpha_t) / (1 - alpha_t), and a decided one is masked again with sigma, at most sigma_max = min(1, (1 -
    alpha_s) / alpha_t):

    - `cap`: eta, or sigma_max where that is less. `rescale`: eta sigma_max.
    - `conf`: eta sigma_max, shared among the decided positions by a softmax over how improbable each token was when it
      was decided.
    - `loop`: no remasking until alpha has come to `alpha_on`, at the time `t_on`; there it stays until the time
      `t_off`, while each token is masked again with probability eta; then it goes on to 1.
    - `forward_backward`: eta (alpha_s - alpha_t) / alpha_t, the forward-backward corrector (Campbell et al. 2022,
      2205.14987) in this form.

    It spends all its steps, even if no position is open in between; more steps give better texts. The reference ends at
    time 1e-5 and takes the likeliest tokens there; here the last step goes to 0 and samples. As in the reference, the
    nucleus leaves out the token that crosses `top_p`, unlike the usual one.
    """

    source: ClassVar[str] = "Wang et al. 2025, arXiv 2503.00307"
    attested: ClassVar[Attested] = "replayed"
    needs_mask: ClassVar[bool] = True
    revises: ClassVar[bool] = True
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    schedule: Literal["cap", "rescale", "conf", "loop", "forward_backward"] = option("cap", "how sigma follows time")
    eta: float | None = option(
        None, "scale of sigma; none: 0.008 for cap, 0.015 for rescale, 0.02 for loop, 1 otherwise", min=0, max=1
    )
    t_on: float = option(0.55, "loop only: the time at which remasking begins", min=0, max=1)
    t_off: float = option(0.05, "loop only: the time at which it ends", min=0, max=1)
    alpha_on: float = option(0.9, "loop only: the share that is decided meanwhile", min=0, max=1)
    temperature: float = option(1.0, "0 takes the likeliest token", min=0)
    top_p: float = option(
        0.9, "keep the likeliest tokens that together have no more than this probability", min=0, max=1
    )

    def step(self, s: State, p: Pred) -> State:
        steps = s.window_steps(self.steps).double()
        t, to = 1 - s.step / steps, 1 - (s.step + 1) / steps
        rates = self.rates(t[:, None], to[:, None], s.confidence, s.decided)
        tokens, confidence = nucleus(without_mask(s, p), self.top_p).draw(s, self.temperature)
        u = s.uniform(EVENT)
        return s.commit(u < rates.unmask, tokens, confidence).reopen(~s.open & (u < rates.remask))

    def rates(self, t: Tensor, s: Tensor, confidence: Tensor, decided: Tensor) -> Rates:
        """From the times `t` and `s (B, 1)`, and the confidences (B, W) with which the tokens were `decided (B, W)`."""
        eta = ETA[self.schedule] if self.eta is None else self.eta
        if self.schedule == "loop":
            now, then = self.looped(t, t), self.looped(s, t)
            sigma = eta * ((t <= self.t_on) & (t > self.t_off)).to(t.dtype)
        else:
            now, then = 1 - t, 1 - s
            most = ((1 - then) / now.clamp(min=1e-9)).clamp(max=1)
            sigma = {
                "cap": most.clamp(max=eta), "rescale": eta * most, "conf": eta * most,
                "forward_backward": torch.minimum(eta * (then - now) / now.clamp(min=1e-9), most),
            }[self.schedule]
        if self.schedule == "conf":
            sigma = sigma * torch.where(decided, -confidence.to(sigma.dtype), -torch.inf).softmax(-1).nan_to_num(0.0)
        sigma = sigma.expand(confidence.shape)
        return Rates((then - (1 - sigma) * now) / (1 - now).clamp(min=1e-9), sigma)

    def looped(self, time: Tensor, t: Tensor) -> Tensor:
        """alpha at `time`, on the stretch of the schedule that `t` is in."""
        before, after = (1 - time) * self.alpha_on / (1 - self.t_on), 1 - time * (1 - self.alpha_on) / self.t_off
        return torch.where(t > self.t_on, before, torch.where(t <= self.t_off, after, self.alpha_on))

    def done(self, s: State) -> Tensor:
        return s.step >= s.window_steps(self.steps)


def posterior(x0: Tensor, tokens: Tensor, open: Tensor, mask_id: int, rates: Rates) -> Tensor:
    """(B, W, V) float: the distribution that every position is drawn from in one step, where `x0 (B, W, V)` is the
    model's. Equation 6."""
    blank, kept = (
        torch.nn.functional.one_hot(x, x0.shape[-1]).to(x0) for x in (torch.full_like(tokens, mask_id), tokens)
    )
    unmask, remask = (x[..., None].to(x0.dtype) for x in rates)
    return torch.where(open[..., None], unmask * x0 + (1 - unmask) * blank, (1 - remask) * kept + remask * blank)
