"""SDAR: a block is filled in a fixed number of steps, or sooner where the model is sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, above, only, option, share, top, within_bound


@dataclass(frozen=True)
class SDAR(Decoder):
    """Commit a share of the block a step, or more where the model is sure. Cheng et al. 2025, 2510.06303;
    `block_diffusion_generate`, parameter `remasking_strategy`.

    The share is the block's length over `block_steps`; the first steps get the remainder. `sequential` takes it from
    the left, `low_confidence_static` by confidence, and `low_confidence_dynamic` takes all above `tau` (strictly) if
    these are at least as many as the share. `entropy_bounded` has no share: see `within_bound`. Confidence is that of
    the drawn token after temperature, top-k and top-p, as in the reference and unlike LLaDA.

    If the share is larger than the number of open positions, in a block that contains the end of the prompt or after a
    step that committed more, the reference overwrites given or committed positions; here decided positions are never
    changed. Its `entropy_bounded` cannot run: it takes the entropy of one scalar per position, summed over the
    positions, and uses a name that does not exist; here it is the method that the paper names, the EB-Sampler. The
    share is at least one, so that every block is finished.

    At temperature 1 with one token a step, `sequential` and `entropy_bounded` (bound 0) sample from the model's own
    distribution, as their order does not look at the drawn token; the other two do not, so the class does not set
    `unbiased`.
    """

    source: ClassVar[str] = "Cheng et al. 2025, arXiv 2510.06303"
    attested: ClassVar[Attested] = "replayed"
    by: Literal["sequential", "low_confidence_static", "low_confidence_dynamic", "entropy_bounded"] = option(
        "low_confidence_dynamic", "which predictions to commit"
    )
    block_steps: int | None = option(None, "forwards per block at most; none: one per position", min=1)
    tau: float = option(0.85, "low_confidence_dynamic only: commit all above it", min=0, max=1)
    bound: float = option(0.35, "entropy_bounded only: nats a step", min=0)
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    top_k: int | None = option(None, "keep this many tokens", min=1)
    top_p: float | None = option(None, "keep the smallest set of tokens with this probability", min=0, max=1)

    def step(self, s: State, p: Pred) -> State:
        p, tokens, confidence = p.sample(s, self.temperature, self.top_k, self.top_p)
        return s.commit(self.chosen(s, p, confidence), tokens, confidence)

    def chosen(self, s: State, p: Pred, confidence: Tensor) -> Tensor:
        quota = block_share(s, self.block_steps, s.step)
        if self.by == "sequential":
            return top(only(s.open, -s.position.double()), quota)
        if self.by == "low_confidence_static":
            return top(only(s.open, confidence), quota)
        if self.by == "low_confidence_dynamic":
            return above(only(s.open, confidence), confidence > self.tau, quota)
        return within_bound(s.open, p.entropy(), self.bound)


def block_share(s: State, steps: int | None, i: Tensor) -> Tensor:
    """(B,) long: the number of a block's positions, including given ones, that step `i (B,)` has to commit; at least
    one. Without `steps`, one."""
    return torch.ones_like(i) if steps is None else share(s.size, steps, i).clamp(min=1)
