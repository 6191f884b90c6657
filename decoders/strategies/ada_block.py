"""AdaBlock: blocks that end where the text does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from decoders.core import (
    Around,
    Attested,
    Blocks,
    Decoder,
    Pred,
    Query,
    State,
    UsageError,
    Windows,
    asks,
    check_ids,
    choose,
    only,
    option,
    top,
)
from decoders.stats.constants import among
from decoders.strategies.fast_dllm import Threshold


class Block(NamedTuple):
    """The block at the left end of the window."""

    end: Tensor  # (B,) long  the column of the window after the block's last; 0 until the first forward has found it
    opened: Tensor  # (B,) long  positions open in it before that forward


@dataclass(frozen=True)
class AdaBlock(Around):
    """Any rule, in blocks of adaptive size: the first forward of a block looks at the next `look` positions; if the
    most confident delimiter predicted there is at or above `tau`, the block ends after it, otherwise it has `block`
    positions. AdaBlock-dLLM, 2509.26432.

    `base` commits in that block from the first forward on. The paper looks over a quarter of the answer, which is 64 of
    its 256 positions; its `tau` is 0.3 for LLaDA and 0.5 for Dream. The default delimiter is the line break of LLaDA's
    and Dream's tokenizers; other models need theirs, as text (every token of it is a delimiter) or token ids.

    Blocks are counted from the first open position; a requested block size has no effect. In a block-causal model the
    attention blocks stay as they are, and a delimiter may divide them further. A `base` with a budget of steps is
    refused, because the number of blocks over which to split it is unknown, and so is one that changes the length of
    its window.
    """

    source: ClassVar[str] = "AdaBlock-dLLM, 2025, arXiv 2509.26432"
    attested: ClassVar[Attested] = "replayed"
    keeps_law: ClassVar[bool] = True
    delimiters: str | tuple[int, ...] = option((198,), "tokens after which a block may end; ids are written 12+7")
    tau: float = option(0.3, "confidence from which a predicted delimiter ends the block", min=0, max=1)
    block: int = option(32, "positions of a block without a delimiter", min=1)
    look: int = option(64, "positions in which a delimiter is looked for", min=1)
    base: Decoder = option(Threshold(), "the rule that commits")

    def __post_init__(self) -> None:
        super().__post_init__()
        if getattr(self.base, "steps", None) is not None:
            raise UsageError(
                "AdaBlock: base has a budget of steps, and the number of blocks is unknown; leave steps out"
            )
        if "resizes" in asks(self.base):
            raise UsageError(
                f"AdaBlock: {type(self.base).__name__} changes the length of its window, which AdaBlock has to choose"
            )
        check_ids("AdaBlock", "delimiters", self.delimiters)

    def tokenized(self, encode: Callable[[str], list[int]]) -> Self:
        inner, text = super().tokenized(encode), self.delimiters
        return replace(inner, delimiters=tuple(encode(text))) if isinstance(text, str) else inner

    def windows(self, asked: Windows, block_causal: bool) -> Windows:
        return super().windows(asked, block_causal) if block_causal else Blocks(max(self.block, self.look))

    def own(self, s: State) -> Block:
        zero = torch.zeros_like(s.size)
        return Block(zero, zero)

    def begin(self, s: State) -> State:
        return super().begin(self.keeping(s, self.own(s)))

    def inner(self, s: State) -> State:
        """A window that ends with the block."""
        block: Block = s.memo.own
        return replace(s.within(left_of(s, block.end), block.opened, s.memo), size=block.end)

    def query(self, s: State) -> Query:
        ahead = Block(s.size, s.opened)
        return super().query(self.keeping(s, choose(self.finished(s), ahead, s.memo.own)))

    def step(self, s: State, p: Pred) -> State:
        end = self.found(s, *p.best())
        new = Block(end, (s.open & left_of(s, end)).sum(-1))
        return super().step(self.keeping(s, choose(self.finished(s), new, s.memo.own)), p)

    def finished(self, s: State) -> Tensor:
        """(B,) bool: there is no block, or the base has finished it."""
        block: Block = s.memo.own
        return (block.end == 0) | self.done(s)

    def found(self, s: State, tokens: Tensor, confidence: Tensor) -> Tensor:
        """(B,) long: the column after the last of the block that begins with the leftmost open position."""
        first = s.open.long().argmax(-1)
        delimiter = s.open & left_of(s, first + self.look) & among(tokens, self.ids())
        surest = top(only(delimiter & (confidence >= self.tau), confidence), 1)
        end = torch.where(surest.any(-1), surest.long().argmax(-1) + 1, first + self.block)
        return torch.minimum(end, s.size)

    def ids(self) -> tuple[int, ...]:
        if isinstance(self.delimiters, str):
            raise UsageError(
                f"AdaBlock: delimiters is the text {self.delimiters!r}, and this host has no tokenizer; give token ids"
            )
        return self.delimiters

def left_of(s: State, end: Tensor) -> Tensor:
    """(B, W) bool: the columns of the window left of `end (B,)`."""
    return s.place < end[:, None]
