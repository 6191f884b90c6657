"""EB-Sampler: as many tokens as a bound on their mutual information allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from decoders.core import Attested, Decoder, Pred, State, option, within_bound


@dataclass(frozen=True)
class EntropyBound(Decoder):
    """Sort the positions by an error proxy, and commit the longest prefix whose entropies, without the largest of them,
    add up to at most `bound`; so the first is always committed. Ben-Hamu et al. 2025, 2505.24857 (EB-Sampler).

    The sum of the entropies without the largest bounds the mutual information of the tokens, which is the error of
    sampling them independently (`within_bound`). The proxies are the paper's: entropy, confidence, and margin. None of
    them looks at the drawn token, so with bound 0 at temperature 1 samples are the model's own. Entropy is that of the
    distribution at the temperature, as in the scheduler that diffusers has of this name; at 0, of the raw one.
    Published bounds go from 0.001 to 0.35.
    """

    source: ClassVar[str] = "Ben-Hamu et al. 2025, arXiv 2505.24857"
    attested: ClassVar[Attested] = "paper"
    unbiased: ClassVar[bool] = True
    bound: float = option(0.1, "nats a step that taking tokens together may lose", min=0)
    by: Literal["entropy", "confidence", "margin"] = option("entropy", "the order in which tokens are taken")
    temperature: float = option(0.0, "0 takes the likeliest token", min=0)

    def step(self, s: State, p: Pred) -> State:
        p, tokens, confidence = p.sample(s, self.temperature)
        return s.commit(within_bound(s.open, p.entropy(), self.bound, self.order(p)), tokens, confidence)

    def order(self, p: Pred) -> Tensor | None:
        """(B, W), lowest at the surest position; None if the proxy is the entropy."""
        return None if self.by == "entropy" else -p.best()[1] if self.by == "confidence" else -p.margin()
