"""The registered strategies as parameters of tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from decoders.registry import entries
from support.marks import turns

STRATEGIES = [e.name for e in entries("strategies")]
SPECIAL = [e.name for e in entries("strategies") if e.special]
"""For models of latents, and for those that ask for more and fewer positions, which are at home in no other test."""
BRIEFER = {"gemma": "gemma:block_steps=6"}
"""Strategies that take very many forwards at their defaults, 48 a window: with fewer, which is as much of a test."""
BRIEF = [BRIEFER.get(name, name) for name in STRATEGIES if name not in SPECIAL]
EACH = [*BRIEF, *(pytest.param(name, marks=pytest.mark.slow) for name in BRIEFER)]
"""All but those for models of their own; those with very many forwards in the slow run alone."""


def with_toys(specs: Iterable[Any], toys: tuple[str, str], *others: Iterable[Any]) -> list[Any]:
    """Strategies with toys, the second of which is of causal blocks, and with other values, in turns; without what is
    refused: end tokens behind a row are seen by no block."""
    first = [values[0] for values in map(tuple, others)]
    padding = [x for x in specs if x == "eos_padding"]
    return [*turns([x for x in specs if x not in padding], toys, *others), *((x, toys[0], *first) for x in padding)]
