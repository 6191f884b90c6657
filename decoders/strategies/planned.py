"""Planned Diffusion: an autoregressive plan promises spans, and diffusion writes them all at once.

Israel et al. 2025, 2510.18087. Read beside the paper, for what it leaves open: the training mask (`train/attention_mask.py`) and the
generation loop (`dream/generation_utils_cached_pd.py`, `dream/pd_utils.py`) of github.com/planned-diffusion/planned-diffusion. Unlike
that loop, which keeps the keys and values of a span as they were when its last token was still masked, the exact cache renews them.

The text of a row is `plan, spans, sync, plan, spans, sync, ...`:

    <promise> topic 2 </promise> <promise> topic 1 </promise> <async> 20 blanks </async> <async> 10 blanks </async> <sync> ...

The model writes the plan from left to right. When it writes the sync token, or a stop token, while promises are pending, the spans take
that token's place and it follows them. Everything outside of spans sees itself and what is left of it. A span sees itself and what is
left of the first span of its plan, so spans of one plan are blind to each other; what follows sees them all, and later spans do too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from decoders.core import Decoder, Pred, Query, Sight, State, UsageError, Whole, Windows, asks, choose, either, leftmost, option
from decoders.stats.constants import among, constant
from decoders.strategies.composed import Composed
from decoders.strategies.fast_dllm import Threshold
from decoders.strategies.left_to_right import LeftToRight

NONE = -1  # in no span

COUNTS = {"promise": 2, "span": 2, "sync": 1, "digits": 10}
"""How many tokens each option that names some is, at most; of digits there may be fewer."""


@dataclass(frozen=True)
class Spans:
    """The spans of one plan, laid out over the window. Columns of the window count from 0."""

    first: Tensor  # (B,) long  where the first one starts
    end: Tensor  # (B,) long  the column after the last one, which may lie beyond the row
    number: Tensor  # (B, W) long  which span a position is in, or NONE
    start: Tensor  # (B, W) long  where that span starts
    size: Tensor  # (B, W) long  and how long it is, control tokens included

    @classmethod
    def of(cls, sizes: Tensor, first: Tensor) -> Self:
        """One span after the other from `first (B,)` on, of the `sizes (B, W)` that are not 0."""
        B, W = sizes.shape
        column = torch.arange(W, device=sizes.device)
        place = first[:, None] + sizes.cumsum(-1) - sizes
        place = torch.where(sizes > 0, place.clamp(max=W), W)
        starts = sizes.new_zeros(B, W + 1).scatter(1, place, sizes)[:, :W]  # at the start of each span, its size
        start = torch.where(starts > 0, column, 0).cummax(-1).values
        size, end = starts.gather(1, start), first + sizes.sum(-1)
        inside = (column >= first[:, None]) & (column < end[:, None])
        return cls(first, end, torch.where(inside, (starts > 0).cumsum(-1) - 1, NONE), start, size)

    @property
    def inside(self) -> Tensor:
        """(B, W) bool"""
        return self.number != NONE

    def at(self, offset: Tensor | int) -> Tensor:
        """(B, W) bool: the positions that are so far from the start of their span."""
        return self.inside & (torch.arange(self.start.shape[1], device=self.start.device) == self.start + offset)

    @property
    def blanks(self) -> Tensor:
        """(B, W) long: the number of the span whose text a position is part of, or NONE."""
        return torch.where(self.at(0) | self.at(self.size - 1), NONE, self.number)

    def sight(self, s: State, before: Sight) -> Sight:
        """What positions see with these spans laid out, and what others saw `before`."""
        left = s.position[:, :1]
        until = left + torch.minimum(self.start + self.size, s.size[:, None])
        hidden = torch.stack([(left + self.first[:, None]).expand_as(self.start), left + self.start], -1)
        return Sight(torch.where(self.inside, until, before.until), torch.where(self.inside[..., None], hidden, before.unseen))


@dataclass(frozen=True)
class Memo:
    """Where a row is, and what the answer's decoder keeps for every span."""

    spanning: Tensor  # (B,) bool  the spans are being written
    begun: Tensor  # (B,) long  the column of the window where the text of the present plan starts
    span: Tensor  # (B, W) long  which span of the present plan a position's text is part of, or NONE
    sight: Sight
    step: Tensor  # (B,) long  forwards spent on the row before the spans
    opened: Tensor  # (B, spans) long  positions open in each when they were laid out
    inner: tuple[Any, ...]


