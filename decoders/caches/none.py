"""No cache: every forward recomputes every column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoders.core import Attested, Cache


@dataclass(frozen=True)
class NoCache(Cache):
    """Recompute everything in every forward; the reference for the other policies."""

    attested: ClassVar[Attested] = "ours"
    whole: ClassVar[bool] = True
    needs_store: ClassVar[bool] = False
