"""A recorded run as a decoder and a cache, with which a model with random weights has the same cost as a trained one.

A model with random weights is never sure: no confidence reaches a threshold and every entropy is near its maximum, so a
threshold would commit one token a forward and EntropyCache would refresh always. Here the numbers of tokens committed
and the forwards that refreshed are those of a run on `nano`, and the statistics that would decide them are computed in
full and not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from decoders import Around, Blocks, Cache, Decoder, Forward, Pred, State, Suppress, UsageError, decode
from decoders.caches.entropycache import EntropyCache
from decoders.core import Canvas, only, refresh, sound, top
from decoders.models.loaded import Loaded
from decoders.stats.constants import constant
from decoders_bench.common.models import loaded
from decoders_bench.tasks import TASKS, items

RECORDED = (("chain", "hard"), ("answer_first", "hard"), ("sudoku", "hard"), ("ledger", "easy"))
"""Tasks whose validation items the recorded blocks are of, in turn."""


@dataclass(frozen=True)
class Replayed(Around):
    """Run a decoder at its full cost, but commit the most confident `commits[i]` tokens in forward i of the row instead
    of its own choice. Queries and phases are the decoder's; its edits and remasks are not applied."""

    everything: ClassVar[bool] = True
    base: Decoder
    commits: tuple[int, ...]

    def step(self, s: State, p: Pred) -> State:
        stepped = super().step(s, p)
        s = replace(s, memo=stepped.memo, size=stepped.size)
        tokens, confidence = p.best()
        quota = constant(self.commits, s.clock.device)[s.clock.clamp(max=len(self.commits) - 1)]
        return s.commit(top(only(s.open, confidence), quota), tokens, confidence)

    def done(self, s: State) -> Tensor:
        return ~s.open.any(-1)


@dataclass(frozen=True)
class ReplayedEntropyCache(Cache):
    """EntropyCache, which also pays for its entropies, and refreshes before forward i of the row where
    `refreshes[i]`."""

    refreshes: tuple[bool, ...]
    k: int = 64

    def __post_init__(self) -> None:
        """No spec string makes one, so there are no options to check."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        between = EntropyCache(tau=torch.inf, k=self.k).stale(after, before, p)
        due = (
            constant(tuple(map(int, self.refreshes)), after.clock.device)[
                after.clock.clamp(max=len(self.refreshes) - 1)
            ]
            > 0
        )
        return torch.where(due[:, None], refresh(after), between)


@dataclass(frozen=True)
class Recording:
    """What one row did, forward by forward."""

    commits: tuple[int, ...]
    refreshes: tuple[bool, ...]
    """Whether everything was computed; the first forward always does."""

    @property
    def tokens_per_forward(self) -> float:
        return sum(self.commits) / len(self.commits)


@dataclass
class Recorder:
    """A `watch` for rows that are decoded one after the other, as if they were one row with the blocks of all."""

    windows: list[list[tuple[int, bool]]] = field(default_factory=list)
    """(tokens committed, whether everything was computed) of every forward, window by window. A token that was taken
    back counts once."""
    open: int = 0
    """The fewest positions that were open so far, of this row."""
    due: bool = True
    """The cache wants everything in the next forward. The first column, in the prompt, is recomputed at no other
    time."""

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        if bool(c.clock == 1):
            self.open = int(c.editable.sum())
        if bool(f.entered):
            self.windows.append([])
        left = min(self.open, int(c.open.sum()))
        self.windows[-1].append((self.open - left, self.due))
        self.open = left
        self.due = bool(c.store.stale[0, 0])


def record(
    model: Loaded, decoder: Decoder, cache: Cache, prompts: Iterable[tuple[Sequence[int], int]], *, block: int,
    blocks: int,
) -> Recording:
    """The first `blocks` windows of `block` positions that are filled in decoding the prompts, each with its own length
    of canvas. Raises `UsageError` if there are not enough of them."""
    recorder = Recorder()
    for prompt, length in prompts:
        sound(decode(
            model.model, decoder, [prompt], length=length, windows=Blocks(block), cache=cache,
            rules=(Suppress(model.never),), stop=False, watch=recorder,
        ))
        whole = [w for w in recorder.windows if sum(n for n, _ in w) == block][:blocks]
        if len(whole) == blocks:
            steps = [step for w in whole for step in w]
            return Recording(tuple(n for n, _ in steps), tuple(r for _, r in steps))
    raise UsageError(f"these prompts do not fill {blocks} blocks of {block}")


def recorded(decoder: Decoder, cache: Cache, model: str, *, block: int, blocks: int) -> Recording:
    """What a model such as nano does with its own tasks under a decoder and a cache, until `blocks` windows of `block`
    are filled."""
    own = loaded(model)
    drawn = [
        [(x, TASKS[task].length[rung]) for x in items(TASKS[task], rung, "validation", blocks)]
        for task, rung in RECORDED
    ]
    prompts = ((own.tokenizer.encode(x.prompt), length) for turn in zip(*drawn, strict=True) for x, length in turn)
    return record(own, decoder, cache, prompts, block=block, blocks=blocks)


def whole_blocks(length: int, block: int) -> int:
    """How many blocks a canvas is made of. Raises `UsageError` if there is a rest."""
    blocks, rest = divmod(length, block)
    if rest:
        raise UsageError(f"a canvas of {length} is not made of blocks of {block}")
    return blocks
