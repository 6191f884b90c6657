"""What a text has to be like, and what those need who write a constraint of their own."""

from __future__ import annotations

from decoders.constraints.automaton import Automaton, build
from decoders.constraints.base import Constraint
from decoders.constraints.grammar import Regex, compiled

__all__ = ["Automaton", "Constraint", "Regex", "build", "compiled"]
