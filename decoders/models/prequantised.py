"""Checkpoints whose weights were quantised before they were written. Those of bitsandbytes, in 8 or 4 bits, are read by
transformers, if bitsandbytes is installed; others are refused."""

from __future__ import annotations

import importlib.util
from typing import Any

from decoders.core import UsageError
from decoders.models.families import Family

READ = "bitsandbytes"
NEEDED = READ, "accelerate"
"""The packages that transformers reads them with."""


def quantisation_in(config: dict[str, Any]) -> Any:
    """What config.json says of how the weights were quantised; None if they were not."""
    return config.get("quantization_config") or config.get("compression_config")


def quantisation_of(config: dict[str, Any], name: str, family: Family) -> dict[str, Any] | None:
    """What transformers needs to read weights that were quantised; None if they were not. Raises `UsageError` if they
    were quantised by another method than bitsandbytes, if a package is missing, or if the family is not run by a class
    of transformers under the names of the checkpoint, which the settings of bitsandbytes refer to."""
    how = quantisation_in(config)
    if not how:
        return None
    method = how.get("quant_method") if isinstance(how, dict) else None
    if method != READ:
        raise UsageError(
            f"the weights of {name} are quantised ({method or 'by an unnamed method'}), and such checkpoints are not "
            "read here: take the one in bfloat16, or load it with transformers and hand the model to decoders.wrap"
        )
    if missing := [package for package in NEEDED if importlib.util.find_spec(package) is None]:
        raise UsageError(
            f"the weights of {name} are quantised by {READ}, which is read with {' and '.join(NEEDED)}: "
            f"pip install {' '.join(missing)}"
        )
    if family.remote or family.network or family.renames:
        raise UsageError(
            f"the weights of {name} are quantised by {READ}, and those of the family {family.name} are not read so: "
            "take the checkpoint in bfloat16, with --quantize"
        )
    return dict(how)
