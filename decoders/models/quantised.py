"""Weight-only quantisation on load: the linear layers below the head in 8 or 4 bits, in place. Activations, embeddings,
the head, norms, and keys and values keep their precision.

8 bits are torchao's `Int8WeightOnlyConfig`, one scale for each output. 4 bits have a scale and a zero for each group of
32 weights: on a GPU those of torchao's `Int4WeightOnlyConfig`, on a CPU, for which torchao has no such kernel, those of
torch itself.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoders.core import UsageError
from decoders.models.reading import line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GROUP = 32
"""Weights of one output that share a scale in 4 bits."""
MULTIPLE = 16
"""Torch's kernel packs the outputs by so many."""
LEAST = 0.5
"""The least share of the weights below the head in linear layers for which quantisation is worth its error."""


class Int4Linear(nn.Module):
    """A linear layer on a CPU with its weights in 4 bits: w = (q - 8) scale + zero, q in 0 to 15, the least and the
    greatest weight of a group of 32 being exact."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        groups = weight.float().unflatten(1, (-1, GROUP))
        low, high = groups.amin(-1), groups.amax(-1)
        scale = ((high - low) / 15).clamp(min=torch.finfo(torch.float32).tiny)
        whole = ((groups - low[..., None]) / scale[..., None]).round().clamp(0, 15).int().flatten(1)
        pairs = torch.stack([scale, low + 8 * scale], -1).transpose(0, 1).contiguous().to(weight.dtype)
        self.register_buffer("packed", torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole, 1))
        self.register_buffer("pairs", pairs)  # (in / 32, out, 2)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, GROUP, self.pairs)
        out = out if self.bias is None else out + self.bias
        return out.view(*x.shape[:-1], -1)


def quantise(model: PreTrainedModel, bits: str) -> None:
    """Quantise the linear layers below a model's head to `int8` or `int4`, in place. Raises `UsageError` where that
    cannot be: torchao is not installed, the device or the precision has no such kernel, or most weights lie in no
    linear layers of a fitting size."""
    base, device = model.base_model, torch.device(model.device).type
    ends = [m for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None]
    inner = ((name, m) for name, m in base.named_modules() if m not in ends)
    layers = {name: m for name, m in inner if isinstance(m, nn.Linear) and fits(m, bits)}
    tables = {id(m.weight) for m in ends}
    every = sum(p.numel() for p in base.parameters() if p.dim() > 1 and id(p) not in tables)
    share = sum(m.weight.numel() for m in layers.values()) / max(every, 1)
    if share < LEAST:
        raise UsageError(
            f"only {share:.0%} of the weights of this {type(model).__name__} lie in linear layers that {bits} fits: "
            "weights of experts that are stored together are not quantised here"
        )
    if bits == "int4" and device == "cpu":
        for name, m in layers.items():
            base.set_submodule(name, Int4Linear(m))
        return
    with_torchao(base, bits, layers, device)


def fits(m: nn.Linear, bits: str) -> bool:
    return bits == "int8" or (m.in_features % GROUP == 0 and m.out_features % MULTIPLE == 0)


def with_torchao(base: nn.Module, bits: str, layers: Collection[str], device: str) -> None:
    """By torchao, which is imported here: it says on stderr which of its kernels it does not find."""
    if importlib.util.find_spec("torchao") is None:
        raise UsageError(f"{bits} on {device} needs the package torchao: pip install 'dllm-decoders[quantize]'")
    if bits == "int4" and next(base.parameters()).dtype != torch.bfloat16:
        raise UsageError(f"int4 on {device} needs dtype=bfloat16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

        how: Any = (
            Int8WeightOnlyConfig()
            if bits == "int8"
            else Int4WeightOnlyConfig(group_size=GROUP, int4_packing_format="tile_packed_to_4d")
        )
        try:
            quantize_(base, how, filter_fn=lambda m, name: name in layers)
        except Exception as e:  # whatever torchao says of a device or of a version of torch
            raise UsageError(f"torchao cannot quantise this model to {bits} on {device}: {line(e)}") from e


def weight_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers, quantised ones as they are stored."""

    def parts(x: Any) -> int:
        inner = getattr(x, "tensor_data_names", None)
        return sum(parts(getattr(x, name)) for name in inner) if inner else x.numel() * x.element_size()

    kept = {id(x): x for x in (*model.parameters(), *model.buffers())}
    return sum(parts(x) for x in kept.values())
