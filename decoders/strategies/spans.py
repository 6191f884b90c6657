"""Spans that a plan announces: reading a plan, and laying out its spans in the window. Planned Diffusion,
2510.18087."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from decoders.core import Sight, State
from decoders.stats.constants import constant

NONE = -1  # in no span


@dataclass(frozen=True)
class Spans:
    """The spans of one plan, laid out over the window. Columns of the window count from 0."""

    first: Tensor  # (B,) long  where the first one starts
    end: Tensor  # (B,) long  the column after the last one, which may lie beyond the row
    number: Tensor  # (B, W) long  which span a position is in, or NONE
    start: Tensor  # (B, W) long  where that span starts
    size: Tensor  # (B, W) long  and how long it is, control tokens included

    @classmethod
    def of(cls, sizes: Tensor, first: Tensor) -> Self:
        """One span after the other from `first (B,)` on, of the `sizes (B, W)` that are not 0."""
        B, W = sizes.shape
        column = torch.arange(W, device=sizes.device)
        place = first[:, None] + sizes.cumsum(-1) - sizes
        place = torch.where(sizes > 0, place.clamp(max=W), W)
        starts = sizes.new_zeros(B, W + 1).scatter(1, place, sizes)[:, :W]  # at the start of each span, its size
        start = torch.where(starts > 0, column, 0).cummax(-1).values
        size, end = starts.gather(1, start), first + sizes.sum(-1)
        inside = (column >= first[:, None]) & (column < end[:, None])
        return cls(first, end, torch.where(inside, (starts > 0).cumsum(-1) - 1, NONE), start, size)

    @property
    def inside(self) -> Tensor:
        """(B, W) bool"""
        return self.number != NONE

    def at(self, offset: Tensor | int) -> Tensor:
        """(B, W) bool: the positions at this distance from the start of their span."""
        return self.inside & (torch.arange(self.start.shape[1], device=self.start.device) == self.start + offset)

    @property
    def blanks(self) -> Tensor:
        """(B, W) long: the number of the span that contains a position in its text, or NONE."""
        return torch.where(self.at(0) | self.at(self.size - 1), NONE, self.number)

    def sight(self, s: State, before: Sight) -> Sight:
        """The attention mask with these spans laid out; other positions see the same as `before`."""
        left = s.position[:, :1]
        until = left + torch.minimum(self.start + self.size, s.size[:, None])
        hidden = torch.stack([(left + self.first[:, None]).expand_as(self.start), left + self.start], -1)
        return Sight(
            torch.where(self.inside, until, before.until), torch.where(self.inside[..., None], hidden, before.unseen)
        )


def promised(tokens: Tensor, where: Tensor, promise: Sequence[int], digits: Sequence[int], scale: float) -> Tensor:
    """(B, W) long: the size of the span that a promise asks for, control tokens included, where one ends in the text
    `where (B, W)` of `tokens (B, W)`; elsewhere 0. A promise stands between the two tokens `promise`, and its number is
    the first of `digits` in it (of 0, 1, 2, ...), with the one after it if there is one; its blanks are that many times
    `scale`."""
    opening, closing = (where & (tokens == t) for t in promise)
    numeric, value = digit(tokens, digits)
    numeric = numeric & where
    begin = since_closing(closing)
    counted = numeric & (within(begin, opening) > 0)
    first = counted & (within(begin, counted) == 1)
    following = pad(numeric, (0, 1))[:, 1:]
    number = torch.where(following, 10 * value + pad(value, (0, 1))[:, 1:], value)
    found = within(begin, torch.where(first, number, 0))
    blanks = (found * scale).long().clamp(max=tokens.shape[1])
    return torch.where(closing & (within(begin, first) > 0), blanks + 2, 0)


def digit(tokens: Tensor, digits: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(B, W) bool: which of the tokens are digits; and (B, W) long: of what value, 0 for the others."""
    same = tokens[..., None] == constant(tuple(digits), tokens.device)
    return same.any(-1), (same * torch.arange(same.shape[-1], device=tokens.device)).sum(-1)


def since_closing(closing: Tensor) -> Tensor:
    """(B, W) long: for each position, where the stretch of text begins that ends with the next closing token, after the
    one before."""
    number = closing.cumsum(-1) - closing.long()
    begins = number != pad(number, (1, 0), value=-1)[:, :-1]
    column = torch.arange(closing.shape[1], device=closing.device)
    return torch.where(begins, column, 0).cummax(-1).values


def within(begin: Tensor, x: Tensor) -> Tensor:
    """(B, W) long: the sum of `x (B, W)` over the stretch that begins at `begin (B, W)`, up to and with each
    position."""
    total = pad(x.long().cumsum(-1), (1, 0))  # sums over stretches are differences of running sums
    return total[:, 1:] - total.gather(1, begin)
