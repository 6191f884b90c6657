"""What a text does about its end: stop there, be drawn to it, or leave room behind it. Each works with any rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import Decoder, Pred, Query, State, leftmost, option
from decoders.stats.constants import constant
from decoders.strategies.composed import Composed
from decoders.strategies.fast_dllm import Threshold
from decoders.strategies.llada import is_stop


class Since(NamedTuple):
    """Where a row's text begins, and what `base` keeps."""

    start: Tensor  # (B,) long  the place of its first open position
    base: Any


@dataclass(frozen=True)
class Ending(Composed):
    """Any rule, with something done about the end of the text."""

    base: Decoder = option(Threshold(), "the rule that commits")

    def parts(self) -> Sequence[Decoder]:
        return (self.base,)

    def init(self, s: State) -> State:
        first = torch.where(leftmost(s.open), s.position, 0).sum(-1)
        return replace(s, memo=Since(first, self.base.init(s).memo))

    def begin(self, s: State) -> State:
        return replace(s, memo=Since(s.memo.start, self.base.begin(self.inner(s)).memo))

    def inner(self, s: State) -> State:
        """As `base` sees it."""
        return replace(s, memo=s.memo.base)

    def query(self, s: State) -> Query:
        return self.base.query(self.inner(s))

    def step(self, s: State, p: Pred) -> State:
        after = self.base.step(self.inner(s), p)
        return replace(after, memo=Since(s.memo.start, after.memo))

    def done(self, s: State) -> Tensor:
        return self.base.done(self.inner(s))


def end_token(s: State) -> int:
    """The token that ends a text; only for models that have one."""
    return s.stop_ids[0]


@dataclass(frozen=True)
class EOSStop(Ending):
    """Any rule; once a stop token is committed, everything right of the first one in the window is the end token at
    once, what was decided there too. dInfer, Ma et al. 2025, 2510.08666 (early termination);
    `generate_fastdllm.generate` with `early_stop`.

    What stood behind the end is no part of the text, but the model sees it as long as anything is open before the end:
    that is why decided tokens are overwritten, and the text can be another one than `base` alone would have written.
    What is saved are the forwards that would have filled what lies behind. dInfer's `BlockRunner` does this only once a
    block is full, and for later blocks; here a row ends then anyhow, for every strategy. `trust` is ours: the
    confidence that the stop token was committed with has to reach it, so that an end that the model only guessed does
    not cut a text. Without stop tokens in the model it is `base`.
    """

    source: ClassVar[str] = "Ma et al. 2025, arXiv 2510.08666"
    revises: ClassVar[bool] = True
    trust: float = option(0.0, "confidence of a stop token from which on it is believed", min=0, max=1)

    def step(self, s: State, p: Pred) -> State:
        after = super().step(s, p)
        if not s.stop_ids:
            return after
        decided = after.editable & ~after.open
        ended = is_stop(after, after.tokens) & decided & (after.confidence >= self.trust)
        behind = ended.cumsum(-1) > ended.long()
        end, sure = torch.full_like(s.tokens, end_token(s)), torch.ones_like(after.confidence)
        return after.edit(behind & (after.tokens != end), end, sure).commit(behind, end, sure)


@dataclass(frozen=True)
class LengthPenalty(Ending):
    """Any rule on predictions in which an end is the likelier the longer the text: `weight` nats are added to the logits of stop tokens
    for each position from `start` on. The additive form of the soft length penalties of autoregressive decoding (transformers'
    `ExponentialDecayLengthPenalty`); no paper defines one for diffusion, where the place and not the step says how long the text is.

    Without stop tokens in the model, or with `weight=0`, it is `base`. Infilled rows count from their first hole.
    """

    source: ClassVar[str] = "cf. transformers, ExponentialDecayLengthPenalty"
    start: int = option(0, "generated position from which on length costs, from 0", min=0)
    weight: float = option(0.1, "nats a position")

    def step(self, s: State, p: Pred) -> State:
        if s.stop_ids:
            beyond = (s.position - (s.memo.start + self.start)[:, None]).clamp(min=0)
            p = raised(p, s.stop_ids, self.weight * beyond)
        return super().step(s, p)


def raised(p: Pred, tokens: tuple[int, ...], by: Tensor) -> Pred:
    """The prediction with `by (B, W)` added to the logits of `tokens`."""
    ids = constant(tokens, p.logits.device)
    each = by.gather(1, p.at.clamp(max=p.width - 1)).to(p.logits.dtype)
    more = each[..., None].expand(-1, -1, len(tokens))
    return replace(p, logits=p.logits.index_add(-1, ids, more))


@dataclass(frozen=True)
class EOSPadding(Ending):
    """Any rule, on a row that is followed by `pad` end tokens from the start: room to think in. Breckner and Schuster 2026, 2603.05197
    (EoS-by-EoS).

    The paper finds that masked diffusion models compute in the end tokens behind a short answer, and answer better with more of them. It
    is an analysis, and nothing is carried over but tokens; as a decoder this is our reading: the end tokens are given, come after
    `length`, and are no part of the text. Block-causal models are refused, for no block sees what comes later. Without stop tokens in
    the model it is `base`.
    """

    source: ClassVar[str] = "Breckner and Schuster 2026, arXiv 2603.05197"
    pad: int = option(8, "end tokens behind the row", min=1)

    @property
    def padding(self) -> int:
        return self.pad
