"""Decoders by the specs that results record."""

from __future__ import annotations

import warnings

from decoders import get
from decoders.core import Decoder
from decoders.errors import OldSpelling


def recorded(spec: str) -> Decoder:
    """The decoder of a spec, which may have an older spelling: no warning says so, because nobody has typed it. Raises
    `UsageError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OldSpelling)
        return get(spec)
