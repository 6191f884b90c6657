"""Constraints on the form of a text, and the names for authors of constraints."""

from __future__ import annotations

from decoders.constraints.automaton import Automaton, build
from decoders.constraints.base import Constraint
from decoders.constraints.grammar import Regex, compiled

__all__ = ["Automaton", "Constraint", "Regex", "build", "compiled"]
