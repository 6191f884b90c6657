"""Which cases of a matrix wait for the slow run."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """These cases, for the slow run alone; a tuple holds the arguments of one."""
    return [pytest.param(*(c if isinstance(c, tuple) else (c,)), marks=pytest.mark.slow) for c in cases]


def turns(first: Iterable[Any], *others: Iterable[Any]) -> list[Any]:
    """Every combination of these values. By default each of the first ones meets one combination of the others, in
    turns; the rest wait for the slow run, and so does all of a value that is marked."""
    rest = list(product(*others))
    made: list[Any] = []
    for i, value in enumerate(first):
        (value,), marks = (value.values, value.marks) if hasattr(value, "marks") else ((value,), ())
        made += [
            pytest.param(value, *more, marks=marks or (() if i % len(rest) == k else pytest.mark.slow))
            for k, more in enumerate(rest)
        ]
    return made
