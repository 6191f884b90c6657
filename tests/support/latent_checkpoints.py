"""Tiny random checkpoints of models of latents, as their real ones lie on a disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from decoders.testing.checkpoints import write_tokenizer
from support.checkpoints import RECIPES, VOCAB, write

WIDTH, LATENT, HEADS, BLOCKS, CONDITION = 64, 8, 2, 2, 12
WORDS = ["START", "END", "UNK", "PAD", *"the pub is near a river and it serves fast food".split()]

Weights = dict[str, Tensor]


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """Random weights; those of norms are near 1, those of offsets small, and none is 0."""
    norm = lambda name: "norm" in name.lower() and name.endswith("weight") and "adaLN" not in name
    size = lambda name: 0.02 if name.endswith("bias") else 0.1 if norm(name) else 0.25
    return {n: torch.randn(s) * size(n) + norm(n) for n, s in shapes.items()}


def langflow(vocab: int = VOCAB) -> Weights:
    """model.safetensors of LangFlow, whose latents are as wide as the network."""
    D, C = WIDTH, CONDITION
    shapes: dict[str, tuple[int, ...]] = {
        "vocab_embed.embedding": (vocab, D), "self_cond_proj.weight": (D, 2 * D),
        "rotary_emb.inv_freq": (D // HEADS // 2,), "sigma_map.mlp.0.weight": (C, 256), "sigma_map.mlp.0.bias": (C,),
        "sigma_map.mlp.2.weight": (C, C), "sigma_map.mlp.2.bias": (C,),
        "output_layer.norm_final.weight": (D,), "output_layer.linear.weight": (vocab, D),
        "output_layer.linear.bias": (vocab,), "output_layer.adaLN_modulation.weight": (2 * D, C),
        "output_layer.adaLN_modulation.bias": (2 * D,),
    }
    for i in range(BLOCKS):
        block = {
            "norm1.weight": (D,), "norm2.weight": (D,), "attn_qkv.weight": (3 * D, D), "attn_out.weight": (D, D),
            "mlp.0.weight": (4 * D, D), "mlp.0.bias": (4 * D,), "mlp.2.weight": (D, 4 * D), "mlp.2.bias": (D,),
            "adaLN_modulation.weight": (6 * D, C), "adaLN_modulation.bias": (6 * D,),
        }
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    proposal = {"loc": torch.tensor(4.723), "scale": torch.tensor(0.852), "entropy": torch.tensor(7.02)}
    return {f"backbone.{n}": x for n, x in drawn(shapes).items()} | {f"proposal.{n}": x for n, x in proposal.items()}


LANGFLOW = {
    "model_type": "LangFlow", "vocab_size": VOCAB, "hidden_size": WIDTH, "cond_dim": CONDITION, "n_blocks": BLOCKS,
    "n_heads": HEADS, "dropout": 0.0, "model_length": 48, "use_normalized_embedding": True,
    "embedding_norm_method": "layernorm", "self_conditioning": True, "use_bias": True, "gumbel_loc": 4.723,
    "gumbel_scale": 0.852, "gumbel_cutoff": 1e-05, "gumbel_entropy": 7.02,
}


def plaid(vocab: int = VOCAB) -> dict[str, Weights]:
    """The four files of Plaid."""
    D, d = WIDTH, LATENT
    shapes: dict[str, tuple[int, ...]] = {
        "input_linear.weight": (D, d), "selfcond_linear.weight": (D, d), "gamma_linear.weight": (D, 64),
        "rotary_emb.inv_freq": (D // HEADS // 2,), "output_norm.weight": (D,), "output_linear.weight": (vocab, D),
        "output_linear.bias": (vocab,),
    }
    for i in range(BLOCKS):
        block = {
            "rmsnorm1.weight": (D,), "rmsnorm2.weight": (D,), "attn_qkv.weight": (3 * D, D), "attn_out.weight": (D, D),
            "mlp.fc1.weight": (4 * D, D), "mlp.fc2.weight": (D, 4 * D),
        }
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    return {
        "model": drawn(shapes), "embedding_matrix": drawn({"matrix": (vocab, d)}),
        "noise_schedule": drawn({"W1": (32, 1), "b1": (32,), "W2": (1, 32)}),
        "gamma_bounds": {"gamma_0": torch.tensor(-3.0), "gamma_1": torch.tensor(6.0)},
    }


def bert(vocab: int, latent: int = LATENT) -> Weights:
    """An ema_*.pt of Diffusion-LM or DiffuSeq."""
    D, t = WIDTH, 16
    shapes: dict[str, tuple[int, ...]] = {
        "word_embedding.weight": (vocab, latent), "lm_head.bias": (vocab,), "time_embed.0.weight": (4 * t, t),
        "time_embed.0.bias": (4 * t,), "time_embed.2.weight": (D, 4 * t), "time_embed.2.bias": (D,),
        "position_embeddings.weight": (40, D), "LayerNorm.weight": (D,), "LayerNorm.bias": (D,),
        "input_up_proj.0.weight": (D, latent), "input_up_proj.0.bias": (D,), "input_up_proj.2.weight": (D, D),
        "input_up_proj.2.bias": (D,), "output_down_proj.0.weight": (D, D), "output_down_proj.0.bias": (D,),
        "output_down_proj.2.weight": (latent, D), "output_down_proj.2.bias": (latent,),
    }
    for i in range(BLOCKS):
        dense = {"attention.self.query": (D, D), "attention.self.key": (D, D), "attention.self.value": (D, D),
                 "attention.output.dense": (D, D), "intermediate.dense": (96, D), "output.dense": (D, 96)}
        norms = {"attention.output.LayerNorm": (D,), "output.LayerNorm": (D,)}
        for name, shape in (dense | norms).items():
            at = f"input_transformers.layer.{i}.{name}"
            shapes |= {f"{at}.weight": shape, f"{at}.bias": (shape[0],)}
    found = drawn(shapes)
    # so that what a position says depends on what stands there, and no token is the nearest to everything
    found["word_embedding.weight"] = 3 * torch.nn.functional.normalize(found["word_embedding.weight"], dim=-1)
    for name, times in (("time_embed.2", 0.1), ("input_up_proj.2", 4), ("position_embeddings", 4)):
        found[f"{name}.weight"] *= times
    return found | {"lm_head.weight": found["word_embedding.weight"], "position_ids": torch.arange(40)[None]}


ARGUMENTS = {
    "diffusion_steps": 200, "noise_schedule": "sqrt", "predict_xstart": True, "rescale_timesteps": True,
    "learn_sigma": False,
}
DIFFUSION_LM = ARGUMENTS | {"experiment_mode": "lm", "training_mode": "e2e", "image_size": 4, "in_channel": LATENT}
DIFFUSEQ = ARGUMENTS | {"hidden_t_dim": 16, "hidden_dim": LATENT, "seq_len": 24, "vocab": "words"}


def write_simplex(directory: Path, **changes: Any) -> Weights:
    """A checkpoint of SSD-LM. Returns the weights of its two layers, by their files."""
    write(directory, "roberta", **changes)
    torch.manual_seed(0)
    time = drawn({"weight": (32, 1), "bias": (32,)})
    layers = {"embed_sum_layer": drawn({"weight": (32, VOCAB)}), "timestep_layer": time}
    for name, own in layers.items():
        torch.save(own, directory / f"{name}.pt")
    return layers


def write_latents(directory: Path, family: str, seed: int = 0, **changes: Any) -> Any:
    """Write a checkpoint into a new directory; `changes` are made to its settings. Returns its weights."""
    directory.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bracketed = [f"[{w}]" if w.isupper() else w for w in WORDS]
        own: Any = {"langflow": langflow, "plaid": plaid}.get(family, lambda: bert(len(WORDS)))
        weights = own()
    if family in ("langflow", "plaid"):
        write_tokenizer(directory, RECIPES["llada"].special)
    if family == "langflow":
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        (directory / "config.json").write_text(json.dumps(LANGFLOW | changes))
    elif family == "plaid":
        for part, own in weights.items():
            torch.save(own, directory / f"{part}.pt")
    else:
        words = WORDS if family == "diffusion_lm" else bracketed
        torch.save(weights, directory / "ema_0.9999_000200.pt")
        (directory / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
        settings = DIFFUSION_LM if family == "diffusion_lm" else DIFFUSEQ
        (directory / "training_args.json").write_text(json.dumps(settings | changes))
    return weights
