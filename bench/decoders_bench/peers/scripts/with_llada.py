"""LLaDA's own loop: generate.py of a checkout of ML-GSAI/LLaDA, whose directory is the argument."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from networks import masked
from serving import Decode, Job, serve

ROOT = Path(sys.argv[1])
sys.path.insert(0, str(ROOT))
from generate import generate  # noqa: E402


def steps(job: Job) -> Decode:
    """Its loop around a network of transformers, since the repository contains no network."""
    net, count = masked(job)

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        count.times = 0
        out = generate(
            net, torch.tensor([prompt]), gen_length=job["length"], block_length=job["block"], mask_id=job["mask"],
            **job["options"],
        )
        return out[0, len(prompt) :].tolist(), count.times

    return decode


if __name__ == "__main__":
    serve(steps, [], files=[ROOT / "generate.py"])
