"""The GPU and its limits."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from typing import Any

import torch

from decoders_bench.gpu.parts import Part, Task
from decoders_bench.gpu.scale import Scale
from decoders_bench.latency.roofline import Ceilings, ceilings

PACKAGES = "torch", "triton", "transformers", "safetensors", "tokenizers", "numpy", "pytest"


def name_of(scale: Scale) -> str:
    return torch.cuda.get_device_name() if scale.device == "cuda" else "cpu"


def about(scale: Scale) -> dict[str, Any]:
    """The versions of the software, and the driver and the memory of the GPU."""
    found: dict[str, Any] = {"name": name_of(scale), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    if scale.device == "cuda":
        known = torch.cuda.get_device_properties(0)
        found |= {"memory": known.total_memory, "processors": known.multi_processor_count, "cuda": torch.version.cuda}
    if scale.device == "cuda" and shutil.which("nvidia-smi"):
        asked = [
            "nvidia-smi",
            "--query-gpu=driver_version,clocks.sm,clocks.max.sm,power.limit",
            "--format=csv,noheader",
        ]
        found["nvidia-smi"] = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip()
    return found


def measured(scale: Scale) -> dict[str, Any]:
    """Bytes per second of a copy, reads and writes both counted, and operations per second of a product of random
    matrices."""
    found = ceilings(scale.device, getattr(torch, scale.dtype))
    return {"dtype": scale.dtype, "bandwidth": found.bandwidth, "flops": found.flops}


def known(rows: dict[str, Any]) -> Ceilings | None:
    """The measured limits, if they exist."""
    row = rows.get("card/ceilings")
    return Ceilings(row["bandwidth"], row["flops"]) if row else None


def part(scale: Scale) -> Part:
    return Part(
        "card", 0.05, [Task("card/about", lambda: about(scale)), Task("card/ceilings", lambda: measured(scale))]
    )
