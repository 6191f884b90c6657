"""Models that several jobs of a process share."""

from __future__ import annotations

from functools import cache

from decoders.models.source import load_model

loaded = cache(load_model)
"""`load_model`, once in a process for each spec, whatever decodes with it."""
