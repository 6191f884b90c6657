"""Three ways to treat the end of a text: stop at it, make it likelier, or add room after it. Each works with any
rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core import Around, Attested, Decoder, Pred, State, leftmost, option
from decoders.stats.constants import constant
from decoders.strategies.fast_dllm import Threshold


def end_token(s: State) -> int:
    """The token that ends a text; only for models that have one."""
    return s.stop_ids[0]


@dataclass(frozen=True)
class EOSStop(Around):
    """Any rule; once a stop token is committed, every position of the window to the right of the first one becomes the
    end token at once, decided positions included. dInfer, Ma et al. 2025, 2510.08666 (early termination);
    `generate_fastdllm.generate` with `early_stop`.

    Tokens after the end are no part of the text, but the model sees them while positions before the end are open.
    Therefore decided tokens are overwritten, and the text can differ from that of `base` alone. The forwards that would
    have filled the positions after the end are saved. The code also writes end tokens into later blocks, which a window
    here does not reach. dInfer's `BlockRunner` does this only once a block is full, and for later blocks; here a row
    ends at that point with every strategy. `trust` is ours: the confidence with which the stop token was committed has
    to reach it, so that a guessed end does not cut a text. Without stop tokens in the model it is `base`.
    """

    source: ClassVar[str] = "Ma et al. 2025, arXiv 2510.08666"
    attested: ClassVar[Attested] = "code"
    revises: ClassVar[bool] = True
    base: Decoder = option(Threshold(), "the rule that commits")
    trust: float = option(0.0, "confidence from which a stop token ends the text", min=0, max=1)

    def outer(self, s: State, t: State) -> State:
        if not t.stop_ids:
            return t
        ended = t.is_stop(t.tokens) & t.decided & (t.confidence >= self.trust)
        behind = ended.cumsum(-1) > ended.long()
        end, sure = torch.full_like(t.tokens, end_token(t)), torch.ones_like(t.confidence)
        return t.edit(behind & (t.tokens != end), end, sure).commit(behind, end, sure)


@dataclass(frozen=True)
class LengthPenalty(Around):
    """Any rule, on predictions in which the end becomes likelier as the text grows: `weight` nats are added to the
    logits of stop tokens for each position from `start` on. The additive form of the soft length penalties of
    autoregressive decoding (transformers' `ExponentialDecayLengthPenalty`); no paper defines one for diffusion, where
    the position, not the step, says how long the text is.

    Without stop tokens in the model, or with `weight=0`, it is `base`. Infilled rows count from their first hole.
    """

    source: ClassVar[str] = "cf. transformers, ExponentialDecayLengthPenalty"
    attested: ClassVar[Attested] = "ours"
    base: Decoder = option(Threshold(), "the rule that commits")
    start: int = option(0, "generated position from which on length costs, from 0", min=0)
    weight: float = option(0.1, "nats a position")

    def own(self, s: State) -> Tensor:
        """(B,) long: the place of the row's first open position."""
        return torch.where(leftmost(s.open), s.position, 0).sum(-1)

    def step(self, s: State, p: Pred) -> State:
        if s.stop_ids:
            beyond = (s.position - (s.memo.own + self.start)[:, None]).clamp(min=0)
            p = raised(p, s.stop_ids, self.weight * beyond)
        return super().step(s, p)


def raised(p: Pred, tokens: tuple[int, ...], by: Tensor) -> Pred:
    """The prediction with `by (B, W)` added to the logits of `tokens`."""
    ids = constant(tokens, p.logits.device)
    each = by.gather(1, p.at.clamp(max=p.width - 1)).to(p.logits.dtype)
    more = each[..., None].expand(-1, -1, len(tokens))
    return replace(p, logits=p.logits.index_add(-1, ids, more))


@dataclass(frozen=True)
class EOSPadding(Around):
    """Any rule, on a row that is followed by `pad` end tokens from the start, in which the model can compute. Breckner
    and Schuster 2026, 2603.05197 (EoS-by-EoS).

    The paper finds that masked diffusion models compute in the end tokens after a short answer, and answer better with
    more of them. The paper is an analysis; that this is a decoder is our reading: the end tokens are given, come after
    `length`, and are no part of the text. Block-causal models are refused, because no block sees later positions.
    Without stop tokens in the model it is `base`.
    """

    source: ClassVar[str] = "Breckner and Schuster 2026, arXiv 2603.05197"
    attested: ClassVar[Attested] = "abstract"
    base: Decoder = option(Threshold(), "the rule that commits")
    pad: int = option(8, "end tokens behind the row", min=1)

    @property
    def padding(self) -> int:
        return self.pad + super().padding
