"""Results on disk, and formatting of their tables."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from hashlib import sha256
from inspect import getmembers_static
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import decoders

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def hardware(device: str = "cpu") -> str:
    """The processor, or the accelerator if `device` is one, and the versions of the software, for the record."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    try:
        names = {
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        }
    except OSError:
        names = {platform.processor() or platform.machine()}
    return f"{', '.join(sorted(names))}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


@cache
def weights() -> str:
    """The beginning of the SHA-256 of the embedded model's weights."""
    path = Path(decoders.__file__).parent / "models" / "nano" / "model.safetensors"
    return sha256(path.read_bytes()).hexdigest()[:12]


def save(path: Path, rows: Sequence[DataclassInstance], device: str = "cpu") -> None:
    """A line a row, so that a change of one cell is a change of one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(r)) for r in rows)
    head = f'"hardware": {json.dumps(hardware(device))}, "nano": {json.dumps(weights())}'
    path.write_text(f'{{{head}, "rows": [\n{lines}\n]}}\n')


def save_tables(path: Path, tables: Mapping[str, Sequence[DataclassInstance]], device: str = "cpu") -> None:
    """Several lists of rows in one file, under their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {name: [asdict(row) for row in rows] for name, rows in tables.items()}
    path.write_text(json.dumps({"hardware": hardware(device), "nano": weights()} | found, indent=1) + "\n")


def record(row: DataclassInstance) -> dict[str, Any]:
    """The fields of a row and what its properties say of them; null where a number is not finite."""
    said = {name: getattr(row, name) for name, x in getmembers_static(type(row)) if isinstance(x, property)}
    return {name: finite(x) for name, x in (asdict(row) | said).items()}


def finite(x: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(x, dict):
        return {key: finite(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [finite(value) for value in x]
    return None if isinstance(x, float) and not isfinite(x) else x


def document(command: str, rows: Sequence[DataclassInstance], device: str = "cpu", **more: Any) -> dict[str, Any]:
    """What `--json` prints of a command (`decoders_bench.common.options.emit`)."""
    return {"command": command, "hardware": hardware(device), **more, "rows": [record(r) for r in rows]}


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["rows"])


def recorded_on(path: Path, nano: bool = True) -> str:
    """The hardware that a result file was measured on and, of results about `nano`, whether it was the one that is
    here."""
    return measured_with(json.loads(path.read_text()), nano)


def measured_with(found: Mapping[str, Any], nano: bool = True) -> str:
    """The same, of what a file says of itself."""
    return str(found["hardware"]) + (earlier(found) if nano else "")


def earlier(found: Mapping[str, Any]) -> str:
    """A remark if results are of other weights than the present ones, or do not name their weights."""
    return "" if found.get("nano") == weights() else ", earlier weights of `nano`"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def percent(x: float) -> str:
    return f"{100 * x:.0f}"
