"""Default settings, which the `Generator` and `decoders.generate` share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from decoders import registry, specs
from decoders.core import (
    Blocks,
    Cache,
    Decoder,
    Model,
    Row,
    Rule,
    Suppress,
    UsageError,
    Windows,
    check,
    decode,
    options,
)
from decoders.core.model import expand_of
from decoders.models.guidance import Guided
from decoders.registry import get, get_cache, spec_of, unfolded


@dataclass(frozen=True)
class Settings:
    """A decoder and a cache policy, each with the spec that makes it, and the scale of classifier-free guidance; 0 is
    none."""

    decoder: Decoder
    decoder_spec: str
    cache: Cache
    cache_spec: str
    guidance: float

    def on(self, model: Model, never: tuple[int, ...] = (), block: int | None = None) -> Setup:
        """The settings on a model that never generates the tokens `never`, with windows of `block` positions; None: one
        window over the whole row. Raises `UsageError` if the model lacks what the decoder, the cache or guidance
        needs."""
        used: Model = Guided(model, self.guidance) if self.guidance else model
        check(used, self.decoder, self.cache)
        asks = expand_of(used) if self.decoder.needs_expand else None  # a token that is predicted and never stays
        never = tuple(t for t in never if t != asks)
        return Setup(**vars(self), model=used, rules=(Suppress(never),), windows=None).in_blocks(block)


@dataclass(frozen=True)
class Setup(Settings):
    """Settings on a model."""

    model: Model
    """The model, under guidance if there is any."""
    rules: tuple[Rule, ...]
    windows: Windows | None
    """None: one window over the whole row."""

    def in_blocks(self, size: int | None) -> Self:
        """The settings with another window size, if one is given. Raises `UsageError` for a size that does not fit the
        model's attention."""
        return self if size is None else replace(self, windows=Blocks(size, self.model.attention_block))

    def decode(
        self, prompts: Sequence[Sequence[int]], *, length: int, rules: Sequence[Rule] = (), **how: Any
    ) -> list[Row]:
        """`decode` with these settings, `rules` after its own; `how` are further arguments of `decode`. Raises
        `UsageError`."""
        return decode(
            self.model, self.decoder, prompts, length=length, windows=self.windows, cache=self.cache,
            rules=[*self.rules, *rules], **how,
        )


def settings(decoder: str | Decoder, cache: str | Cache | None = None, guidance: float = 0.0) -> Settings:
    """The settings for two specs or objects; the default cache is the decoder preset's, else `exact`. Raises
    `UsageError`."""
    if not (math.isfinite(guidance) and guidance >= 0):
        raise UsageError(f"guidance must be at least 0, not {guidance}")
    plug, spec = (get(decoder), decoder) if isinstance(decoder, str) else (decoder, spec_of(decoder))
    cache = policy_of(decoder, cache)
    policy, cache_spec = (get_cache(cache), cache) if isinstance(cache, str) else (cache, spec_of(cache))
    return Settings(plug, spec, policy, cache_spec, guidance)


def policy_of(decoder: str | Decoder, cache: str | Cache | None) -> str | Cache:
    """The requested cache policy, else that of the preset if the decoder is one, else `exact`."""
    if cache is not None:
        return cache
    return (unfolded(decoder)[1] if isinstance(decoder, str) else None) or "exact"


CUTS = frozenset({"top_k", "top_p", "min_p"})
"""Options that a decoder gets by a `nucleus` around it if it does not have them."""


def with_options(spec: str, **given: Any) -> str:
    """A decoder's spec with separately given options written into it; None: not given. Those in `CUTS` go to a
    `nucleus` around a decoder that does not have them. Raises `UsageError` if an option is given in both ways."""
    name, written = specs.split("strategies", spec)
    asked = {key: str(value) for key, value in given.items() if value is not None}
    for key in asked:
        if key in written:
            raise UsageError(f"{key} is given both in {spec!r} and as an option of its own; leave one out")
    known = options(registry.dataclass_named("strategies", specs.split("strategies", registry.unfolded(spec)[0])[0]))
    around = {key: asked.pop(key) for key in list(asked) if key in CUTS and key not in known}
    inner = specs.joined(name, written | asked)
    return specs.joined("nucleus", {"base": f"({registry.unfolded(inner)[0]})", **around}) if around else inner
