"""Decoder: what every strategy is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from decoders.core.options import validate
from decoders.core.pred import Pred
from decoders.core.query import Query
from decoders.core.state import State
from decoders.core.windows import Windows


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
    asks_ahead: ClassVar[bool] = False
    """Some of its causal queries want more than the leftmost open position, so that what is shown left of one is not settled."""
    needs_blocks: ClassVar[bool] = False
    """Does what its name says on block-causal models only; a `Generator` refuses others."""
    needs_sight: ClassVar[bool] = False
    """Its queries say themselves what positions see (`Query.sight`)."""
    needs_leave_one_out: ClassVar[bool] = False
    """Its queries leave out a position's own token (`Query.left_out`)."""
    needs_candidates: ClassVar[bool] = False
    """Its queries show `candidates` canvases besides the row's own (`Query.beside`), and `step` gets a `Pred` of them all."""
    needs_attention: ClassVar[bool] = False
    """Reads attention maps (`Pred.attention`)."""
    needs_hidden: ClassVar[bool] = False
    """Reads the hidden states of wanted positions (`Pred.hidden_states`)."""
    resizes: ClassVar[bool] = False
    """Its queries say how long the window is yet (`Query.extent`), and it works on the row as one window."""
    revises: ClassVar[bool] = False
    """May change or take back what it has committed."""
    exact: ClassVar[bool] = False
    """With its sampling at temperature 1, samples come from the model's own distribution in the limit of one token a step."""
    keeps_vocabulary: ClassVar[bool] = False
    """Its memo has a number for every token of the vocabulary; see `Row.memo_bytes`."""
    row_budget: ClassVar[bool] = False
    """Its option `steps` is the budget of the whole row, split evenly over the row's windows."""
    phases: ClassVar[tuple[str, ...]] = ()
    """Names of the kinds of forwards, where there is more than one; `phase` says which one comes next. For those who watch."""
    outcomes: ClassVar[tuple[str, ...]] = ()
    """Names of the ways in which a position comes to be committed, where there is more than one; see `outcome`."""
    source: ClassVar[str] = ""
    """The paper: authors, year, arXiv number."""

    def __post_init__(self) -> None:
        validate(self)

    @property
    def candidates(self) -> int:
        """A: how many candidates each of its queries has."""
        return 0

    @property
    def padding(self) -> int:
        """How many end tokens are given behind each row, besides its length; none where the model has no end token."""
        return 0

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        """The same with token ids in place of texts among its options; whoever has a tokenizer calls it before decoding."""
        inner = {f.name: d.tokenized(encode) for f in fields(self) if isinstance(d := getattr(self, f.name), Decoder)}
        return replace(self, **inner) if inner else self

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        """The windows that it works in on such a model, where others were asked for. They may read `Canvas.memo`, which is None before
        the first window. Larger ones need as much room in an engine whose canvases have a fixed width."""
        return asked

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

    def phase(self, s: State) -> Tensor:
        """(B,) long: which of `phases` the next forward of each row is."""
        return torch.zeros_like(s.key)

    def outcome(self, s: State) -> Tensor:
        """(B, W) long: which of `outcomes` the last step's commitments were, from its memo, which `begin` leaves as it is in this."""
        return torch.zeros_like(s.tokens)

    def done(self, s: State) -> Tensor:
        """(B,) bool: the window is finished."""
        return ~s.open.any(-1)
