"""The columns of a canvas that a forward runs, in tensors of few shapes, and their attention masks."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor

from decoders.stats.constants import counting, number


def compact(where: Tensor, pad: int, sizes: tuple[int, ...] = ()) -> Tensor:
    """(B, M) long: the true columns, left to right, then `pad`; M is the count of the fullest row, or the next of the
    ascending `sizes`."""
    return gathered(where, pad, size_of(int(where.sum(-1).max()), sizes))


def size_of(count: int, sizes: tuple[int, ...] = ()) -> int:
    """The next of the ascending `sizes`, or the number itself if it is larger than all of them; at least 1."""
    count = max(count, 1)
    return sizes[bisect_left(sizes, count)] if sizes and sizes[-1] >= count else count


def gathered(where: Tensor, pad: int, M: int) -> Tensor:
    """(B, M) long: the true columns, of which no row has more than M, left to right, then `pad`."""
    # as bytes, because not every device sorts booleans
    holds, order = where.view(torch.uint8).sort(dim=-1, descending=True, stable=True)
    return torch.where(holds[:, :M].view(torch.bool), order[:, :M], number(pad, order))


def parted(counts: list[int], least: float = 0.25) -> int | None:
    """The rows need `counts` columns. Returns the number of columns up to which rows are run apart from those that need
    more; None: all rows are run together, because two parts would save less than a share `least` of the cost of padding
    all to the largest."""
    whole, ordered = len(counts) * max(counts), sorted(counts)
    costs = {small: n * small + (len(counts) - n) * ordered[-1] for n, small in enumerate(ordered[:-1], 1)}
    best = min(costs, key=lambda small: costs[small], default=0)
    return best if costs and costs[best] < (1 - least) * whole else None


def seen(
    until: Tensor, index: Tensor, columns: int, unseen: Tensor | None = None, beside: Tensor | None = None,
    rank: Tensor | None = None,
) -> Tensor:
    """(B, M, K) bool, the attention mask: the columns `index (B, M)` see those left of their `until (B, K)`, except for
    the stretch `unseen (B, K, 2)`, and themselves; columns in `beside (B, K)` also see each other. `rank (B, K)`, if it
    is given, defines "left of"."""
    key = counting(columns, until.device)
    left = (key if rank is None else rank[:, None]) < until.gather(1, index)[..., None]
    if unseen is not None:
        since, to = unseen.gather(1, index[..., None].expand(-1, -1, 2))[..., None].unbind(2)
        left = left & ~((key >= since) & (key < to))
    if beside is not None:
        left = left | (beside.gather(1, index)[..., None] & beside[:, None])
    return left | (key == index[..., None])


def widths(width: int) -> tuple[int, ...]:
    """The numbers of logit rows to which forwards are padded: eighths of the window. The head is the widest layer, so
    padding costs most here."""
    step = max(width // 8, 1)
    return (*range(step, width, step), width)
