"""Cache: which stored keys and values the next forward trusts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from decoders.core.attested import Attested
from decoders.core.canvas import Canvas
from decoders.core.options import validate
from decoders.core.pred import Pred
from decoders.core.state import State
from decoders.stats.constants import counting, number


@dataclass(frozen=True)
class Cache:
    """A cache policy: it decides which columns the next forward recomputes, besides those whose prediction is wanted.
    Subclass it as a frozen dataclass and write `stale`.

    Keys and values of all columns are always stored; a policy only says when to trust them. A column for which nothing
    is stored yet is always computed, and in causal rows the exact rule holds.
    """

    exact: ClassVar[bool] = False
    """Recompute every column that attends to a changed column, and no other; `stale` is then not called."""
    whole: ClassVar[bool] = False
    """Recompute everything in every forward, in causal rows too; `stale` is then not called."""
    needs_store: ClassVar[bool] = True
    """The model must store keys and values."""
    needs_blocks: ClassVar[bool] = False
    """The model must be block-causal."""
    needs_attention: ClassVar[bool] = False
    """It reads `Pred.attention`."""
    source: ClassVar[str] = ""
    """The paper: authors, year, arXiv number."""
    attested: ClassVar[Attested] = "ours"
    """How the implementation was checked against its source; a key of `ATTESTED`."""

    def __post_init__(self) -> None:
        validate(self)

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        """(B, L) bool: the columns to recompute, from the canvas after a step, the window before it, and the
        prediction."""
        raise NotImplementedError

    def init(self, c: Canvas) -> Any:
        """The policy's own tensors at the start, with leading dimension B; they are kept in `Store.memory`."""
        return None

    def remember(self, after: Canvas, before: State, p: Pred) -> Any:
        """Those tensors after a step, from the same arguments as `stale`; their structure never changes."""
        return after.store.memory

    def sizes(self, columns: int, width: int) -> tuple[int, ...]:
        """Ascending numbers of positions, to one of which every forward is padded; the last is `columns`, the length of
        the longest row. By default powers of two up to the window, then multiples of it."""
        small = [2**i for i in range((width - 1).bit_length())]
        return (*small, *range(width, columns, width), columns)


@dataclass(frozen=True)
class Exact(Cache):
    """No approximation. Block-causal models reuse every earlier block, autoregression reuses the whole prefix, and a
    bidirectional canvas is recomputed in every forward, so nothing stored for it is used. The rule is
    `must_recompute`."""

    attested: ClassVar[Attested] = "ours"
    exact: ClassVar[bool] = True
    needs_store: ClassVar[bool] = False


REFRESHED = "refreshed"
"""The name under which a canvas stores the result of `refresh`."""


def sees_any(
    columns: Tensor, until: Tensor, unseen: Tensor | None = None, rank: Tensor | None = None
) -> Tensor:
    """(B, L) bool: the columns that attend to one of `columns (B, L)`; without `unseen`, there is no unseen stretch,
    and without `rank` they are read in the order of the text. At most one of the two is given."""
    if unseen is None:
        L = columns.shape[1]
        place = counting(L, columns.device) if rank is None else rank
        first = torch.where(columns, place, number(L, place)).amin(-1, keepdim=True)
        return until > first
    left = torch.nn.functional.pad(columns.cumsum(-1), (1, 0))  # how many of `columns` are left of each column
    since, to = (left.gather(1, torch.minimum(edge, until)) for edge in unseen.unbind(-1))
    return left.gather(1, until) > to - since


def others_seen(old: Tensor, rank: Tensor, until: Tensor) -> Tensor:
    """(B, L) bool: the columns that see different columns in the order `rank` than in the order `old`. Both are (B, L)
    permutations; in either order, a column sees the columns with ranks below `until (B, L)`."""
    highest = torch.zeros_like(rank).scatter(1, old, rank).cummax(-1).values  # up to each old rank
    return (highest.gather(1, (until - 1).clamp(min=0)) >= until) & (until > 0)


def must_recompute(
    c: Canvas, shown: Tensor, until: Tensor, reach: Tensor, unseen: Tensor | None = None, rank: Tensor | None = None
) -> Tensor:
    """(B, L) bool, the exact rule: every column that attends to a changed column. Block caches, prefix caches and
    autoregressive caches are special cases of it, and a finished block is stored by the first forward of the next
    block."""
    within = c.column < reach[:, None]
    changed = (c.store.tokens != shown) | (c.store.until != until)
    if unseen is not None:
        changed = changed | (c.store.unseen != unseen).any(-1)
    if rank is not None:
        changed = changed | others_seen(c.store.rank, rank, until)
    return sees_any(changed & within, until, unseen, rank) & within


def refresh(c: Canvas) -> Tensor:
    """(B, L) bool: the columns that an exact refresh of the present canvas recomputes. With bidirectional attention
    that is the whole row as soon as one token changed; in a block-causal model, finished blocks are not recomputed."""
    known = vars(c)  # a column of these that a policy does not recompute is found again after the forward
    if REFRESHED not in known:
        known[REFRESHED] = must_recompute(c, c.tokens, c.until, c.reach)
    found: Tensor = known[REFRESHED]
    return found


def just_decided(after: Canvas, before: State) -> Tensor:
    """(B, L) bool: the columns that the last step committed or edited."""
    return after.committed_at == before.clock[:, None]
