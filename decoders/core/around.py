"""Around: decoders that wrap another decoder and keep everything it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from decoders.core.decoder import Decoder
from decoders.core.needs import asks
from decoders.core.pred import Pred
from decoders.core.query import Query
from decoders.core.rows import R, Rows
from decoders.core.state import State
from decoders.core.windows import Windows
from decoders.errors import UsageError


def inherit(d: Decoder, parts: Sequence[Decoder], everything: bool = False, moves_text: bool = False) -> None:
    """Set the class attributes of `d`, which contains other decoders, from those of the parts: what one of them needs,
    `d` needs. Raises `UsageError` for a part whose forwards show the model more than the window, unless `d` passes on
    `everything`, and for one that moves text, unless `d` does not change any of its steps (`moves_text`)."""
    for part in parts:
        if not everything and {"leave_one_out", "candidates"} & asks(part):
            own, other = type(d).__name__, type(part).__name__
            raise UsageError(f"{own} cannot wrap {other}, whose forwards show more than the window")
        if part.moves_text and not moves_text:
            own, other = type(d).__name__, type(part).__name__
            raise UsageError(f"{own} goes by positions, and {other} moves what stands there; take {other} by itself")
    for flag in ("needs_mask", "needs_blocks", "needs_expand", "revises", "moves_text"):
        object.__setattr__(d, flag, getattr(type(d), flag) or any(getattr(part, flag) for part in parts))
    for flag in ("leftward", "maskless"):
        object.__setattr__(d, flag, all(getattr(part, flag) for part in parts))


class Kept(NamedTuple):
    """The memo of a wrapper."""

    own: Any  # the wrapper's own memo, `()` if it has none
    base: Any  # the memo of its base


STEPS = ("inner", "outer", "begin", "query", "step", "done")
"""The methods that a wrapper must not override if its base moves text."""


class Around(Decoder):
    """A decoder that wraps another one, `base`, and behaves as it does except in the methods that it overrides.
    Subclass it as a frozen dataclass with an option `base`, and write one of

    - `inner`: the state that the base sees, if it is not the present one,
    - `outer`: the state after the base's step, if it is not the one that the base returned,

    or any method of `Decoder`, calling that of `super()`. A wrapper that remembers something from forward to forward
    returns its first value from `own`, finds it under `s.memo.own`, and changes it with `keeping`.

    This class is not a dataclass, so that each wrapper can place `base` among its own options. Raises `UsageError` for
    a base whose forwards show the model more than the window, unless `everything` is set.
    """

    base: Decoder
    everything: ClassVar[bool] = False
    """It passes on whole queries and predictions, including those that show more than the window."""
    keeps_law: ClassVar[bool] = False
    """It changes no prediction and no token that was drawn, so samples of an `unbiased` base stay the model's own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        inherit(self, (self.base,), self.everything, all(getattr(type(self), x) is getattr(Around, x) for x in STEPS))
        object.__setattr__(self, "unbiased", self.keeps_law and self.base.unbiased)
        object.__setattr__(self, "phases", self.base.phases)
        object.__setattr__(self, "outcomes", self.base.outcomes)

    # --- what a wrapper may override

    def inner(self, s: State) -> State:
        """The state that the base sees in a forward; its memo is always replaced by the base's own. Positions that are
        open in `s` and not here are hidden from the base, and its changes to them are discarded."""
        return s

    def outer(self, s: State, t: State) -> State:
        """The state after a step; `s` is the state before it, and `t` the one that the base would leave. Both have this
        wrapper's memo."""
        return t

    def own(self, s: State) -> Any:
        """The wrapper's own memo when a row joins: tensors with leading dimension B, or structures of them."""
        return ()

    # --- what it takes from its base

    @property
    def padding(self) -> int:
        return self.base.padding

    @property
    def attention_from(self) -> float:
        return self.base.attention_from

    @property
    def steps(self) -> int | None:
        """The base's budget of forwards for the whole row, if it has one."""
        return getattr(self.base, "steps", None)

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        own = self.base.windows(asked, block_causal)
        return own if own is asked else Unwrapped(own)

    def init(self, s: State) -> State:
        return replace(s, memo=Kept(self.own(s), self.base.init(s).memo))

    def begin(self, s: State) -> State:
        return self.begun(s, replace(s, memo=s.memo.base))

    def query(self, s: State) -> Query:
        return self.base.query(self.beneath(s))

    def step(self, s: State, p: Pred) -> State:
        seen = self.beneath(s)
        t = self.base.step(seen, p)
        after = s.taking(~s.open | seen.open, t, s.memo._replace(base=t.memo))
        if self.moves_text:
            after = replace(after, editable=t.editable)
        return self.outer(s, replace(after, size=resized(s, seen, t)))

    def phase(self, s: State) -> Tensor:
        return self.base.phase(self.beneath(s)) if self.phases else super().phase(s)

    def outcome(self, s: State) -> Tensor:
        return self.base.outcome(self.beneath(s))

    def done(self, s: State) -> Tensor:
        return self.base.done(self.beneath(s))

    # --- for wrappers with a memo of their own

    def beneath(self, s: State) -> State:
        """The state that the base gets in a forward."""
        return replace(self.inner(s), memo=s.memo.base)

    def begun(self, s: State, seen: State) -> State:
        """The state after the base has begun a window as `seen`."""
        t = self.base.begin(seen)
        return replace(s, memo=s.memo._replace(base=t.memo), size=resized(s, seen, t))

    def keeping(self, s: State, own: Any) -> State:
        """The state with another own memo."""
        return replace(s, memo=s.memo._replace(own=own))


def resized(s: State, seen: State, t: State) -> Tensor:
    """(B,) long: the size that the base gave the window, if the state that it has `seen` had the window's size; else
    the size as it was."""
    return t.size if seen.size is s.size else s.size


@dataclass(frozen=True)
class Unwrapped:
    """The windows of a wrapper's base, which may read its memo."""

    windows: Windows

    @property
    def size(self) -> int:
        return self.windows.size

    @property
    def block(self) -> int:
        return self.windows.block

    def first(self, c: Rows) -> Tensor:
        return self.windows.first(bare(c))

    def next(self, c: Rows) -> Tensor:
        return self.windows.next(bare(c))

    def span(self, c: Rows) -> tuple[Tensor, Tensor]:
        return self.windows.span(bare(c))

    def count(self, c: Rows) -> Tensor:
        return self.windows.count(bare(c))


def bare(c: R) -> R:
    """The canvas of a wrapper with its base's own memo, for code that knows only the base."""
    return c if c.memo is None else replace(c, memo=c.memo.base)
