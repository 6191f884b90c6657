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

    What it needs of a model, such as causal rows or attention maps, is not declared: it is found from its `query` and
    its `step` before the first forward (`decoders.core.needs`). Class attributes declare what cannot be found so.
    """

    needs_mask: ClassVar[bool] = False
    """The model must have a mask token, which the algorithm cannot replace by noise."""
    needs_blocks: ClassVar[bool] = False
    """It works on block-causal models only."""
    leftward: ClassVar[bool] = False
    """On a causal model all its queries are causal, so that its windows may have more than one position."""
    maskless: ClassVar[bool] = False
    """On a causal model it shows no mask token, and so it needs none there."""
    revises: ClassVar[bool] = False
    """It may change or reopen tokens that it has committed."""
    moves_text: ClassVar[bool] = False
    """It may move what is given or decided to other positions of the window (`State.rearranged`), all of it in its
    order."""
    needs_expand: ClassVar[bool] = False
    """The model must have tokens by which it asks for more and fewer positions (`State.expand_id`)."""
    unbiased: ClassVar[bool] = False
    """With its sampling at temperature 1, samples come from the model's own distribution in the limit of one token a
    step."""
    phases: ClassVar[tuple[str, ...]] = ()
    """Names of the kinds of forwards, if there is more than one; `phase` says which is next. Traces show them."""
    outcomes: ClassVar[tuple[str, ...]] = ()
    """Names of the ways in which a position is committed, such as `threshold passed` and `forced minimum`; see
    `outcome`. Empty if the decoder does not report them."""
    source: ClassVar[str] = ""
    """The paper: authors, year, arXiv number."""
    attested: ClassVar[Attested] = "ours"
    """How the implementation was checked against its source; a key of `ATTESTED`."""

    def __post_init__(self) -> None:
        validate(self)

    @classmethod
    def respelled(cls, name: str, given: dict[str, str]) -> tuple[str, dict[str, str]]:
        """The present spelling of a spec that may be written in an older one: its name and its written options. Raises
        `UsageError`."""
        return name, given

    @property
    def padding(self) -> int:
        """The number of end tokens that follow each row, in addition to its length; no end tokens follow if the model
        has none."""
        return 0

    @property
    def attention_from(self) -> float:
        """The share of the layers, from the first on, that are left out of the attention maps that it reads
        (`Pred.attention`)."""
        return 0.0

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        """This decoder with token ids in place of texts among its options; it is called before decoding by hosts that
        have a tokenizer."""
        inner = {name: d.tokenized(encode) for name, d in inner_decoders(self).items()}
        return replace(self, **inner) if inner else self

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        """The windows in which it works on such a model; by default those that were asked for. They may read
        `Canvas.memo`, which is None before the first window. Larger windows need larger canvases in an engine whose
        canvases have a fixed width."""
        return asked

    def init(self, s: State) -> State:
        """Called once, when a row joins: set the memo that lasts as long as the row."""
        return s

    def begin(self, s: State) -> State:
        """Called when a row enters a window; the memo of the window before is still in `s`. Only the memo and the size
        of the returned state are used."""
        return s

    def query(self, s: State) -> Query:
        """The input of the next forward. By default it shows the present tokens and wants every open position, with
        attention in both directions."""
        return Query(s.tokens, s.open)

    @abstractmethod
    def step(self, s: State, p: Pred) -> State:
        """One step: read the prediction, return the new state."""
        raise NotImplementedError

    def phase(self, s: State) -> Tensor:
        """(B,) long: which of `phases` the next forward of each row is."""
        return torch.zeros_like(s.key)

    def outcome(self, s: State) -> Tensor:
        """(B, W) long: the indices in `outcomes` of the last step's commitments. `s` is the window as that step left
        it, with the present memo, in which `begin` must leave them."""
        return torch.zeros_like(s.tokens)

    def done(self, s: State) -> Tensor:
        """(B,) bool: the window is finished."""
        return ~s.open.any(-1)


def inner_decoders(decoder: Decoder) -> dict[str, Decoder]:
    """The decoders among its options, by name."""
    values = {f.name: getattr(decoder, f.name) for f in fields(decoder)}
    return {name: x for name, x in values.items() if isinstance(x, Decoder)}


def named(decoder: Decoder) -> str:
    """The name of a decoder in messages: its class, and the classes of the decoders that it contains."""
    inside = ", ".join(map(named, inner_decoders(decoder).values()))
    return type(decoder).__name__ + (f" ({inside})" if inside else "")
