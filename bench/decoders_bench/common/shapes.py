"""Models of the shapes that the field runs, with random weights: nothing is downloaded, and time does not depend on
what weights say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from decoders import UsageError
from decoders.models.adapter import TransformersModel
from decoders.models.families import FAMILIES, Family


@dataclass(frozen=True)
class Shape:
    """A transformer of one of the families, which says its layers, what it sees, and whether its output is shifted."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocab: int = 126_464
    kv_heads: int | None = None
    """None: as many as heads."""
    family: str = "llada"

    @property
    def of(self) -> Family:
        return FAMILIES[self.family]

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def mask_id(self) -> int:
        known = self.of.mask
        return known if isinstance(known, int) and known < self.vocab else self.vocab - 1

    @property
    def block_causal(self) -> bool:
        """What the family was trained for."""
        return self.of.attentions[0] == "block"

    def tiny(self) -> Shape:
        """The same family with as good as nothing in it, grouped queries kept: for a dry run."""
        grouped = self.kv_heads not in (None, self.heads)
        return replace(self, hidden=64, layers=2, inner=192, vocab=1024, heads=4 if grouped else 2, kv_heads=2)


_FULL = {
    # Nie et al. 2025, 2502.09992, appendix B.2, and the same proportions with fewer layers
    "llada-8b": Shape(4096, 32, 32, 12_288),
    "llada-1b": Shape(1792, 14, 14, 5376),
    # Ye et al. 2025, 2508.15487: Qwen2.5-7B
    "dream-7b": Shape(3584, 28, 28, 18_944, 152_064, 4, "dream"),
    # Cheng et al. 2025, 2510.06303: Qwen3-8B
    "sdar-8b": Shape(4096, 36, 32, 12_288, 151_936, 8, "sdar"),
    "nano": Shape(128, 6, 4, 352, 756, family="nano"),
}
_SMALL = {f"{name}-tiny": _FULL[name].tiny() for name in ("llada-8b", "dream-7b", "sdar-8b")}
SHAPES = {**_FULL, **_SMALL, "tiny": _SMALL["llada-8b-tiny"]}


def scaled(name: str, layers: int | None = None) -> Shape:
    """The shape of a name, or its first `layers` layers. Raises `UsageError` for a name that there is not."""
    if name not in SHAPES:
        raise UsageError(f"unknown shape {name!r}; there are {', '.join(SHAPES)}")
    return SHAPES[name] if layers is None else replace(SHAPES[name], layers=layers)


def build(shape: Shape, device: str, dtype: torch.dtype, positions: int) -> PreTrainedModel:
    """Random weights, made on the device; the class of transformers that the family is run by."""
    native: Any = getattr(transformers, shape.of.native)
    own: dict[str, Any] = {"head_dim": shape.head_dim} if native.config_class.__name__ == "Qwen3Config" else {}
    config = native.config_class(
        hidden_size=shape.hidden, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads or shape.heads, intermediate_size=shape.inner, vocab_size=shape.vocab,
        max_position_embeddings=max(positions, 4096), tie_word_embeddings=False, bos_token_id=None, eos_token_id=None,
        **own,
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            net: PreTrainedModel = native(config).eval()
    finally:
        torch.set_default_dtype(before)
    return net


def adapted(shape: Shape, net: PreTrainedModel) -> TransformersModel:
    """The model of the library."""
    return TransformersModel(net, mask_id=shape.mask_id, shifted=shape.of.shifted, block_causal=shape.block_causal)
