"""The input of each twin in a training step: examples packed into rows, their masked positions, and the weights of the
loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import pad

from decoders_bench.nano.batches import PAD_WEIGHT, Example
from decoders_bench.nano.tokenizer import segmenter
from decoders_bench.versus.examples import of_step
from decoders_bench.versus.plan import BLOCK, Kind, Plan


@dataclass(frozen=True)
class Rows:
    """Examples packed into N rows of T columns. The padding columns of a row form segment -1."""

    tokens: Tensor  # (N * T,) long
    segment: Tensor  # (N * T,) long  which example of its row
    position: Tensor  # (N * T,) long  within the example
    place: Tensor  # (G, S) long  the column of each canvas position in the flattened rows; -1 past the canvas
    weight: Tensor  # (G, S) float  stop tokens after the first count less; 0 past the canvas
    width: int


def packed(examples: Sequence[Example], width: int) -> Rows:
    """Pack the longest examples first, each into the first row with enough room."""
    room: list[int] = []
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i].prompt) - examples[i].size)
    segments: list[int] = []
    end = segmenter().end
    most = max(e.size for e in examples)
    spots = [(0, 0)] * len(examples)
    for i in order:
        size = len(examples[i].prompt) + examples[i].size
        row = next((r for r, left in enumerate(room) if left >= size), len(room))
        if row == len(room):
            room.append(width)
            segments.append(0)
        spots[i] = (row * width + width - room[row], segments[row])
        room[row] -= size
        segments[row] += 1
    n = len(room) * width
    tokens, position = torch.full((n,), end), torch.zeros(n, dtype=torch.long)
    segment = torch.full((n,), -1)
    place, weight = torch.full((len(examples), most), -1), torch.zeros(len(examples), most)
    for i, (e, (start, own)) in enumerate(zip(examples, spots, strict=True)):
        whole = len(e.prompt) + e.size
        tokens[start : start + len(e.prompt) + len(e.answer)] = torch.tensor(e.prompt + e.answer)
        position[start : start + whole] = torch.arange(whole)
        segment[start : start + whole] = own
        place[i, : e.size] = torch.arange(start + len(e.prompt), start + whole)
        weight[i, : e.size] = PAD_WEIGHT
        weight[i, : len(e.answer)] = 1.0
    return Rows(tokens, segment, position, place, weight, width)


@dataclass(frozen=True)
class Shown:
    """The input of the twins of one stream in a step, in the order of their kinds (k of them): `tokens (k, N * T)`;
    `until (k, N * T)`, the position below which a column attends to columns of the same segment; `source (k, C)`, the
    columns whose outputs predict the C canvas positions, with their `target (C,)` and `weight (k, C)`."""

    tokens: Tensor
    segment: Tensor
    position: Tensor
    until: Tensor
    source: Tensor
    target: Tensor
    weight: Tensor


def objective(kind: Kind, rows: Rows, noise: Tensor, level: Tensor, pick: Tensor, mask: int) -> tuple[Tensor, ...]:
    """tokens, until (N * T,), source and weight (G, S) of a kind. `noise (G, S)` orders the positions of a canvas,
    `level (G,)` is the share of them that is masked, `pick (G,)` selects the block; all are uniform in 0 to 1.

    The loss of each example is a bound of the mean negative log-likelihood of a canvas position, times the square root
    of its size. It is exact for autoregression; with l of n positions masked, it is n / l times the sum of their losses
    (Nie et al. 2025, 2502.09992), over a whole canvas or over one of its blocks, which then stands for all (Arriola et
    al. 2025, 2503.09573)."""
    here = rows.place >= 0
    at, size = rows.place.clamp(min=0), here.sum(-1, keepdim=True)
    scale = rows.weight / size.sqrt()
    if kind == "ar":
        return rows.tokens, rows.position + 1, at - 1, scale
    until = torch.full_like(rows.position, rows.width)
    inside, blocks = here, torch.ones_like(size)
    if kind == "block":
        until = (rows.position // BLOCK + 1) * BLOCK
        block = rows.position[at] // BLOCK
        first, last = block[:, :1], torch.where(here, block, 0).amax(-1, keepdim=True)
        blocks = last - first + 1
        inside = here & (block == first + (pick[:, None] * blocks).long())
    among = inside.sum(-1, keepdim=True)
    count = (level[:, None] * among).long().clamp(max=among - 1) + 1
    rank = torch.where(inside, noise, 2.0).argsort(-1).argsort(-1)
    hidden = inside & (rank < count)
    tokens = rows.tokens.clone()
    tokens[at[hidden]] = mask
    return tokens, until, at, torch.where(hidden, scale * blocks * among / count, 0.0)


def shown(examples: Sequence[Example], kinds: Sequence[Kind], width: int, key: str) -> Shown:
    """The input of some kinds for the same examples. Noise levels are spread evenly over the examples from a random
    start, as in the low-discrepancy sampler of Kingma et al. 2021 (2107.00630); `key` seeds all randomness."""
    rows, g = packed(examples, width), torch.Generator().manual_seed(Random(key).getrandbits(62))
    G, S = rows.place.shape
    noise, start, pick = (torch.rand(size, generator=g, dtype=torch.double) for size in ((G, S), (1,), (G,)))
    level = (start + torch.randperm(G, generator=g) / G) % 1
    here = rows.place >= 0
    made = [objective(kind, rows, noise, level, pick, segmenter().mask) for kind in kinds]
    tokens, until, source, weight = (torch.stack(x) for x in zip(*made, strict=True))
    target = rows.tokens[rows.place.clamp(min=0)]
    return Shown(
        tokens, rows.segment, rows.position, until, source[:, here], target[here], weight[:, here].float()
    )  # fmt: skip


def of_stream(plan: Plan, regime: str, seed: int, step: int) -> Shown:
    """The input of a stream in a step; examples and noise depend on the arguments alone."""
    kinds = [kind if kind != "again" else "ar" for kind in plan.kinds_in(regime)]
    return shown(of_step(plan, regime, seed, step), kinds, plan.width, f"versus/{regime}/{seed}/{step}/noise")


@dataclass(frozen=True)
class Batch:
    """The input of E twins in a step; N and C are those of the twin with the largest ones."""

    tokens: Tensor  # (E, N, T) long
    segment: Tensor  # (E, N, T) long
    position: Tensor  # (E, N, T) long
    until: Tensor  # (E, N, T) long
    source: Tensor  # (E, C) long  into N * T
    target: Tensor  # (E, C) long
    weight: Tensor  # (E, C) float

    @property
    def sees(self) -> Tensor:
        """(E, N, T, T) bool."""
        same: Tensor = self.segment[..., :, None] == self.segment[..., None, :]
        return same & (self.position[..., None, :] < self.until[..., :, None])

    def small(self) -> Batch:
        """The batch with integers in two bytes, for the transfer between processes."""
        return Batch(**{name: x if x.is_floating_point() else x.short() for name, x in vars(self).items()})

    def to(self, device: str) -> Batch:
        """The batch on a device, with integers as int64 again."""
        own = vars(self)
        if device.startswith("cuda"):
            own = {name: x.pin_memory() for name, x in own.items()}
        moved = {name: x.to(device, non_blocking=True) for name, x in own.items()}
        return Batch(**{name: x if x.is_floating_point() else x.long() for name, x in moved.items()})


def batch(parts: Sequence[Shown], width: int) -> Batch:
    """The streams side by side; padding columns attend to each other, and padding targets have weight 0."""
    n, c = max(x.tokens.shape[1] for x in parts), max(x.source.shape[1] for x in parts)
    end = segmenter().end

    def rows(name: str, fill: int) -> Tensor:
        each = [getattr(x, name) for x in parts]
        each = [x if x.dim() == 2 else x.expand(len(p.tokens), -1) for x, p in zip(each, parts, strict=True)]
        whole = torch.cat([pad(x, (0, n - x.shape[1]), value=fill) for x in each])
        return whole.view(len(whole), -1, width, *whole.shape[2:])

    def targets(name: str) -> Tensor:
        each = [getattr(x, name) for x in parts]
        each = [x if x.dim() == 2 else x.expand(len(p.tokens), -1) for x, p in zip(each, parts, strict=True)]
        return torch.cat([pad(x, (0, c - x.shape[-1])) for x in each])

    return Batch(
        rows("tokens", end), rows("segment", -1), rows("position", 0), rows("until", width), targets("source"),
        targets("target"), targets("weight"),
    )
