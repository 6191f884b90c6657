"""`decoders.decode`: the loop, with specs where it takes objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from decoders import core
from decoders.core import Cache, Decoder, Model, Row
from decoders.settings import settings


def decode(
    model: Model, decoder: str | Decoder, prompts: Sequence[Sequence[int]], *, length: int,
    cache: str | Cache | None = None, **how: Any,
) -> list[Row]:
    """Decode prompts (token ids) with one strategy; rows are independent.

    `decoder` and `cache` are spec strings or objects; without a cache it is the decoder preset's, or `exact`. `length`
    positions follow each prompt. `how`: `windows` (by default one over the whole row), `seed` or `seeds`, `stop`,
    `infill`, `max_steps`, `rules`, `poll`, `halt`, `on_event`, `watch`, `runner` and `final`, as of
    `decoders.core.decode`. Raises `UsageError` for what cannot be decoded."""
    chosen = settings(decoder, cache)
    return core.decode(model, chosen.decoder, prompts, length=length, cache=chosen.cache, **how)
