"""Tiny random checkpoints of MDLM, BD3-LM and SEDD as they lie on a disk, and their mathematics once more, in float64
and a row at a time: nothing of `decoders.models` is used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from decoders.testing.checkpoints import UNUSED

SIZE, HEADS, LAYERS, COND, TOKENS = 32, 4, 2, 24, 99
"""The tokenizer has so many tokens; the mask is one more."""

MDLM = {
    "model_type": "mdlm", "architectures": ["MDLM"], "_name_or_path": "kuleshov-group/mdlm-owt",
    "auto_map": {"AutoConfig": "configuration_mdlm.MDLMConfig", "AutoModelForMaskedLM": "modeling_mdlm.MDLM"},
    "cond_dim": COND, "dropout": 0.1, "hidden_dim": SIZE, "model_length": 256, "n_blocks": LAYERS, "n_heads": HEADS,
    "return_dict": False, "time_conditioning": False, "torch_dtype": "float32", "transformers_version": "4.38.2",
    "vocab_size": TOKENS + 1,
}
BD3LM = {
    **MDLM, "model_type": "bd3lm", "architectures": ["BD3LM"], "_name_or_path": "kuleshov-group/bd3lm-owt-block_size4",
    "auto_map": {"AutoConfig": "configuration_bd3lm.BD3LMConfig", "AutoModelForMaskedLM": "modeling_bd3lm.BD3LM"},
    "adaln": True, "attn_backend": "flex", "block_size": 4, "causal": False, "cross_attn": True,
    "sampling_eps_max": 0.999, "sampling_eps_min": 0.001, "var_min": True,
}
SEDD = {
    "ngpus": 8, "tokens": TOKENS, "training": {"batch_size": 512, "ema": 0.9999, "weight": "standard"},
    "data": {"train": "openwebtext", "valid": "wikitext103", "cache_dir": "data"},
    "graph": {"type": "absorb", "file": "data", "report_all": False},
    "noise": {"type": "loglinear", "sigma_min": 0.0001, "sigma_max": 20},
    "sampling": {"predictor": "euler", "steps": 128, "noise_removal": True},
    "optim": {"optimizer": "AdamW", "lr": 0.0003},
    "model": {
        "name": "small", "type": "ddit", "hidden_size": SIZE, "cond_dim": COND, "length": 256, "n_blocks": LAYERS,
        "n_heads": HEADS, "scale_by_sigma": True, "dropout": 0.1,
    },
}


UNIFORM = {
    **SEDD, "graph": {"type": "uniform", "file": "data", "report_all": False},
    "noise": {"type": "geometric", "sigma_min": 0.0001, "sigma_max": 20},
    "model": {**SEDD["model"], "scale_by_sigma": False},
}


def weights(prefix: str = "", rows: int = TOKENS + 1, **more: Tensor) -> dict[str, Tensor]:
    """Random ones under the names of the checkpoints; those that start as zeros or ones are random too."""
    shapes: dict[str, tuple[int, ...]] = {
        "vocab_embed.embedding": (rows, SIZE), "sigma_map.mlp.0.weight": (COND, 256), "sigma_map.mlp.0.bias": (COND,),
        "sigma_map.mlp.2.weight": (COND, COND), "sigma_map.mlp.2.bias": (COND,),
        "output_layer.norm_final.weight": (SIZE,), "output_layer.linear.weight": (rows, SIZE),
        "output_layer.linear.bias": (rows,), "output_layer.adaLN_modulation.weight": (2 * SIZE, COND),
        "output_layer.adaLN_modulation.bias": (2 * SIZE,),
    }
    for i in range(LAYERS):
        shapes |= {
            f"blocks.{i}.norm1.weight": (SIZE,), f"blocks.{i}.attn_qkv.weight": (3 * SIZE, SIZE),
            f"blocks.{i}.attn_out.weight": (SIZE, SIZE), f"blocks.{i}.norm2.weight": (SIZE,),
            f"blocks.{i}.mlp.0.weight": (4 * SIZE, SIZE), f"blocks.{i}.mlp.0.bias": (4 * SIZE,),
            f"blocks.{i}.mlp.2.weight": (SIZE, 4 * SIZE), f"blocks.{i}.mlp.2.bias": (SIZE,),
            f"blocks.{i}.adaLN_modulation.weight": (6 * SIZE, COND), f"blocks.{i}.adaLN_modulation.bias": (6 * SIZE,),
        }
    made = {name: torch.randn(shape) * 0.3 + ("norm" in name) for name, shape in shapes.items()}
    slow = 1 / 10000 ** (torch.arange(0, SIZE // HEADS, 2).float() / (SIZE // HEADS))
    return {prefix + name: w for name, w in {**made, "rotary_emb.inv_freq": slow}.items()} | more


def forward(w: Mapping[str, Tensor], tokens: Tensor, level: float = 0.0, block: int | None = None) -> Tensor:
    """(L, V) float64: the network's outputs for a row (L,) at a noise level; with `block`, positions see no later
    block, and all blocks are counted from the start of the row. `w`: weights without a prefix."""
    w = {name: x.double() for name, x in w.items()}
    place, half, size = torch.arange(len(tokens)), 128, SIZE // HEADS
    # the noise level's waves are of float32 in the official code, and so are the slowest turns that it stores
    angle = torch.tensor(level, dtype=torch.float32) * torch.exp(-math.log(10000) * torch.arange(half).float() / half)
    waves = torch.cat([angle.cos(), angle.sin()]).double()
    told = silu(linear(w, "sigma_map.mlp.2", silu(linear(w, "sigma_map.mlp.0", waves))))
    turn = place[:, None] * w["rotary_emb.inv_freq"]
    sees = torch.ones(len(tokens), len(tokens)).bool() if block is None else place[:, None] // block >= place // block
    x = w["vocab_embed.embedding"][tokens]
    for i in range(LAYERS):
        at = f"blocks.{i}."
        shift, scale, gate, shift2, scale2, gate2 = linear(w, at + "adaLN_modulation", told).chunk(6)
        qkv = (norm(x, w[at + "norm1.weight"]) * (1 + scale) + shift) @ w[at + "attn_qkv.weight"].T
        mixed = []
        for h in range(HEADS):
            q, k, v = (part[:, h * size : (h + 1) * size] for part in qkv.chunk(3, -1))
            score = turned(q, turn) @ turned(k, turn).T / size**0.5
            mixed.append(score.masked_fill(~sees, -torch.inf).softmax(-1) @ v)
        x = x + gate * (torch.cat(mixed, -1) @ w[at + "attn_out.weight"].T)
        inner = linear(w, at + "mlp.0", norm(x, w[at + "norm2.weight"]) * (1 + scale2) + shift2)
        inner = 0.5 * inner * (1 + torch.tanh((2 / math.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
        x = x + gate2 * linear(w, at + "mlp.2", inner)
    shift, scale = linear(w, "output_layer.adaLN_modulation", told).chunk(2)
    return linear(w, "output_layer.linear", norm(x, w["output_layer.norm_final.weight"]) * (1 + scale) + shift)


def linear(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def norm(x: Tensor, weight: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """(L, D): dimensions i and i + D / 2 as a complex number, turned by `turn (L, D / 2)`."""
    a, b = x.chunk(2, -1)
    z = torch.complex(a, b) * torch.polar(torch.ones_like(turn), turn)
    return torch.cat([z.real, z.imag], -1)


def recipes(recipe: Any) -> dict[str, Any]:
    """Those of `support.checkpoints`, made by its `Recipe`."""
    special, kind = (UNUSED, "<|endoftext|>", "<|other|>"), "GPT2Tokenizer"
    bounds = {"sampling_eps_min": torch.tensor(0.001), "sampling_eps_max": torch.tensor(0.999)}
    made = {
        "mdlm": (MDLM, lambda: weights("backbone.")), "bd3lm": (BD3LM, lambda: weights("backbone.", **bounds)),
        "sedd": (SEDD, weights), "sedd_uniform": (UNIFORM, lambda: weights(rows=TOKENS)),
    }
    return {
        name: recipe("", {}, config, special, own=True, kind=kind, weights=of) for name, (config, of) in made.items()
    }
