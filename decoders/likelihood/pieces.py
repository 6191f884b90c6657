"""Pieces: the parts of a text whose tokens are predicted together, and the forwards that evaluate them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.core import Forward, Model, Pred, SessionSpec, is_causal


@dataclass(frozen=True)
class Piece:
    """The end of a row, as far as the row is seen: in a block-causal model one block, elsewhere the whole answer."""

    tokens: tuple[int, ...]
    """The row up to the piece's end."""
    start: int
    """The start of the piece; the tokens before it do not change."""
    given: int
    """The number of tokens of the condition, which guidance hides."""

    @property
    def size(self) -> int:
        return len(self.tokens) - self.start


def pieces(model: Model, given: Sequence[int], answer: Sequence[int], block: int | None = None) -> Iterator[Piece]:
    """The pieces of an answer, left to right. `block`: the block size of a block-causal model whose blocks follow the
    windows; None: one block over the whole row. Blocks are cut as in decoding: at multiples of their size, or counted
    from the end of the condition (`Model.causal_context`)."""
    row, first = (*given, *answer), len(given)
    if not model.block_causal or is_causal(model):
        yield Piece(row, first, first)
        return
    size, start = model.attention_block or block or len(row), first
    while start < len(row):
        end = start + size if model.causal_context else (start // size + 1) * size
        yield Piece(row[:end], start, first)
        start = end


class Rows:
    """Pieces side by side, in one session of a model. A call shows the contents of their windows and returns
    predictions.

    Keys and values that no window can change are computed once, if the model has a store and its attention leaves such
    columns unchanged."""

    def __init__(self, model: Model, of: Sequence[Piece], block: int | None = None) -> None:
        self.causal = is_causal(model)
        rows, columns, width = len(of), max(len(x.tokens) for x in of) + 1, max(x.size for x in of)
        tokens = torch.zeros(rows, columns, dtype=torch.long)
        for b, piece in enumerate(of):
            tokens[b, : len(piece.tokens)] = torch.tensor(piece.tokens)
        edges = torch.tensor([(x.start, len(x.tokens), x.given) for x in of], device=model.device)
        self.start, self.end, given = edges[:, :1], edges[:, 1:2], edges[:, 2:]
        self.tokens, self.column = tokens.to(model.device), torch.arange(columns, device=model.device)
        at = self.start + torch.arange(width, device=model.device)
        self.inside: Tensor = at < self.end  # (B, W)
        self.at = at.clamp(max=columns - 1)
        self.given = self.column < given
        self.until = self.seen(model, block)
        self.row = self.column < self.end
        self.changing = self.row if model.block_causal and "store" in model.capabilities else None
        self.session = model.session(SessionSpec(rows, columns, width, self.causal))
        self.fresh = True

    def seen(self, model: Model, block: int | None) -> Tensor:
        """(B, L) long: `Forward.until`."""
        alone, end = (self.column + 1).expand_as(self.tokens), self.end.expand_as(self.tokens)
        if self.causal:
            return alone
        if not model.block_causal:
            return end
        if model.causal_context:
            return torch.where(self.column < self.start, alone, end)
        size = model.attention_block or block or self.tokens.shape[1]
        return torch.minimum((self.column // size + 1) * size, end)

    @property
    def truth(self) -> Tensor:
        """(B, W) long: the tokens of the pieces; 0 past the end of a piece."""
        return self.tokens.gather(1, self.at)

    def __call__(self, shown: Tensor, want: Tensor) -> Pred:
        """The prediction at `want (B, W)` if the windows show `shown (B, W)`."""
        want = want & self.inside
        compute = self.row
        if self.changing is not None and not self.fresh:
            compute = self.row & (self.until > self.start)
        self.fresh = False
        live = want.any(-1)
        tokens = self.tokens.scatter(1, self.at, torch.where(self.inside, shown, self.truth))
        (B, L), W = self.tokens.shape, want.shape[1]
        no, whole = torch.zeros_like(live), torch.zeros_like(self.tokens)
        return self.session(
            Forward(
                tokens=tokens, until=self.until, compute=compute & live[:, None], outdated=whole.bool(),
                given=self.given, at=self.at, want=want, causal=no | self.causal, entered=~no, phase=no.long(),
                unseen=whole[..., None].expand(B, L, 2), left_out=torch.zeros_like(want),
                candidate_tokens=shown.new_zeros(B, 0, W), candidate_want=want.new_zeros(B, 0, W),
            )
        )
