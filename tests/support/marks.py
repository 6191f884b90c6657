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


def thirds(cases: Iterable[Any], which: int) -> list[Any]:
    """Of the default cases each third, from number `which` on (0, 1 or 2), and the rest in the slow run: so tests that
    ask all strategies for something of the core share them among one another."""
    made: list[Any] = []
    seen = 0
    for case in cases:
        plain = case if isinstance(case, tuple) else (case,)  # a case with marks is a tuple too
        values, marks = (case.values, case.marks) if hasattr(case, "marks") else (plain, ())
        if not marks:
            marks = () if seen % 3 == which else pytest.mark.slow
            seen += 1
        made.append(pytest.param(*values, marks=marks))
    return made
