"""Planned Diffusion: an autoregressive plan announces spans, and diffusion writes them all at once.

Israel et al. 2025, 2510.18087. For details that the paper leaves open, these were read: the training mask
(`train/attention_mask.py`) and the generation loop (`dream/generation_utils_cached_pd.py`, `dream/pd_utils.py`) of
github.com/planned-diffusion/planned-diffusion. Unlike that loop, which keeps the keys and values that a span had when
its last token was still masked, the exact cache recomputes them.

The text of a row is `plan, spans, sync, plan, spans, sync, ...`:

    <promise> topic 2 </promise> <promise> topic 1 </promise> <async> 20 blanks </async> <async> 10 blanks </async>
    <sync> ...

The model writes the plan from left to right. When it writes the sync token, or a stop token, while promises are
pending, the spans take that token's place and it follows them. A position outside of spans sees itself and the
positions to its left. A span sees itself and the positions left of the first span of its plan, so spans of one plan do
not see each other; all later positions, including later spans, see them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from decoders.core import (
    Attested,
    Decoder,
    Pred,
    Query,
    Sight,
    State,
    UsageError,
    Whole,
    Windows,
    asks,
    check_ids,
    choose,
    either,
    inherit,
    leftmost,
    option,
    written,
)
from decoders.stats.constants import among
from decoders.strategies.fast_dllm import Threshold
from decoders.strategies.left_to_right import LeftToRight
from decoders.strategies.spans import NONE, Spans, promised

COUNTS = {"promise": 2, "span": 2, "sync": 1, "digits": 10}
"""The largest number of tokens of each option that takes token ids; `digits` may have fewer."""


@dataclass(frozen=True)
class Memo:
    """The phase of a row, and the memo of the answer's decoder for every span."""

    spanning: Tensor  # (B,) bool  the spans are being written
    begun: Tensor  # (B,) long  the column of the window where the text of the present plan starts
    span: Tensor  # (B, W) long  the span of the present plan that contains a position, or NONE
    sight: Sight
    step: Tensor  # (B,) long  forwards spent on the row before the spans
    opened: Tensor  # (B, spans) long  positions open in each when they were laid out
    inner: tuple[Any, ...]


