"""Decoder and Query: the two things that a strategy is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from decoders.core.options import validate
from decoders.core.pred import Pred
from decoders.core.state import State


@dataclass(frozen=True)
class Query:
    """What to show the model and what to ask of it."""

    tokens: Tensor  # (B, W) long
    want: Tensor  # (B, W) bool  positions whose prediction will be read; the others get no logits
    causal: Tensor  # (B,)   bool  True: position i is predicted from the shown tokens left of it, and from nothing else


@dataclass(frozen=True)
class Decoder:
    """A strategy: a frozen dataclass of hyper-parameters with a pure `step`.

    Subclass it as a frozen dataclass and write `step`; nothing else has to be written. `step` and `query` are pure, batched
    tensor functions: no `.item()`, no data-dependent shapes, no Python loop over rows or positions. One step is one forward; an
    algorithm with two kinds of forwards keeps its phase per row in `memo`.

    Class attributes declare what a strategy needs and does; they are checked before the first forward.
    """

    needs_mask: ClassVar[bool] = True
    """The model must have a mask token."""
    needs_causal: ClassVar[bool] = False
    """Some of its queries are causal."""
    revises: ClassVar[bool] = False
    """May change or take back what it has committed."""
    exact: ClassVar[bool] = False
    """With its sampling at temperature 1, samples come from the model's own distribution in the limit of one token a step."""
    row_budget: ClassVar[bool] = False
    """Its option `steps` is the budget of the whole row, split evenly over the row's windows."""
    source: ClassVar[str] = ""
    """The paper: authors, year, arXiv number."""

    def __post_init__(self) -> None:
        validate(self)

    def init(self, s: State) -> State:
        """Once, when a row joins: set the memo that lives as long as the row."""
        return s

    def begin(self, s: State) -> State:
        """At every new window; the memo of the window before is still there. Only the memo that is returned counts."""
        return s

    def query(self, s: State) -> Query:
        """What the next forward shows and asks. By default: the tokens as they stand, every open position, both directions."""
        return Query(s.tokens, s.open, torch.zeros_like(s.key, dtype=torch.bool))

    def step(self, s: State, p: Pred) -> State:
        """One step: read the prediction, return the new state."""
        raise NotImplementedError

    def done(self, s: State) -> Tensor:
        """(B,) bool: the window is finished."""
        return ~s.open.any(-1)
