"""Tiny random checkpoints of the families that the engine holds: those of the library's tests with attention heads of
32, which is the least that vLLM has on a CPU."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from support import checkpoints

HEAD = 32
WIDE = {"fast_dllm_v2": {"hidden_size": 4 * HEAD}}  # Qwen2 has no size of heads of its own


def write(directory: Path, family: str, **changes: Any) -> Path:
    """A checkpoint of `family` in a new directory; `changes` are made to its config.json."""
    recipe, wide = checkpoints.RECIPES[family], WIDE.get(family, {"head_dim": HEAD})
    if family == "llada2":
        wide = {"head_dim": HEAD, "rotary_dim": HEAD // 2}
        before = dict(checkpoints.LLADA2)
        checkpoints.LLADA2.update(wide)
    settings = {**recipe.settings, **wide} if recipe.settings else {}
    # in sliding layers vLLM counts from each position, transformers from the canvas: one that holds all
    if family == "diffusion_gemma":
        text = {**recipe.settings["text_config"], "head_dim": HEAD, "global_head_dim": HEAD, "sliding_window": 256}
        settings, wide = {**recipe.settings, "text_config": text}, {}
    checkpoints.RECIPES[family] = replace(recipe, settings=settings, config={**recipe.config, **wide})
    try:
        checkpoints.write(directory, family, **changes)
    finally:
        checkpoints.RECIPES[family] = recipe
        if family == "llada2":
            checkpoints.LLADA2.clear()
            checkpoints.LLADA2.update(before)
    return directory
