"""The difference between a cache policy and no cache: the computed positions, the share of read positions that are out
of date, and whether the tokens are the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from decoders.caches.none import NoCache
from decoders.core import Cache
from decoders.testing.cache_runs import DECODERS, cache_rooms, trodden

PROMPTS = (
    "Sort: d b a c e", "Reverse: k l m n o p", "Sort: 7 3 9 1 4 8 2", "Reverse: u v w x y z", "Copy: h j k l",
    "Reverse: 4 8 1 5 2 9 7",
)
"""For the embedded model."""
DECODER, LENGTH, BLOCK = "threshold:tau=0.9", 32, 8


@dataclass(frozen=True)
class Measured:
    """The results in numbers; a policy need not reach any of them."""

    computed: float
    """The computed positions, as a share of those without a cache; on toy models."""
    outdated: float
    """The share of the read positions whose keys and values saw tokens that have changed since; on toy models."""
    agreeing: int
    """The number of tokens of the embedded model that are the same as without a cache,"""
    tokens: int
    """and the number of all tokens."""

    def __str__(self) -> str:
        return (
            f"Measured: it computes {self.computed:.0%} of the positions that no cache would, and {self.outdated:.0%} "
            f"of what it reads instead is out of date (toy models). {self.agreeing} of {self.tokens} tokens of nano "
            "are those without a cache."
        )


def measured(cache: Cache) -> Measured:
    """Measure a policy on toy models and on the embedded one."""
    computed, whole, read, outdated = 0, 0, 0, 0
    for room in cache_rooms(cache):
        for spec in DECODERS:
            run = trodden(room, spec, cache)
            computed += int(run[-1].after.store.computed.sum())
            whole += int(trodden(room, spec, NoCache())[-1].after.store.computed.sum())
            read += int(run[-1].after.store.reused.sum())
            outdated += sum(int(m.forward.outdated.sum()) for m in run)
    agreeing, tokens = agreement(cache)
    return Measured(computed / whole, outdated / max(read, 1), agreeing, tokens)


@torch.inference_mode()
def agreement(cache: Cache) -> tuple[int, int]:
    """The number of tokens of the embedded model that are the same as without a cache, and of all tokens."""
    from decoders.generator import Generator

    model = "nano:attention=block" if cache.needs_blocks else "nano"
    generator = Generator(model, DECODER)
    plain, cached = (generator(list(PROMPTS), cache=c, length=LENGTH, block=BLOCK) for c in ("none", cache))
    pairs = [(a.tokens, b.tokens) for a, b in zip(plain, cached, strict=True)]
    agreeing = sum(x == y for a, b in pairs for x, y in zip(a, b, strict=False))
    return agreeing, sum(max(len(a), len(b)) for a, b in pairs)
