"""Rows in their present SGLang block, and their state after one forward: torch only, no SGLang."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from decoders.core import (
    BROKEN,
    FILLED,
    LIVE,
    STALLED,
    Blocks,
    Decoder,
    Pred,
    Rows,
    choose,
    entered,
    mapped,
    patience,
    put,
    view,
    write,
)


@dataclass(frozen=True)
class RowPlan:
    """How some rows are decoded; rows of the same plan take their steps together."""

    decoder: Decoder
    never: tuple[int, ...]
    """Ids that are never generated: the mask token, the unknown token, and ids without a token."""
    stop_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BlockRows(Rows):
    """Rows with one block of W positions each, from `base` on, which is also their window."""

    base: Tensor  # (B,) long


class Left(NamedTuple):
    """The state that a row's last block leaves to its next one."""

    end: int
    """The place in the text where that block ended."""
    clock: Tensor  # (1,) long
    memo: Any  # leading dimension 1

    def resumed(self, rows: BlockRows) -> BlockRows:
        """The same row in its next block."""
        return replace(rows, clock=self.clock, memo=self.memo)


def laid_out(
    tokens: Tensor, given: Tensor, base: Tensor, limit: Tensor, windows: Tensor, key: Tensor, mask_id: int, vocab: int
) -> BlockRows:
    """Rows in the blocks `tokens (B, W)`, which start at the places `base (B,)`; `given (B, W)` bool: the positions
    given by the prompt or an earlier block. Rows end at the places `limit (B,)` and have `windows (B,)` in all."""
    B, W = tokens.shape
    zero, none = torch.zeros_like(base), torch.full_like(tokens, -1)
    place = base[:, None] + torch.arange(W, device=base.device)
    open_ = ~given & (place < limit[:, None])
    rows = BlockRows(
        tokens=tokens, open=open_, editable=open_, confidence=torch.zeros(B, W, device=base.device), committed_at=none,
        base=base, start=base, size=zero, room=zero, limit=limit, block_start=zero, block_end=zero, opened=zero,
        windows=windows, step=zero, clock=zero, key=key, width=W, mask_id=mask_id, vocab=vocab, stop_ids=(),
        block_causal=True, causal_context=False,
    )
    return entered(rows, Blocks(W))


def initial(rows: BlockRows, plan: RowPlan) -> BlockRows:
    """New rows, with the initial memo of their decoder."""
    rows = replace(rows, stop_ids=plan.stop_ids)
    return replace(rows, memo=plan.decoder.init(view(rows)).memo)


def batch(rows: Iterable[BlockRows]) -> BlockRows:
    """All rows in one batch."""
    made: BlockRows = mapped(lambda *xs: torch.cat(xs), *rows)
    return made


def taken(rows: BlockRows, index: list[int]) -> BlockRows:
    """Some of the rows; copies, so that no row keeps the others' memory."""
    made: BlockRows = mapped(lambda x: x[index], rows)
    return made


def shown(rows: BlockRows, decoder: Decoder) -> Tensor:
    """(B, W) long: the tokens that the next forward shows. Finished rows show their final tokens, so that their keys
    and values are stored."""
    s = view(rows)
    asked = torch.where(s.editable, decoder.query(s).tokens, s.tokens)
    return torch.where(decoder.done(s)[:, None], rows.tokens, put(rows, rows.tokens, asked))


def advanced(rows: BlockRows, plan: RowPlan, logits: Tensor) -> tuple[BlockRows, Tensor]:
    """The rows after one forward with `logits (B, W, V)`; and (B,) long: LIVE, FILLED for rows that were done before
    it, BROKEN for rows whose logits are not finite, and STALLED for rows whose decoder no longer commits anything. Done
    and broken rows take no step."""
    s, W = view(rows), rows.width
    over = plan.decoder.done(s)
    want = plan.decoder.query(s).want & s.editable
    p = Pred(logits, torch.where(want, torch.arange(W, device=logits.device), W), W)
    broken = p.undefined() & ~over
    after = plan.decoder.step(s, p.without(plan.never))
    after = choose(over | broken, s, replace(after, step=s.step + 1, clock=s.clock + 1))
    idle = torch.minimum(after.step, after.clock - after.committed_at.amax(-1))
    why = torch.where(idle > patience(plan.decoder), STALLED, LIVE)
    return write(rows, after), torch.where(over, FILLED, torch.where(broken, BROKEN, why))
