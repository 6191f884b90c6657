"""The registered strategies as parameters of tests."""

from __future__ import annotations

import pytest

from decoders.registry import entries

STRATEGIES = [e.name for e in entries("strategies")]
SPECIAL = [e.name for e in entries("strategies") if e.special]
"""For models of latents, and for those that ask for more and fewer positions, which are at home in no other test."""
BRIEFER = {"gemma": "gemma:block_steps=6"}
"""Strategies that take very many forwards at their defaults, 48 a window: with fewer, which is as much of a test."""
BRIEF = [BRIEFER.get(name, name) for name in STRATEGIES if name not in SPECIAL]
EACH = [*BRIEF, *(pytest.param(name, marks=pytest.mark.slow) for name in BRIEFER)]
"""All but those for models of their own; those with very many forwards in the slow run alone."""
