"""The laws as parameters of tests."""

from __future__ import annotations

import pytest

from decoders.testing import LAWS

DEAR = {"compiles", "engine_agrees", "replays", "packing", "pure", "rests", "wraps"}
BY_COST = [pytest.param(law, id=law.__name__, marks=pytest.mark.slow if law.__name__ in DEAR else ()) for law in LAWS]
"""The laws, for further options of a strategy: those that take long are held in the slow run alone. At its defaults
every strategy is held to all of them but the first."""
