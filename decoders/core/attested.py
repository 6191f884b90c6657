"""How well a strategy or cache is attested: how its implementation was checked against its source."""

from __future__ import annotations

from typing import Literal

Attested = Literal["replayed", "code", "paper", "abstract", "ours"]
ATTESTED: dict[Attested, str] = {
    "replayed": "replayed against recorded runs of official code",
    "code": "implemented from official code",
    "paper": "implemented from the paper",
    "abstract": "implemented from an abstract, a figure or notes only",
    "ours": "designed for this library",
}
"""The words, from the best attested to the least, and what each means."""
