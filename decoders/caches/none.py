"""No cache: every forward recomputes every column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoders.core import Attested, Cache


@dataclass(frozen=True)
class NoCache(Cache):
    """Recompute everything, always; what the other policies are held against."""

    attested: ClassVar[Attested] = "ours"
    whole: ClassVar[bool] = True
    needs_store: ClassVar[bool] = False
