"""The registered strategies as parameters of tests."""

from __future__ import annotations

import pytest

from decoders.registry import entries

STRATEGIES = [e.name for e in entries("strategies")]
LATENT = [e.name for e in entries("strategies") if e.latent]
"""For models of latents, which are at home in no test with tokens."""
BRIEFER = {"gemma": "gemma:block_steps=6"}
"""Strategies that take very many forwards at their defaults, 48 a window: with fewer, which is as much of a test."""
BRIEF = [BRIEFER.get(name, name) for name in STRATEGIES if name not in LATENT]
EACH = [*BRIEF, *(pytest.param(name, marks=pytest.mark.slow) for name in BRIEFER)]
"""All but those for latents; those with very many forwards in the slow run alone."""
