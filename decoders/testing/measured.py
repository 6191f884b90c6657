"""How far a cache policy is from no cache: what it computes, how much of what it reads is out of date, and whether the
same tokens come of it."""

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
    """What was found, in numbers; nothing of it is demanded of a policy."""

    computed: float
    """Positions that are computed, as a share of those without a cache; on toy models."""
    outdated: float
    """Of the positions that are read instead, the share whose keys and values saw something that has changed since; on
    toy models."""
    agreeing: int
    """Tokens of the embedded model that are those without a cache,"""
    tokens: int
    """and how many there are."""

    def __str__(self) -> str:
        return (
            f"Measured: it computes {self.computed:.0%} of the positions that no cache would, and {self.outdated:.0%} "
            f"of what it reads instead is out of date (toy models). {self.agreeing} of {self.tokens} tokens of nano "
            "are those without a cache."
        )


def measured(cache: Cache) -> Measured:
    """What a policy does on toy models and on the embedded one."""
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
    """How many tokens of the embedded model are those that it gives without a cache, and how many it gives."""
    from decoders.generator import Generator

    model = "nano:attention=block" if cache.needs_blocks else "nano"
    generator = Generator(model, DECODER)
    plain, cached = (generator(list(PROMPTS), cache=c, length=LENGTH, block=BLOCK) for c in ("none", cache))
    pairs = [(a.tokens, b.tokens) for a, b in zip(plain, cached, strict=True)]
    agreeing = sum(x == y for a, b in pairs for x, y in zip(a, b, strict=False))
    return agreeing, sum(max(len(a), len(b)) for a, b in pairs)
