"""LLaDA: commit an even share of the predictions at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from decoders.core import Attested, Decoder, Pred, State, only, option, top

ORDER = 0x11  # salt


@dataclass(frozen=True)
class LLaDA(Decoder):
    """Keep the most confident predictions, an even share a step; the others are masked again. Nie et al. 2025,
    2502.09992, Algorithm 5 (`remasking=low_confidence`) and 4 (`random`).

    Only this step's own predictions are remasked, and committed tokens stay; the popular description, that a committed
    token can change, is not the algorithm. Confidence is the raw probability of the sampled token, without the
    temperature, as in the official code; its Gumbel noise at temperature T samples from softmax(logits / T), as the one
    hashed uniform number per position does here. `eos=suppress` makes stop tokens impossible; `eos=last` commits them
    only if no other candidate is left. The official `confidence_eos_eot_inf` was meant to do so, but changes the wrong
    tensor.
    """

    source: ClassVar[str] = "Nie et al. 2025, arXiv 2502.09992"
    attested: ClassVar[Attested] = "replayed"
    outcomes: ClassVar[tuple[str, ...]] = ("even share",)
    steps: int | None = option(None, "forwards for the whole row; none: one per position", min=1)
    remasking: Literal["low_confidence", "random"] = option("low_confidence", "which predictions stay masked")
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)
    eos: Literal["keep", "suppress", "last"] = option("keep", "how stop tokens are treated")

    def step(self, s: State, p: Pred) -> State:
        tokens, confidence = (p.without(s.stop_ids) if self.eos == "suppress" else p).draw(s, self.temperature)
        score = confidence if self.remasking == "low_confidence" else s.uniform(ORDER)
        if self.eos == "last":
            score = score - 2 * s.is_stop(tokens).to(score.dtype)
        return s.commit(top(only(s.open, score), s.quota(self.steps)), tokens, confidence)