@dataclass(frozen=True)
class Planned(Composed):
    """Write a plan from left to right, then the spans that it promises in parallel, each blind to the others, and go on from left to
    right until a stop token. Israel et al. 2025, Planned Diffusion, 2510.18087.

    A promise is what stands between the two tokens of `promise`. The first digit in it, with the one after it if there is one, is
    its number; one without a number is no promise. A span of number times `scale` positions stands between the two tokens of `span`,
    which are written without asking the model. What does not fit the row is cut. The defaults are the token ids of the published
    checkpoint, a Dream that was trained for this; a model that writes no plan is decoded from left to right.

    `answer` decodes each span as if it were alone in its window, all of them in the same forwards; so with `threshold` every span
    gets a token in every forward. Its `steps`, if it has any, are those of all spans of a plan together. The spans from number `spans`
    on are one to it, though they see each other no more than others do. A stop token cannot stand in a span.

    The row is one window, whatever size of blocks was asked for: a plan does not know of blocks.
    """

    source: ClassVar[str] = "Israel et al. 2025, arXiv 2510.18087"
    phases: ClassVar[tuple[str, ...]] = ("plan", "spans")
    answer: Decoder = option(Threshold(), "decodes the spans")
    promise: str | tuple[int, ...] = option((151669, 151670), "the two tokens around a promise; ids are written 12+7")
    span: str | tuple[int, ...] = option((151667, 151668), "the two tokens around a span")
    sync: str | tuple[int, ...] = option((151671,), "the token that ends a plan")
    digits: str | tuple[int, ...] = option(tuple(range(15, 25)), "the tokens of 0, 1, 2, ..., 9")
    scale: float = option(10.0, "positions of a span for each unit of its number", min=0)
    temperature: float = option(0.0, "of the plan; 0 takes the likeliest token", min=0)
    spans: int = option(8, "spans of a plan that are decoded each by itself; those after them together with the last", min=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "phases", ("plan", *(self.answer.phases or ("spans",))))
        if {"causal", "sight"} & asks(self.answer):
            raise UsageError(f"Planned: {type(self.answer).__name__} cannot write spans, since it says itself what positions see")
        for name, count in COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, tuple) and not all(isinstance(t, int) and t >= 0 for t in value):
                raise UsageError(f"Planned: {name} must be a text or token ids, not {value!r}")
            if isinstance(value, tuple) and not (len(value) == count or (name == "digits" and 0 < len(value) < count)):
                raise UsageError(f"Planned: {name} must be {count} token{'s' if count > 1 else ''}, and {value!r} is {len(value)}")

    # --- what it is made of

    @cached_property
    def writer(self) -> Decoder:
        """Who writes the plan."""
        return LeftToRight(self.temperature)

    def parts(self) -> Sequence[Decoder]:
        return self.answer, self.writer

    def ids(self, name: str) -> tuple[int, ...]:
        """One of the options that name tokens, as ids."""
        value: str | tuple[int, ...] = getattr(self, name)
        if isinstance(value, str):
            raise UsageError(f"Planned: {name} is the text {value!r}, and there is no tokenizer here; give token ids")
        return value

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        inner = super().tokenized(encode)
        made: dict[str, Any] = {name: tuple(encode(text)) for name in COUNTS if isinstance(text := getattr(self, name), str)}
        return replace(inner, **made) if made else inner

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return Whole()

    # --- plans

    def promised(self, tokens: Tensor, where: Tensor) -> Tensor:
        """(B, W) long: the size of the span that a promise asks for, control tokens included, where one ends in the text `where (B, W)`
        of `tokens (B, W)`; elsewhere 0."""
        opening, closing = (where & (tokens == t) for t in self.ids("promise"))
        digit = tokens[..., None] == constant(self.ids("digits"), tokens.device)
        value = (digit * torch.arange(digit.shape[-1], device=tokens.device)).sum(-1)
        numeric = where & digit.any(-1)
        # the text up to a closing token, from the one before it on, is a stretch; sums over stretches are differences of running sums
        edge = closing.cumsum(-1) - closing.long()  # the number of the stretch a position is in
        begins = edge != pad(edge, (1, 0), value=-1)[:, :-1]
        column = torch.arange(tokens.shape[1], device=tokens.device)
        begin = torch.where(begins, column, 0).cummax(-1).values

        def so_far(x: Tensor) -> Tensor:
            """(B, W) long: the sum of `x (B, W)` over the stretch, up to and with each position."""
            total = pad(x.long().cumsum(-1), (1, 0))
            return total[:, 1:] - total.gather(1, begin)

        counted = numeric & (so_far(opening) > 0)
        first = counted & (so_far(counted) == 1)
        following = pad(numeric, (0, 1))[:, 1:]
        number = torch.where(following, 10 * value + pad(value, (0, 1))[:, 1:], value)
        found = so_far(torch.where(first, number, 0))
        blanks = (found * self.scale).long().clamp(max=tokens.shape[1])
        return torch.where(closing & (so_far(first) > 0), blanks + 2, 0)

    # --- where a row is

    def init(self, s: State) -> State:
        zero, nowhere = torch.zeros_like(s.key), torch.full_like(s.tokens, NONE)
        sight = Sight(s.position + 1, torch.zeros_like(s.position)[..., None].expand(-1, -1, 2))
        opened = zero[:, None].expand(-1, self.spans)
        m = Memo(torch.zeros_like(zero, dtype=torch.bool), zero, nowhere, sight, zero, opened, ())
        alone = [self.answer.init(replace(self.shown(s, m, k), memo=None)) for k in range(self.spans)]
        return replace(s, memo=replace(m, inner=tuple(self.answer.begin(t).memo for t in alone)))

    def own(self, s: State, m: Memo, k: int) -> Tensor:
        """(B, W) bool: the text of span `k`."""
        return s.editable & ((m.span >= k) if k == self.spans - 1 else (m.span == k))

    def shown(self, s: State, m: Memo, k: int) -> State:
        """What the answer's decoder sees when it decodes span `k`: a window in which all else is given."""
        return s.within(self.own(s, m, k), m.opened[:, k], m.inner[k] if m.inner else None, since=m.step)

    # --- a forward

    def phase(self, s: State) -> Tensor:
        return torch.where(s.memo.spanning, 1 + self.answer.phase(self.shown(s, s.memo, 0)), 0)

    def query(self, s: State) -> Query:
        m = s.memo
        tokens, want = s.tokens, torch.zeros_like(s.open)
        for k in range(self.spans):
            own, q = self.own(s, m, k), self.answer.query(self.shown(s, m, k))
            tokens, want = torch.where(own, q.tokens, tokens), want | (q.want & own)
        return replace(either(m.spanning, Query(tokens, want), self.writer.query(s)), sight=m.sight)

    def step(self, s: State, p: Pred) -> State:
        return choose(s.memo.spanning, self.fill(s, p), self.write(s, p))

    def fill(self, s: State, p: Pred) -> State:
        """A step of the spans."""
        m, t, inner, p = s.memo, s, [], p.without(s.stop_ids)
        for k in range(self.spans):
            own, a = self.own(s, m, k), self.answer.step(self.shown(s, m, k), p)
            t = t.taking(own, a, m)
            inner.append(a.memo)
        m = replace(m, inner=tuple(inner))
        later = replace(t, step=t.step + 1, clock=t.clock + 1)
        over = torch.ones_like(m.spanning)
        for k in range(self.spans):
            over = over & (self.answer.done(self.shown(later, m, k)) | ~self.own(later, m, k).any(-1))
        return replace(t, memo=replace(m, spanning=m.spanning & ~over))

    def write(self, s: State, p: Pred) -> State:
        """A token from left to right; where it ends a plan, the spans are laid out."""
        m, here, column = s.memo, leftmost(s.open), torch.arange(s.tokens.shape[1], device=s.tokens.device)
        t = self.writer.step(s, p)
        at = here.long().argmax(-1)
        token, confidence = t.tokens.gather(1, at[:, None]), t.confidence.gather(1, at[:, None])
        ends = among(token[:, 0], (*self.ids("sync"), *s.stop_ids)) & here.any(-1)
        sizes = self.promised(s.tokens, (column >= m.begun[:, None]) & (column < at[:, None]))
        turn = ends & (sizes > 0).any(-1)
        begun = torch.where(ends, at + 1, m.begun)
        laid = self.lay(s, Spans.of(sizes, at), token, confidence)
        return choose(turn, laid, replace(t, memo=replace(m, begun=begun)))

    def lay(self, s: State, spans: Spans, token: Tensor, confidence: Tensor) -> State:
        """The state with spans laid out where it is open, and `token (B, 1)` after them."""
        m, column, sure = s.memo, torch.arange(s.tokens.shape[1], device=s.tokens.device), torch.ones_like(s.confidence)
        for where, control in zip((spans.at(0), spans.at(spans.size - 1)), self.ids("span"), strict=True):
            s = s.commit(where, torch.full_like(s.tokens, control), sure)
        after = column == spans.end[:, None]
        s = s.commit(after, token.expand_as(s.tokens), confidence.expand_as(sure))
        m = replace(m, span=spans.blanks, begun=spans.end + 1, sight=spans.sight(s, m.sight), step=s.step + 1)
        owns = [s.open & self.own(s, m, k) for k in range(self.spans)]
        m = replace(m, opened=torch.stack([own.sum(-1) for own in owns], 1), spanning=torch.stack([own.any(-1) for own in owns]).any(0))
        later = replace(s, step=s.step + 1, clock=s.clock + 1)
        inner = tuple(self.answer.begin(self.shown(later, m, k)).memo for k in range(self.spans))
        return replace(s, memo=replace(m, inner=inner))

    def done(self, s: State) -> Tensor:
        memo: Memo = s.memo
        return ~s.open.any(-1) & ~memo.spanning
