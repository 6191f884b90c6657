"""How well a plug is attested: what stands behind the claim that it does what its name says."""

from __future__ import annotations

from typing import Literal

Attested = Literal["replayed", "code", "paper", "abstract", "ours"]
ATTESTED: dict[Attested, str] = {
    "replayed": "replayed against recorded runs of an official code",
    "code": "read in an official code",
    "paper": "read in its paper",
    "abstract": "known from an abstract, a figure or notes alone",
    "ours": "ours, whatever it takes from others",
}
"""From the best to the least, and what each says."""
