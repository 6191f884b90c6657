"""The laws as parameters of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from decoders.testing import LAWS

DEAR = {"compiles", "engine_agrees", "batch_invariant", "meta_safe", "replays", "packing", "pure", "rests", "wraps"}
"""Laws that take long."""


def lawsuits(specs: Sequence[str]) -> list[Any]:
    """Every law for each of these options: by default those that take long for none of them, and each other law for one
    of them, in turns."""
    made, turn = [], 0
    for law in LAWS:
        for i, spec in enumerate(specs):
            now = law.__name__ not in DEAR and i == turn % len(specs)
            marks = () if now else pytest.mark.slow
            made.append(pytest.param(spec, law, id=f"{spec}-{law.__name__}", marks=marks))
        turn += law.__name__ not in DEAR
    return made
