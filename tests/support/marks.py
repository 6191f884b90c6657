"""Which cases of a matrix wait for the slow run."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """These cases, for the slow run alone; a tuple holds the arguments of one."""
    return [pytest.param(*(c if isinstance(c, tuple) else (c,)), marks=pytest.mark.slow) for c in cases]
