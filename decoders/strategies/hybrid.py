"""Reasoning from left to right, then the answer by diffusion, in one model.

Exactly this has not been published for a model without further training. Order matters (2608.05687): a masked diffusion
model that may commit at any position commits its answer before its steps, and gets it wrong. Two models can be combined
if the reasoning is text (plan conditioning, 2603.13243); Planned Diffusion (2510.18087) trains one model for both.

Two forms of reasoning in a block-causal model. They are different algorithms:

- `ar=window`: windows of one position. Every position sees what is left of it and itself, for good: the keys and values
  that the answer reads are those of an autoregressive model, and each token costs two columns, the last token's and its
  own. The block in which the answer begins is cut there: the answer's positions see each other and all to their left,
  and the reasoning does not see them. (That blocks of one are autoregression: Arriola et al. 2025, 2503.09573; S2D2,
  2603.25702, relies on it.)
- `ar=wide`: the windows that were asked for, filled by causal queries. When a block is full, or the reasoning ends in
  it, it is computed once more with all of it seeing all of it, and that is what later blocks read, as it is in training
  on whole blocks. A token costs its block's stale columns and a probe, and the model has to give causal rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from decoders.core import (
    Attested,
    Decoder,
    Pred,
    Query,
    State,
    UsageError,
    Windows,
    choose,
    either,
    inherit,
    leftmost,
    option,
)
from decoders.strategies.boundary import Boundary, Past, check_boundary
from decoders.strategies.fast_dllm import Threshold
from decoders.strategies.frontier import Frontier
from decoders.strategies.left_to_right import LeftToRight
from decoders.strategies.one_by_one import OneByOne

BUDGET = 64  # positions of reasoning if neither a budget nor a boundary ends it


@dataclass(frozen=True)
class Memo:
    """The phase of a row, and the memos of the two decoders."""

    answering: Tensor  # (B,) bool
    begun: Tensor  # (B,) long  the position where the answer begins
    past: Past  # before this window
    through: Past  # with what is settled in it
    step: Tensor  # (B,) long  forwards spent on this window before the answer began
    opened: Tensor  # (B,) long  positions open in this window when it began
    reasoning: Any
    answer: Any


@dataclass(frozen=True)
class Hybrid(Decoder):
    """Reason from left to right until a boundary or a budget, then decode the rest with any decoder. Autoregression for
    reasoning and diffusion for output: 2510.18087 and 2603.13243 are the nearest published; block size 1 as
    autoregression: 2503.09573.

    `mode=block`, for block-causal models: the reasoning is autoregressive (`ar`: see this module), the answer is block
    diffusion. `mode=frontier`, for bidirectional models: the reasoning is `base` within `w` positions of the leftmost
    open one (`frontier`). `mode=auto`: block or frontier, as the model is. Where another model reasons, see
    `after_reasoning`.

    The reasoning ends with the first settled `boundary`: a text, matched by the tokens that the tokenizer gives for it
    alone, or token ids. If the text has other tokens inside a sentence, give these ids, or write the space before it.
    Each row changes from reasoning to answer at its own step, and rows share every forward. The answer's decoder sees
    the rest of the window in which a row changes as a window that it has just entered, and never revises the reasoning.
    Its `steps`, if it has any, are split over all windows of the row, including those of the reasoning.
    """

    source: ClassVar[str] = "cf. arXiv 2510.18087, 2603.13243, 2608.05687, 2503.09573"
    attested: ClassVar[Attested] = "ours"
    phases: ClassVar[tuple[str, ...]] = ("reasoning", "answer")
    mode: Literal["auto", "block", "frontier"] = option("auto", "how to reason")
    answer: Decoder = option(Threshold(), "decodes what follows the reasoning")
    boundary: str | tuple[int, ...] | None = option(None, "ends the reasoning; ids are written 12+7")
    budget: int | None = option(
        None, f"positions of reasoning at most; none: to the boundary, or {BUDGET} without one", min=1
    )
    ar: Literal["window", "wide"] = option("window", "block: one position a window, or causal rows in wide windows")
    temperature: float = option(0.0, "block: of the reasoning; 0 takes the likeliest token", min=0)
    w: int = option(4, "frontier: positions from the leftmost open one on in which it may commit", min=1)
    base: Decoder = option(Threshold(), "frontier: the rule that commits")

    def __post_init__(self) -> None:
        super().__post_init__()
        inherit(self, (self.answer, *(self.orders[self.blocks(b)] for b in (False, True))))
        object.__setattr__(self, "phases", ("reasoning", *(self.answer.phases or ("answer",))))
        object.__setattr__(self, "needs_blocks", self.needs_blocks or self.mode == "block")
        check_boundary("Hybrid", self.boundary)
        if not isinstance(self.boundary, str):
            _ = self.end  # a compiled step cannot make one

    @classmethod
    def respelled(cls, name: str, given: dict[str, str]) -> tuple[str, dict[str, str]]:
        """In older specs, mode `two-model`, or a reasoner in mode `auto`, means that another model reasons."""
        mode, reasoner = given.get("mode", "auto"), given.get("reasoner", "none")
        if mode != "two-model" and reasoner.lower() == "none":
            return name, {key: text for key, text in given.items() if key != "reasoner"}
        if mode not in ("auto", "two-model"):
            raise UsageError(f"Hybrid: a reasoner writes the reasoning in mode two-model, not in mode {mode}")
        new = {"reasoner": "reasoner", "boundary": "boundary", "budget": "budget", "answer": "base"}
        return "after_reasoning", {new[key]: text for key, text in given.items() if key in new}

    # --- its parts

    def blocks(self, block_causal: bool) -> bool:
        """Whether it reasons in mode `block` on such a model."""
        return self.mode == "block" or (self.mode == "auto" and block_causal)

    @cached_property
    def orders(self) -> tuple[Decoder, Decoder]:
        """The decoders of the reasoning in mode frontier, and in mode block."""
        # in a window of one position every rule is autoregression, without causal queries
        alone = LeftToRight(self.temperature) if self.ar == "wide" else Threshold(temperature=self.temperature)
        return Frontier(self.w, self.base), alone

    def thinker(self, s: State) -> Decoder:
        """The decoder of the reasoning."""
        return self.orders[self.blocks(s.block_causal)]

    @property
    def steps(self) -> int | None:
        return getattr(self.answer, "steps", None)

    @cached_property
    def end(self) -> Boundary:
        """Where the reasoning ends."""
        if isinstance(self.boundary, str):
            raise UsageError(
                f"Hybrid: the boundary {self.boundary!r} is a text, and this host has no tokenizer; give token ids"
            )
        return Boundary(self.boundary or (), self.budget or (None if self.boundary else BUDGET))

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        inner = super().tokenized(encode)
        return replace(inner, boundary=tuple(encode(self.boundary))) if isinstance(self.boundary, str) else inner

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return OneByOne(asked) if self.blocks(block_causal) and self.ar == "window" else asked

    # --- the phase of a row

    def init(self, s: State) -> State:
        zero, past = torch.zeros_like(s.key), self.end.nothing(s)
        inner = (d.begin(d.init(s)).memo for d in (self.thinker(s), self.answer))  # some make their memo in `begin`
        return replace(s, memo=Memo(zero.bool(), zero, past, past, zero, zero, *inner))

    def begin(self, s: State) -> State:
        m = replace(s.memo, past=s.memo.through, step=torch.zeros_like(s.step), opened=s.opened)
        a = self.thinker(s).begin(replace(s, memo=m.reasoning)).memo
        b = self.answer.begin(self.rest(replace(s, memo=m))).memo
        reasoning, answer = choose(m.answering, m.reasoning, a), choose(m.answering, b, m.answer)
        return replace(s, memo=replace(m, reasoning=reasoning, answer=answer))

    def rest(self, s: State) -> State:
        """The state for the answer's decoder: a window that was entered when the answer began, with the reasoning
        given."""
        m: Memo = s.memo
        return s.within(s.position >= m.begun[:, None], m.opened, m.answer, since=m.step)

    def thinking(self, s: State) -> State:
        """The state for the decoder of the reasoning: the part of the window in which it may write."""
        m: Memo = s.memo
        return s.within(self.end.region(s, m.past), s.opened, m.reasoning)

    def turned(self, s: State) -> State:
        """The state after a step; rows whose reasoning is complete begin their answer."""
        m: Memo = s.memo
        ends = self.end.ends(s, m.past)
        turn = ends.any(-1) & ~m.answering
        m = replace(
            m, answering=m.answering | turn, through=self.end.left_behind(s, m.past),
            begun=torch.where(turn, torch.where(leftmost(ends), s.position + 1, 0).sum(-1), m.begun),
            step=torch.where(turn, s.step + 1, m.step), opened=torch.where(turn, s.open.sum(-1), m.opened),
        )
        entered = self.rest(replace(s, step=s.step + 1, clock=s.clock + 1, memo=m))
        return replace(s, memo=replace(m, answer=choose(turn, self.answer.begin(entered).memo, m.answer)))

    # --- a forward

    def phase(self, s: State) -> Tensor:
        return torch.where(s.memo.answering, 1 + self.answer.phase(self.rest(s)), 0)

    def query(self, s: State) -> Query:
        m: Memo = s.memo
        return either(m.answering, self.answer.query(self.rest(s)), self.thinker(s).query(self.thinking(s)))

    def step(self, s: State, p: Pred) -> State:
        m, rest, thinking = s.memo, self.rest(s), self.thinking(s)
        a, b = self.answer.step(rest, p), self.thinker(s).step(thinking, p)
        said = replace(s.taking(rest.editable, a, replace(m, answer=a.memo)), size=a.size)
        thought = replace(s.taking(thinking.editable, b, replace(m, reasoning=b.memo)), size=b.size)
        return self.turned(choose(m.answering, said, thought))

    def done(self, s: State) -> Tensor:
        m, rest = s.memo, self.rest(s)
        said = self.answer.done(rest) | ~rest.editable.any(-1)
        thought = self.thinker(s).done(replace(s, memo=m.reasoning)) & ~s.open.any(-1)
        return torch.where(m.answering, said, thought)
