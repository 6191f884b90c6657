"""Training batches: which positions are masked, the attention masks, and the weight of each prediction.

Three ways of decoding are trained into the same weights. *full*: one canvas with full attention. *block*: absolute
blocks of B positions, causal between blocks and bidirectional inside, the prompt included (SDAR). *answer*: a causal
prompt, then blocks of B counted from the start of the answer. Blocks of one are autoregression. The block modes run the
two streams of BD3-LM (2503.09573) together: the clean text, and a noisy copy of it from the first answer block on, in
which a position attends to the clean text of earlier blocks and to the noisy text of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from random import Random
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from decoders_bench.nano.lessons import LESSONS
from decoders_bench.nano.tokenizer import Segmenter
from decoders_bench.tasks import GENERATED, stream

PAD_WEIGHT = 0.15  # stop tokens after the first are easy and numerous


class Example(NamedTuple):
    prompt: list[int]
    answer: list[int]  # with its stop token
    size: int  # canvas positions after the prompt, at least len(answer)


class Mode(NamedTuple):
    kind: Literal["full", "block", "answer", "latent"]
    block: int = 0


@dataclass(frozen=True)
class Batch:
    """All (N, T): `tokens` and `position`; `low`, `high` and `stream`, which determine `sees`; `target` with its
    `weight`, which is zero at unmasked positions; `counts (K,)` are the indices in the flattened batch with a weight
    that is not 0."""

    tokens: Tensor
    position: Tensor
    low: Tensor
    high: Tensor
    stream: Tensor
    target: Tensor
    weight: Tensor
    counts: Tensor

    @property
    def sees(self) -> Tensor:
        """(N, T, T) bool, computed on the batch's device: a position attends to the clean stream below `low`, to its
        own stream in [low, high), and to itself."""
        key = self.position[:, None]
        low, high, own = self.low[..., None], self.high[..., None], self.stream[:, None] == self.stream[..., None]
        clean = self.stream[:, None] == 0
        itself = torch.eye(key.shape[-1], dtype=torch.bool, device=key.device)
        return clean & (key < low) | own & (key >= low) & (key < high) | itself

    def to(self, device: str) -> Batch:
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        if device.startswith("cuda"):  # the copy overlaps with earlier work on the device
            own = {name: x.pin_memory() for name, x in own.items()}
        return Batch(**{name: x.to(device, non_blocking=True) for name, x in own.items()})


class Mixture:
    """An endless stream of examples of the training split, with the weights `{"task/rung": weight}`."""

    def __init__(self, tokenizer: Segmenter, mix: dict[str, float], rng: Random) -> None:
        self.names, self.weights, self.rng = list(mix), list(mix.values()), rng
        self.streams = {}
        for name in self.names:
            task, rung = name.split("/")
            self.streams[name] = stream(LESSONS.get(name) or GENERATED[task], rung, "train", rng)
        self.encode, self.end = tokenizer.encode, tokenizer.end

    def __iter__(self) -> Iterator[Example]:
        while True:
            item = next(self.streams[self.rng.choices(self.names, self.weights)[0]])
            answer = [*self.encode(item.answer), self.end]
            size = -(-len(answer) // 8) * 8
            if self.rng.random() < 0.35:
                size += self.rng.choice([8, 8, 16, 32])
            yield Example(self.encode(item.prompt), answer, size)


def one(example: Example, mode: Mode, rng: Random, phase: float, end: int, mask: int) -> dict[str, Tensor]:
    """The rows of one example, as 1-D tensors: token, position, `low` and `high`, target, weight.

    A position attends to columns of the clean stream below `low`, and to columns of its own stream in [low, high).
    """
    P, g = len(example.prompt), example.size
    clean = torch.tensor(example.prompt + example.answer + [end] * (g - len(example.answer)))
    column = torch.arange(P + g)
    if mode.kind == "full":
        begin, high = torch.zeros_like(column), torch.full_like(column, P + g)
    else:
        origin = 0 if mode.kind == "block" else P
        block = (column - origin).div(mode.block, rounding_mode="floor")
        begin = (origin + block * mode.block).clamp(min=0)
        high = (origin + (block + 1) * mode.block).clamp(max=P + g)
        if mode.kind == "answer":
            begin, high = torch.where(column < P, column, begin), torch.where(column < P, column + 1, high)
    index = begin.unique(return_inverse=True)[1]
    made = column >= P
    count = torch.zeros_like(index).scatter_add_(0, index, made.long())[index]  # answer positions in the same block
    share = (phase + torch.tensor([rng.random() for _ in range(int(index.max()) + 1)])[index]) % 1
    wanted = (share * count).long() + 1
    noise = torch.where(made, torch.tensor([rng.random() for _ in range(P + g)]), 2.0)
    order = (index.double() * 4 + noise).argsort()
    first = torch.zeros_like(index).scatter_reduce_(0, index, column, "amin", include_self=False)[index]
    rank = torch.empty_like(order).scatter_(0, order, column) - first
    hidden = made & (rank < wanted)
    blocks = int(index[-1] - index[P]) + 1
    weight = torch.where(hidden, g**0.5 / (wanted * blocks), 0.0)
    weight = torch.where(column >= P + len(example.answer), weight * PAD_WEIGHT, weight)
    noisy = torch.where(hidden, mask, clean)
    if mode.kind == "full":
        alone = torch.zeros_like(column)
        return {
            "token": noisy, "position": column, "low": begin, "high": high, "stream": alone, "target": clean,
            "weight": weight,
        }
    tail = column >= first[P]  # the noisy stream starts with the block of the first answer position

    def two(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([a, b[tail]])

    return {
        "token": two(clean, noisy), "position": two(column, column), "low": two(high, begin), "high": two(high, high),
        "stream": two(torch.zeros_like(column), torch.ones_like(column)), "target": two(clean, clean),
        "weight": two(torch.zeros_like(weight), weight),
    }


def collate(examples: list[Example], mode: Mode, rng: Random, end: int, mask: int) -> Batch:
    """Pad to the longest; a padding position attends only to itself, and no other position attends to it."""
    start = rng.random()
    rows = [one(e, mode, rng, start + i / len(examples), end, mask) for i, e in enumerate(examples)]
    T = max(len(r["token"]) for r in rows)
    fill = {"token": end, "position": 0, "low": 0, "high": 0, "stream": 2, "target": 0, "weight": 0.0}
    r = {
        k: torch.stack([torch.nn.functional.pad(row[k], (0, T - len(row[k])), value=v) for row in rows])
        for k, v in fill.items()
    }
    counts = r["weight"].flatten().nonzero().flatten()
    return Batch(r["token"], r["position"], r["low"], r["high"], r["stream"], r["target"], r["weight"], counts)


def size_of(example: Example, mode: Mode) -> int:
    return len(example.prompt) + example.size * (1 if mode.kind == "full" else 2)


def batches(
    examples: Iterator[Example], mode: Mode, rng: Random, positions: int, widest: int, end: int, mask: int
) -> Iterator[Batch]:
    """Batches of one step: about `positions` in all, of similar lengths, at most `widest` positions each. An
    eighth of `widest` may be padding."""
    drawn, total = [], 0
    while total < positions:
        drawn.append(next(examples))
        total += size_of(drawn[-1], mode)
    drawn.sort(key=lambda e: size_of(e, mode))
    group: list[Example] = []
    for e in drawn:
        size = size_of(e, mode)
        whole, used = size * (len(group) + 1), sum(size_of(x, mode) for x in group) + size
        if group and (whole > widest or whole - used > widest / 8):
            yield collate(group, mode, rng, end, mask)
            group = []
        group.append(e)
    yield collate(group, mode, rng, end, mask)