@dataclass(frozen=True)
class Planned(Decoder):
    """Write a plan from left to right, then decode the spans that it announces in parallel, without attention between
    them, and continue from left to right until a stop token. Israel et al. 2025, Planned Diffusion, 2510.18087.

    A promise is the text between the two tokens of `promise`. Its first digit, with the next digit if one follows, is
    its number; without a number it is no promise. A span of number times `scale` positions stands between the two
    tokens of `span`, which are written without a prediction. Spans are cut at the end of the row. The defaults are the
    token ids of the published checkpoint, a Dream model that was trained for this; a model that writes no plan is
    decoded from left to right.

    `answer` decodes each span as if it were alone in its window, all of them in the same forwards; so with `threshold`
    every span gets a token in every forward. Its `steps`, if it has any, are shared by all spans of a plan. The spans
    from number `spans` on are one window for it, although they do not see each other. A span cannot contain a stop
    token.

    The row is one window whatever block size was requested, because plans have no blocks.
    """

    source: ClassVar[str] = "Israel et al. 2025, arXiv 2510.18087"
    attested: ClassVar[Attested] = "code"
    phases: ClassVar[tuple[str, ...]] = ("plan", "spans")
    answer: Decoder = option(Threshold(), "decodes the spans")
    promise: str | tuple[int, ...] = option((151669, 151670), "the two tokens around a promise; ids are written 12+7")
    span: str | tuple[int, ...] = option((151667, 151668), "the two tokens around a span")
    sync: str | tuple[int, ...] = option((151671,), "the token that ends a plan")
    digits: str | tuple[int, ...] = option(tuple(range(15, 25)), "the tokens of 0, 1, 2, ..., 9")
    scale: float = option(10.0, "positions of a span for each unit of its number", min=0)
    temperature: float = option(0.0, "of the plan; 0 takes the likeliest token", min=0)
    spans: int = option(
        8, "spans of a plan that are decoded each by itself; those after them together with the last", min=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        inherit(self, (self.answer, self.writer))
        object.__setattr__(self, "phases", ("plan", *(self.answer.phases or ("spans",))))
        if {"causal", "sight"} & asks(self.answer):
            raise UsageError(
                f"Planned: {type(self.answer).__name__} cannot write spans, since it sets its own attention mask"
            )
        for name, count in COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, tuple) and not (len(value) == count or (name == "digits" and 0 < len(value) < count)):
                tokens = f"{count} token{'s' if count > 1 else ''}"
                raise UsageError(f"Planned: {name} must be {tokens}, and {name}={written(value)} is {len(value)}")
            check_ids("Planned", name, value)

    # --- its parts

    @cached_property
    def writer(self) -> Decoder:
        """The decoder of the plan."""
        return LeftToRight(self.temperature)

    @property
    def steps(self) -> int | None:
        return getattr(self.answer, "steps", None)

    def ids(self, name: str) -> tuple[int, ...]:
        """One of the options that take token ids, as ids."""
        value: str | tuple[int, ...] = getattr(self, name)
        if isinstance(value, str):
            raise UsageError(f"Planned: {name} is the text {value!r}, and this host has no tokenizer; give token ids")
        return value

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        inner = super().tokenized(encode)
        given = {name: getattr(self, name) for name in COUNTS}
        made: dict[str, Any] = {name: tuple(encode(x)) for name, x in given.items() if isinstance(x, str)}
        return replace(inner, **made) if made else inner

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return Whole()

    # --- the phase of a row

    def init(self, s: State) -> State:
        zero, nowhere = torch.zeros_like(s.key), torch.full_like(s.tokens, NONE)
        sight = Sight(s.position + 1, torch.zeros_like(s.position)[..., None].expand(-1, -1, 2))
        opened = zero[:, None].expand(-1, self.spans)
        m = Memo(torch.zeros_like(zero, dtype=torch.bool), zero, nowhere, sight, zero, opened, ())
        alone = [self.answer.init(replace(part, memo=None)) for part in self.each(s, m)]
        return replace(s, memo=replace(m, inner=tuple(self.answer.begin(part).memo for part in alone)))

    def each(self, s: State, m: Memo) -> list[State]:
        """The state for the answer's decoder when it decodes a span: a window in which all other positions are
        given."""
        return [
            s.within(
                (m.span >= k) if k == self.spans - 1 else (m.span == k), m.opened[:, k],
                m.inner[k] if m.inner else None, since=m.step,
            )
            for k in range(self.spans)
        ]

    # --- a forward

    def phase(self, s: State) -> Tensor:
        return torch.where(s.memo.spanning, 1 + self.answer.phase(self.each(s, s.memo)[0]), 0)

    def query(self, s: State) -> Query:
        m: Memo = s.memo
        tokens, want = s.tokens, torch.zeros_like(s.open)
        for part in self.each(s, m):
            q = self.answer.query(part)
            tokens, want = torch.where(part.editable, q.tokens, tokens), want | (q.want & part.editable)
        return replace(either(m.spanning, Query(tokens, want), self.writer.query(s)), sight=m.sight)

    def step(self, s: State, p: Pred) -> State:
        return choose(s.memo.spanning, self.fill(s, p), self.write(s, p))

    def fill(self, s: State, p: Pred) -> State:
        """A step of the spans."""
        m: Memo = s.memo
        t, inner, p = s, [], p.without(s.stop_ids)
        for part in self.each(s, m):
            a = self.answer.step(part, p)
            t = t.taking(part.editable, a, m)
            inner.append(a.memo)
        m = replace(m, inner=tuple(inner))
        later = self.each(replace(t, step=t.step + 1, clock=t.clock + 1), m)
        over = torch.stack([self.answer.done(part) | ~part.editable.any(-1) for part in later]).all(0)
        return replace(t, memo=replace(m, spanning=m.spanning & ~over))

    def write(self, s: State, p: Pred) -> State:
        """A token from left to right; if it ends a plan, the spans are laid out."""
        m, here = s.memo, leftmost(s.open)
        t = self.writer.step(s, p)
        at = here.long().argmax(-1)
        token, confidence = t.tokens.gather(1, at[:, None]), t.confidence.gather(1, at[:, None])
        ends = among(token[:, 0], (*self.ids("sync"), *s.stop_ids)) & here.any(-1)
        plan = (s.place >= m.begun[:, None]) & (s.place < at[:, None])
        sizes = promised(s.tokens, plan, self.ids("promise"), self.ids("digits"), self.scale)
        turn = ends & (sizes > 0).any(-1)
        begun = torch.where(ends, at + 1, m.begun)
        laid = self.lay(s, Spans.of(sizes, at), token, confidence)
        return choose(turn, laid, replace(t, memo=replace(m, begun=begun)))

    def lay(self, s: State, spans: Spans, token: Tensor, confidence: Tensor) -> State:
        """The state with spans laid out at its open positions, and `token (B, 1)` after them."""
        m, sure = s.memo, torch.ones_like(s.confidence)
        for where, control in zip((spans.at(0), spans.at(spans.size - 1)), self.ids("span"), strict=True):
            s = s.commit(where, torch.full_like(s.tokens, control), sure)
        after = s.place == spans.end[:, None]
        s = s.commit(after, token.expand_as(s.tokens), confidence.expand_as(sure))
        m = replace(m, span=spans.blanks, begun=spans.end + 1, sight=spans.sight(s, m.sight), step=s.step + 1)
        opened = torch.stack([part.open.sum(-1) for part in self.each(s, m)], 1)
        m = replace(m, opened=opened, spanning=(opened > 0).any(-1))
        later = self.each(replace(s, step=s.step + 1, clock=s.clock + 1), m)
        return replace(s, memo=replace(m, inner=tuple(self.answer.begin(part).memo for part in later)))

    def done(self, s: State) -> Tensor:
        memo: Memo = s.memo
        return ~s.open.any(-1) & ~memo.spanning
