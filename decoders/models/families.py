"""What is known of each family of checkpoints: one row per family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from decoders.core.errors import UsageError, suggest

Attention = Literal["bidirectional", "block"]


@dataclass(frozen=True)
class Family:
    """How checkpoints of one family are run. The mask token is `mask_token_id` of the config, the stop tokens `eos_token_id`."""

    name: str
    """`diffusion_family` of the config."""
    architecture: str
    """The class of transformers that runs it."""
    shifted: bool
    """Its output i predicts position i + 1."""
    attentions: tuple[Attention, ...]
    """What it was trained for, the default first."""
    length: int
    """Positions after the prompt, where nobody says otherwise."""
    block: int
    """Window size for block attention, where nobody says otherwise."""


FAMILIES = {
    f.name: f
    for f in (
        Family("nano", "Qwen3ForCausalLM", shifted=False, attentions=("bidirectional", "block"), length=64, block=8),
    )
}


def family_of(config: Mapping[str, Any], where: str) -> Family:
    """The family that a config names. Raises `UsageError` if it names none or one that is not in the table."""
    name = config.get("diffusion_family")
    if not isinstance(name, str):
        raise UsageError(f"the config.json of {where} names no diffusion_family; known is {', '.join(FAMILIES)}")
    if name not in FAMILIES:
        raise UsageError(f"{where} is of the unknown family {name!r}{suggest(name, FAMILIES)}")
    return FAMILIES[name]
