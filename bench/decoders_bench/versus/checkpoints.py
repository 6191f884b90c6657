"""The twins as ordinary checkpoints, a directory each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from decoders_bench.nano.network import config_of
from decoders_bench.nano.tokenizer import build, segmenter
from decoders_bench.nano.train_latents import config_of as latent_config
from decoders_bench.versus.plan import BLOCK, Plan, Twin
from decoders_bench.versus.train import network_plan

LEVELS = "levels"
"""The name under which the levels that a twin of latents was trained on stand among its weights."""
FAMILIES = {"ar": "causal", "mdm": "nano", "block": "sdar"}
"""The model family of each kind, which selects its decoding: `decoders.models.families`."""


def config(plan: Plan, twin: Twin, levels: Sequence[float]) -> dict[str, object]:
    own = segmenter()
    if twin.objective == "latent":
        return latent_config(network_plan(plan), levels)
    found = config_of(len(own), plan.hidden, plan.layers, plan.heads, plan.inner, own.end, own.mask)
    block = {"block_size": BLOCK} if twin.objective == "block" else {}
    return found | {"diffusion_family": FAMILIES[twin.objective]} | block


def write(plan: Plan, weights: dict[str, Tensor], run: Path) -> None:
    """Write a directory in `run` for each twin, from `weights` by `TWIN/NAME`; existing ones are left alone."""
    for twin in plan.twins:
        directory, new = run / twin.name, run / f"{twin.name}.new"
        if directory.is_dir():
            continue
        shutil.rmtree(new, ignore_errors=True)
        of = f"{twin.name}/"
        mine = {name.removeprefix(of): x for name, x in weights.items() if name.startswith(of)}
        write_one(plan, twin, mine, new)
        os.replace(new, directory)


def write_one(plan: Plan, twin: Twin, weights: dict[str, Tensor], directory: Path) -> None:
    """Write a new directory for a twin, from its weights by name; the levels of latents are among them."""
    directory.mkdir(parents=True)
    levels = [round(x, 5) for x in weights[LEVELS].tolist()] if LEVELS in weights else []
    (directory / "config.json").write_text(json.dumps(config(plan, twin, levels), indent=2, sort_keys=True) + "\n")
    save_file({name: x for name, x in weights.items() if name != LEVELS}, directory / "model.safetensors",
              {"format": "pt"})  # fmt: skip
    build().save_pretrained(directory)
