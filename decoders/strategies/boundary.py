"""Where a reasoning ends: with a boundary of one or more tokens, or after a number of positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.core import State, UsageError, check_ids, until_first
from decoders.stats.constants import constant

NONE = -1  # no token


def check_boundary(owner: str, boundary: str | tuple[int, ...] | None) -> None:
    """Raises `UsageError` for a boundary or a limit that cannot end a reasoning."""
    if isinstance(boundary, str) and not boundary:
        raise UsageError(f"{owner}: boundary is an empty text")
    check_ids(owner, "boundary", boundary)


@dataclass(frozen=True)
class Past:
    """The reasoning in the windows that a row has finished."""

    made: Tensor  # (B,) long  its number of positions
    # (B, n - 1) long  its last tokens, in which a boundary of n tokens may have begun; NONE if it is shorter
    tail: Tensor
    end: Tensor  # (B,) long  the position after them


@dataclass(frozen=True)
class Boundary:
    """The reasoning ends with the first occurrence of the tokens `ids` among its settled tokens, or after `limit`
    positions."""

    ids: tuple[int, ...]
    limit: int | None

    @property
    def kept(self) -> int:
        """The number of a window's last tokens in which a boundary may begin that ends in the next window."""
        return max(len(self.ids) - 1, 0)

    def nothing(self, s: State) -> Past:
        """The past of a row that has just begun."""
        zero = torch.zeros_like(s.key)
        return Past(zero, zero[:, None].expand(-1, self.kept) + NONE, zero)

    def settled(self, s: State) -> Tensor:
        """(B, W) bool: the generated positions of this window without an open position to their left."""
        return s.decided & until_first(s.open)

    def region(self, s: State, past: Past) -> Tensor:
        """(B, W) bool: where the reasoning may write."""
        number = past.made[:, None] + s.editable.cumsum(-1)
        return torch.ones_like(s.open) if self.limit is None else number <= self.limit

    def text(self, s: State, past: Past) -> Tensor:
        """(B, n - 1 + W) long: the settled tokens, after the tail of the previous window; NONE elsewhere."""
        tail = torch.where((past.end == s.position[:, 0])[:, None], past.tail, NONE)
        return torch.cat([tail, torch.where(self.settled(s), s.tokens, NONE)], 1)

    def ends(self, s: State, past: Past) -> Tensor:
        """(B, W) bool: positions with which the boundary or the limit is complete."""
        settled = self.settled(s)
        ends = torch.zeros_like(settled)
        if self.limit is not None:
            ends = settled & (past.made[:, None] + settled.cumsum(-1) == self.limit)
        if self.ids:
            wanted = constant(self.ids, s.tokens.device)
            ends = ends | (self.text(s, past).unfold(1, len(self.ids), 1) == wanted).all(-1)
        return ends

    def left_behind(self, s: State, past: Past) -> Past:
        """The past for the next window, if this one is finished now."""
        tail = s.size[:, None] + torch.arange(self.kept, device=s.size.device)
        made = past.made + self.settled(s).sum(-1)
        return Past(made, self.text(s, past).gather(1, tail), s.position[:, 0] + s.size)
