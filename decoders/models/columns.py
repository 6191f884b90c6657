"""Which columns of a canvas a forward runs, in tensors of few shapes, and what they see."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor

from decoders.stats.constants import counting, number


def compact(where: Tensor, pad: int, sizes: tuple[int, ...] = ()) -> Tensor:
    """(B, M) long: the columns that hold, left to right, then `pad`; M is that of the fullest row, or the next of the
    ascending `sizes`."""
    return gathered(where, pad, size_of(int(where.sum(-1).max()), sizes))


def size_of(count: int, sizes: tuple[int, ...] = ()) -> int:
    """The next of the ascending `sizes`, or as many where that is beyond all of them; at least 1."""
    count = max(count, 1)
    return sizes[bisect_left(sizes, count)] if sizes and sizes[-1] >= count else count


def gathered(where: Tensor, pad: int, M: int) -> Tensor:
    """(B, M) long: the columns that hold, of which no row has more than M, left to right, then `pad`."""
    # bytes, since not every device sorts what is true or false
    holds, order = where.view(torch.uint8).sort(dim=-1, descending=True, stable=True)
    return torch.where(holds[:, :M].view(torch.bool), order[:, :M], number(pad, order))


def parted(counts: list[int], least: float = 0.25) -> int | None:
    """The number of columns up to which rows, which need `counts`, are run apart from those that need more; none: all
    together, if two parts would not save the share `least` of what padding all of them to the largest costs."""
    whole, ordered = len(counts) * max(counts), sorted(counts)
    costs = {small: n * small + (len(counts) - n) * ordered[-1] for n, small in enumerate(ordered[:-1], 1)}
    best = min(costs, key=lambda small: costs[small], default=0)
    return best if costs and costs[best] < (1 - least) * whole else None


def seen(
    until: Tensor, index: Tensor, columns: int, unseen: Tensor | None = None, beside: Tensor | None = None,
    rank: Tensor | None = None,
) -> Tensor:
    """(B, M, K) bool, the rule of attention: the columns `index (B, M)` see those left of their `until (B, K)`, which
    is by `rank (B, K)` where there is one, less the stretch that is `unseen (B, K, 2)`, and themselves; those where
    `beside (B, K)` see each other too."""
    key = counting(columns, until.device)
    left = (key if rank is None else rank[:, None]) < until.gather(1, index)[..., None]
    if unseen is not None:
        since, to = unseen.gather(1, index[..., None].expand(-1, -1, 2))[..., None].unbind(2)
        left = left & ~((key >= since) & (key < to))
    if beside is not None:
        left = left | (beside.gather(1, index)[..., None] & beside[:, None])
    return left | (key == index[..., None])


def widths(width: int) -> tuple[int, ...]:
    """The numbers of logit rows that occur: eighths of the window. The head is the widest layer, so padding costs most
    here."""
    step = max(width // 8, 1)
    return (*range(step, width, step), width)
