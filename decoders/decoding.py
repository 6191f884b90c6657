"""`decoders.decode`: the loop of `decoders.core.decode`, which also takes spec strings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from decoders import core
from decoders.core import NO_PROGRESS, Cache, Decoder, Model, Row
from decoders.registry import get, get_cache
from decoders.settings import policy_of


def decode(
    model: Model, decoder: str | Decoder, prompts: Sequence[Sequence[int]], *, length: int,
    cache: str | Cache | None = None, **how: Any,
) -> list[Row]:
    """Decode prompts (token ids) with one strategy; rows are independent.

    `decoder` and `cache` are spec strings or objects; the default cache is that of the decoder preset, or `exact`.
    `length` positions follow each prompt. `how`: `windows` (by default one over the whole row), `seed` or `seeds`,
    `stop`, `infill`, `max_steps`, `rules`, `poll`, `halt`, `on_event`, `watch`, `runner` and `final`, as in
    `decoders.core.decode`. A row whose decoder makes no progress ends after some hundred forwards, and a warning names
    the decoder. Raises `UsageError` if the prompts cannot be decoded."""
    cache = policy_of(decoder, cache)
    decoder = get(decoder) if isinstance(decoder, str) else decoder
    cache = get_cache(cache) if isinstance(cache, str) else cache
    rows = core.decode(model, decoder, prompts, length=length, cache=cache, **how)
    for b, row in enumerate(rows):
        if row.finish_reason == NO_PROGRESS:
            warnings.warn(str(row.error(f"row {b}: ")), RuntimeWarning, stacklevel=2)
    return rows
