"""Models whose forwards run whole rows and store nothing: attention is bidirectional, and output i predicts position i.
Only the wanted positions reach the head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from decoders.core import Forward, Pred, Session, SessionSpec
from decoders.models.columns import compact, widths
from decoders.models.spread import Spread


@dataclass(frozen=True)
class RowWork:
    """Floating point operations of a row; a multiplication and an addition are two."""

    column: float
    """The linear layers of the base model, for one position."""
    pair: float
    """One layer's attention, for one position and one column that it sees."""
    halves: tuple[int | None, ...]
    """For each layer, the number of columns that a position sees on either side; None: all."""
    row: float
    """The head, for one row of logits."""

    def __call__(self, columns: Tensor, wanted: Tensor) -> Tensor:
        """(B,) double, of rows with `columns (B,)` of which `wanted (B,)` reach the head."""
        n = columns.double()
        pairs = torch.zeros_like(n)
        for half in self.halves:
            h = n - 1 if half is None else (n - 1).clamp(max=half)
            pairs = pairs + n * (2 * h + 1) - h * (h + 1)  # the two ends of the row see less on one side
        return self.column * n + self.pair * pairs + self.row * wanted.double()


class RowModel(ABC):
    """A model that is its own session; a subclass writes `states` and `head`."""

    model: Any
    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...]
    work: RowWork
    block_causal = False
    causal_context = False
    attention_block: int | None = None
    capabilities: frozenset[str] = frozenset({"candidates", "movable"})
    """Nothing else: attention is bidirectional in the models' own code, and a row is run as a whole."""
    column_bytes = 0

    @abstractmethod
    def states(self, tokens: Tensor, end: Tensor) -> Tensor:
        """(B, M, D) the last hidden states of `tokens (B, M)`, where each row ends at `end (B,)`."""

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """(B, N, V) logits of hidden states (B, N, D)."""

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    def session(self, spec: SessionSpec) -> Session:
        return Spread(self, spec) if spec.candidates else self.forward

    @torch.inference_mode()
    def forward(self, f: Forward) -> Pred:
        W = f.want.shape[1]
        end = f.until.amax(-1)  # the row's end, here for every position
        hidden = self.shown(f, end)
        at = compact(f.want, W, widths(W))
        column = f.at.gather(1, at.clamp(max=W - 1)).clamp(max=hidden.shape[1] - 1)
        wanted = f.want.sum(-1)
        columns = torch.where(wanted > 0, end, 0)  # rows that have ended have no cost
        logits = self.said(f, hidden.gather(1, column[..., None].expand(-1, -1, hidden.shape[-1])), column)
        return Pred(logits, at, W, (columns, torch.where(wanted > 0, self.work(columns, wanted), 0.0)))

    def shown(self, f: Forward, end: Tensor) -> Tensor:
        """(B, M, D) the last hidden states of what a forward shows, where each row ends at `end (B,)`."""
        return self.states(f.tokens[:, :-1], end)  # no row reaches the bin, and there may be no position for it

    def said(self, f: Forward, hidden: Tensor, column: Tensor) -> Tensor:
        """(B, N, V) logits of the hidden states (B, N, D) that stand at `column (B, N)`."""
        return self.head(hidden)
