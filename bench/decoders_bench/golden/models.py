"""The tiny checkpoints of the data, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from decoders.core import Model
from decoders.models.adapter import TransformersModel
from decoders.models.source import load_model
from decoders_bench.golden.cases import MismatchError


class Models:
    """Loads each checkpoint once. The name tells what the config does not: `*-shift` predicts the next position,
    `*-block` is block-causal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded: dict[tuple[str, bool], PreTrainedModel] = {}
        self.families: dict[str, Model] = {}

    def get(self, name: str, mask_id: int, pure: bool = False) -> TransformersModel:
        """`pure`: without the float32 parts, see `purify`. Raises `MismatchError` if there is no such checkpoint."""
        if (name, pure) not in self.loaded:
            path = self.path(name)
            self.loaded[name, pure] = purify(load(path)) if pure else load(path)
        model = self.loaded[name, pure]
        return TransformersModel(
            model, mask_id=mask_id, shifted=name.endswith("-shift"), block_causal=name.endswith("-block")
        )


    def path(self, name: str) -> Path:
        """Raises `MismatchError` if there is no such checkpoint."""
        path = self.folder / name
        if not (path / "config.json").is_file():
            raise MismatchError(f"there is no model {name!r} under {self.folder}")
        return path

    def of_family(self, name: str) -> Model:
        """A checkpoint in the format of its family, loaded as a user would. Raises `MismatchError` if there is none."""
        if name not in self.families:
            loaded: Any = load_model(str(self.path(name))).model
            loaded.model.double()
            self.families[name] = loaded
        return self.families[name]


def load(path: Path) -> PreTrainedModel:
    """The model, loaded as for the references."""
    talks = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").double()
    finally:
        if talks:
            logging.enable_progress_bar()


def purify(model: PreTrainedModel) -> PreTrainedModel:
    """transformers computes the softmax of the attention and the rotary angles in float32 even in a float64 model, so
    results differ by rounding if the same columns have other places: by 1e-5 in these logits. This computes both in
    float64, so that the same forward pass in two layouts agrees to the last digits."""
    rotary: Any = model.base_model.rotary_emb

    def angles(x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        half = position_ids[..., None].double() * rotary.inv_freq.double()
        whole = torch.cat([half, half], -1)
        return whole.cos() * rotary.attention_scaling, whole.sin() * rotary.attention_scaling

    rotary.forward = angles
    AttentionInterface.register("golden_float64", attention)
    model.set_attn_implementation("golden_float64")
    return model


def attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, scaling: float,
    **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention of (B, H, M, D) queries to (B, G, K, D) keys and values under an additive mask, as (B, M, H, D)."""
    each = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(each, 1), value.repeat_interleave(each, 1)
    weight = (query @ key.transpose(2, 3) * scaling + attention_mask).softmax(-1)
    return (weight @ value).transpose(1, 2).contiguous(), None
