"""The twins as ordinary checkpoints, a directory each."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from decoders_bench.nano.network import config_of
from decoders_bench.nano.tokenizer import build, segmenter
from decoders_bench.versus.plan import BLOCK, Plan, Twin

FAMILIES = {"ar": "causal", "mdm": "nano", "block": "sdar"}
"""The model family of each kind, which selects its decoding: `decoders.models.families`."""


def config(plan: Plan, twin: Twin) -> dict[str, object]:
    own = segmenter()
    found = config_of(len(own), plan.hidden, plan.layers, plan.heads, plan.inner, own.end, own.mask)
    block = {"block_size": BLOCK} if twin.objective == "block" else {}
    return found | {"diffusion_family": FAMILIES[twin.objective]} | block


def write(plan: Plan, weights: dict[str, Tensor], run: Path) -> None:
    """Write a directory in `run` for each twin, from `weights` by `TWIN/NAME`; existing ones are left alone."""
    tokenizer = build()
    for twin in plan.twins:
        directory, new = run / twin.name, run / f"{twin.name}.new"
        if directory.is_dir():
            continue
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        (new / "config.json").write_text(json.dumps(config(plan, twin), indent=2, sort_keys=True) + "\n")
        of = f"{twin.name}/"
        mine = {name.removeprefix(of): x for name, x in weights.items() if name.startswith(of)}
        save_file(mine, new / "model.safetensors", {"format": "pt"})
        tokenizer.save_pretrained(new)
        os.replace(new, directory)
