"""A recorded run as a decoder and a cache: what a model with random weights needs to spend what a trained one would.

Random weights are never sure of anything: no confidence reaches a threshold and every entropy is near its maximum, so a threshold
would commit one token a forward and EntropyCache would refresh always. Here the numbers of tokens committed and the forwards that
refreshed are those of a run on `nano`, and the statistics that decide about both are computed in full and then not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from decoders import Blocks, Cache, Decoder, Forward, Pred, State, Suppress, UsageError, decode
from decoders.caches.entropycache import EntropyCache
from decoders.core.canvas import Canvas
from decoders.core.forward import refresh
from decoders.core.select import only, top
from decoders.models.source import Loaded


@dataclass(frozen=True)
class Replayed(Decoder):
    """Pay for a decoder, and commit the most confident `commits[i]` tokens in forward i of the row instead of what it would."""

    decoder: Decoder
    commits: tuple[int, ...]

    def __post_init__(self) -> None:
        """No spec string makes one, so there are no options to check."""

    def step(self, s: State, p: Pred) -> State:
        self.decoder.step(s, p)
        tokens, confidence = p.best()
        quota = torch.tensor(self.commits, device=s.clock.device)[s.clock.clamp(max=len(self.commits) - 1)]
        return s.commit(top(only(s.open, confidence), quota), tokens, confidence)


@dataclass(frozen=True)
class ReplayedEntropyCache(Cache):
    """EntropyCache, which also pays for its entropies, and refreshes before forward i of the row where `refreshes[i]`."""

    refreshes: tuple[bool, ...]
    k: int = 64

    def __post_init__(self) -> None:
        """No spec string makes one, so there are no options to check."""

    def stale(self, after: Canvas, before: State, p: Pred) -> Tensor:
        between = EntropyCache(tau=torch.inf, k=self.k).stale(after, before, p)
        due = torch.tensor(self.refreshes, device=after.clock.device)[after.clock.clamp(max=len(self.refreshes) - 1)]
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
    """(tokens committed, whether everything was computed) of every forward, window by window."""
    due: bool = True
    """The cache wants everything in the next forward. The first column, in the prompt, is recomputed at no other time."""

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        if bool(f.entered):
            self.windows.append([])
        self.windows[-1].append((int((c.committed_at == c.clock[:, None] - 1).sum()), self.due))
        self.due = bool(c.stale[0, 0])


def record(
    model: Loaded, decoder: Decoder, cache: Cache, prompts: Iterable[tuple[Sequence[int], int]], *, block: int, blocks: int,
) -> Recording:
    """The first `blocks` windows of `block` positions that are filled in decoding the prompts, each with its own length of canvas.
    Raises `UsageError` if there are not enough of them."""
    recorder = Recorder()
    for prompt, length in prompts:
        decode(
            model.model, decoder, [prompt], length=length, windows=Blocks(block), cache=cache, rules=(Suppress(model.never),), stop=False,
            watch=recorder,
        )
        whole = [w for w in recorder.windows if sum(n for n, _ in w) == block][:blocks]
        if len(whole) == blocks:
            steps = [step for w in whole for step in w]
            return Recording(tuple(n for n, _ in steps), tuple(r for _, r in steps))
    raise UsageError(f"these prompts do not fill {blocks} blocks of {block}")
