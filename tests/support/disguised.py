"""A threshold in disguise: on the confidence times what the entropy leaves of it, falling from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch

from decoders import Decoder, Pred, State, above, only, option


@dataclass(frozen=True)
class SureDecay(Decoder):
    """Commit what is surer than a threshold that falls to a floor."""

    tau: float = option(0.9, "in the first step", min=0, max=1)
    floor: float = option(0.5, "at least", min=0, max=1)
    decay: float = option(0.9, "what is left of it after a step", min=0, max=1)

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = p.best()
        sure = confidence * (1 - p.entropy() / log(p.logits.shape[-1]))
        least = (self.tau * self.decay ** s.step.double()).clamp(min=self.floor)
        return s.commit(above(only(s.open, sure), sure >= least[:, None], torch.ones_like(s.step)), tokens, confidence)
