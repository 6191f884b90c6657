"""Decoder: what every strategy is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from decoders.core.attested import Attested
from decoders.core.options import validate
from decoders.core.pred import Pred
from decoders.core.query import Query
from decoders.core.state import State
from decoders.core.windows import Windows


@dataclass(frozen=True)
class Decoder:
    """A strategy: a frozen dataclass of hyper-parameters with a pure `step`.

    Subclass it as a frozen dataclass and write `step`; nothing else has to be written. `step` and `query` are pure,
    batched tensor functions: no `.item()`, no data-dependent shapes, no Python loop over rows or positions. One step is
    one forward; an algorithm with two kinds of forwards keeps its phase per row in `memo`.

    What it asks of a model, such as causal rows or attention maps, nobody declares: it is read off its `query` and its
    `step` before the first forward (`decoders.core.needs`). Class attributes say what cannot be read off.
    """

    needs_mask: ClassVar[bool] = False
    """The model must have a mask token: it means something to the algorithm that nothing else can stand for."""
    needs_blocks: ClassVar[bool] = False
    """Does what its name says on block-causal models only."""
    leftward: ClassVar[bool] = False
    """On a causal model all its queries are causal, and it needs no mask token there, so that its windows may have more
    than one position."""
    revises: ClassVar[bool] = False
    """May change or take back what it has committed."""
    unbiased: ClassVar[bool] = False
    """With its sampling at temperature 1, samples come from the model's own distribution in the limit of one token a
    step."""
    phases: ClassVar[tuple[str, ...]] = ()
    """Names of the kinds of forwards, where there is more than one; `phase` says which one comes next. For those who
    watch."""
    outcomes: ClassVar[tuple[str, ...]] = ()
    """Names of the ways in which a position comes to be committed, such as `threshold passed` and `forced minimum`; see
    `outcome`. None: it says nothing of that."""
    source: ClassVar[str] = ""
    """The paper: authors, year, arXiv number."""
    attested: ClassVar[Attested] = "ours"
    """What stands behind the claim that it does what its source says."""

    def __post_init__(self) -> None:
        validate(self)

    @classmethod
    def respelled(cls, name: str, given: dict[str, str]) -> tuple[str, dict[str, str]]:
        """A spec as it is written now, from one of an older spelling: its name and its written options. Raises
        `UsageError`."""
        return name, given

    @property
    def padding(self) -> int:
        """How many end tokens are given behind each row, besides its length; none where the model has no end token."""
        return 0

    @property
    def attention_from(self) -> float:
        """The share of the layers, from the first on, that are left out of the attention maps that it reads
        (`Pred.attention`)."""
        return 0.0

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        """The same with token ids in place of texts among its options; whoever has a tokenizer calls it before
        decoding."""
        inner = {name: d.tokenized(encode) for name, d in inner_decoders(self).items()}
        return replace(self, **inner) if inner else self

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        """The windows that it works in on such a model, where others were asked for. They may read `Canvas.memo`, which
        is None before the first window. Larger ones need as much room in an engine whose canvases have a fixed
        width."""
        return asked

    def init(self, s: State) -> State:
        """Once, when a row joins: set the memo that lives as long as the row."""
        return s

    def begin(self, s: State) -> State:
        """At every new window; the memo of the window before is still there. Only the memo and the size that are
        returned count."""
        return s

    def query(self, s: State) -> Query:
        """What the next forward shows and asks. By default: the tokens as they stand, every open position, both
        directions."""
        return Query(s.tokens, s.open)

    @abstractmethod
    def step(self, s: State, p: Pred) -> State:
        """One step: read the prediction, return the new state."""
        raise NotImplementedError

    def phase(self, s: State) -> Tensor:
        """(B,) long: which of `phases` the next forward of each row is."""
        return torch.zeros_like(s.key)

    def outcome(self, s: State) -> Tensor:
        """(B, W) long: which of `outcomes` the last step's commitments were. `s` is the window as that step left it,
        with the memo of now, which `begin` leaves as it is in this."""
        return torch.zeros_like(s.tokens)

    def done(self, s: State) -> Tensor:
        """(B,) bool: the window is finished."""
        return ~s.open.any(-1)


def inner_decoders(decoder: Decoder) -> dict[str, Decoder]:
    """The decoders among its options, under their names."""
    values = {f.name: getattr(decoder, f.name) for f in fields(decoder)}
    return {name: x for name, x in values.items() if isinstance(x, Decoder)}


def named(decoder: Decoder) -> str:
    """How a message names it: by its class, and those of the decoders that it is made of."""
    inside = ", ".join(map(named, inner_decoders(decoder).values()))
    return type(decoder).__name__ + (f" ({inside})" if inside else "")
