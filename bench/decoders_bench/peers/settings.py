"""The models and prompts for the comparison with peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import decoders
from decoders_bench.peers.measure import Setting
from decoders_bench.tasks import TASKS

TASK, RUNG = "extract", "hard"
BLOCK = 8
"""Prompts fill whole blocks: pipelines that count blocks from the left would otherwise also fill positions after the
end of a text, up to the end of a block."""

DAMPED = 0.2
"""A factor for the output of each layer of the random network. Without it the network is chaotic, unlike trained ones:
self-conditioning amplifies rounding errors of float32 by hundreds in each step, and after four steps two correct loops
have nothing in common."""

PROMPT = 64
SPREAD, HEAD = 0.08, 0.5
"""Standard deviations of the weights of the layers and of the head. With these a threshold of 0.9 commits two to three
tokens per forward pass, as with trained models; with those of an untrained model it would commit one."""


def nano(prompts: int) -> Setting:
    """The embedded model, on test prompts of a task."""
    loaded = decoders.load("nano")
    ids = [tuple(loaded.tokenizer.encode(x.prompt)) for x in TASKS[TASK].items(RUNG, "test", 16 * prompts)]
    whole = [p for p in ids if len(p) % BLOCK == 0][:prompts]
    path = Path(decoders.__file__).parent / "models" / "nano"
    return Setting(str(path), loaded.model.mask_id, tuple(whole), loaded.model.stop_ids)


def diffusion_gemma(prompts: int, path: Path) -> Setting:
    """A DiffusionGemma of nano's size with random weights, wide enough that predictions differ from each other; its
    checkpoint is written to `path`. Prompts are random, with nano's lengths; no token ends a text."""
    import torch
    from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

    small = nano(prompts)
    vocab = 719
    text = {
        "vocab_size": vocab, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32, "global_head_dim": 32,
        "num_global_key_value_heads": 1, "sliding_window": 64, "num_experts": 4, "moe_intermediate_size": 64,
        "top_k_experts": 2, "max_position_embeddings": 256, "layer_types": ["sliding_attention", "full_attention"] * 3,
        "eos_token_id": vocab - 4, "pad_token_id": 0, "bos_token_id": 0,
    }
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8,
    }
    ids: dict[str, Any] = {"image_token_id": vocab - 1, "boi_token_id": vocab - 2, "eoi_token_id": vocab - 3}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = DiffusionGemmaConfig(
            text_config=text, vision_config=vision, canvas_length=32, initializer_range=0.1, **ids
        )
        net = DiffusionGemmaForBlockDiffusion(config)
        for name, x in net.named_parameters():
            if "layernorm" in name and ".post_" in name:
                x.data.mul_(DAMPED)
    net.generation_config.eos_token_id = None
    net.save_pretrained(path)
    random = torch.Generator().manual_seed(0)
    drawn = [tuple(torch.randint(1, vocab - 4, (len(p),), generator=random).tolist()) for p in small.prompts]
    return Setting(str(path), None, tuple(drawn), ())


def realistic(prompts: int, vocab: int, path: Path) -> Setting:
    """A model of LLaDA's shape with random weights, whose checkpoint is written to `path`: 4 layers of width 512, so
    that the head is the largest part, as in small models. Prompts are random; no token ends a text."""
    import torch

    from decoders_bench.common.shapes import Shape, build

    shape = Shape(hidden=512, layers=4, heads=8, inner=1536, vocab=vocab)
    random = torch.Generator().manual_seed(0)
    net = build(shape, "cpu", torch.float32, 4096)
    deviations = {"lm_head.weight": HEAD, "model.embed_tokens.weight": 1.0}
    for name, x in net.named_parameters():
        if x.ndim == 2:
            x.data.normal_(0.0, deviations.get(name, SPREAD), generator=random)
    net.get_output_embeddings().weight.data[shape.mask_id] = 0.0  # so it is never predicted, as in trained models
    net.save_pretrained(path)
    drawn = torch.randint(0, shape.mask_id, (prompts, PROMPT), generator=random).tolist()
    return Setting(str(path), shape.mask_id, tuple(map(tuple, drawn)), ())
