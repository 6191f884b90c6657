"""The registered strategies as parameters of tests."""

from __future__ import annotations

import pytest

from decoders.registry import entries

STRATEGIES = [e.name for e in entries("strategies")]
BRIEFER = {"gemma": "gemma:block_steps=6"}
"""Strategies that take very many forwards at their defaults, 48 a window: with fewer, which is as much of a test."""
BRIEF = [BRIEFER.get(name, name) for name in STRATEGIES]
EACH = [*BRIEF, *(pytest.param(name, marks=pytest.mark.slow) for name in BRIEFER)]
"""All of them; those with very many forwards in the slow run alone."""
