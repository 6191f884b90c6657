"""The headers of safetensors files: names, types and shapes of tensors, without reading the tensors."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from decoders.core import UsageError

SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1,
    "F8_E5M2": 1,
}
"""Bytes of a number, by the names that safetensors gives the types."""


def numbers_in(directory: Path) -> dict[str, int]:
    """The count of numbers of each type in the weights of a directory, by safetensors' names of the types. Raises
    `UsageError` for an invalid file."""
    out: dict[str, int] = {}
    for file in sorted(directory.glob("model*.safetensors")):
        for tensor in header(file).values():
            out[tensor["dtype"]] = out.get(tensor["dtype"], 0) + prod(tensor["shape"])
    return out


def header(file: Path) -> dict[str, Any]:
    """The tensors of a file, by name: their `dtype` and `shape`. Raises `UsageError`."""
    try:
        with file.open("rb") as f:
            size = int.from_bytes(f.read(8), "little")
            found = json.loads(f.read(size))
    except (OSError, ValueError) as e:
        raise UsageError(f"{file} cannot be read: it is no file of safetensors") from e
    return {name: tensor for name, tensor in found.items() if name != "__metadata__"}
