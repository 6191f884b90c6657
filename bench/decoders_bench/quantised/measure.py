"""A model with its original weights and with quantised ones: bytes, logits, answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from decoders import Generator, UsageError
from decoders.models.quantised import quantise, weight_bytes
from decoders.models.source import load_model
from decoders_bench.tasks import GENERATED, items

METHODS = "none", "int8", "int4"
LLADA: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32, "num_key_value_heads": 32,
    "vocab_size": 4096, "rms_norm_eps": 1e-5,
}
"""The shape of a layer of LLaDA-8B; the vocabulary is smaller, since neither the embeddings nor the head are
quantised."""
TOKENS = 128


@dataclass(frozen=True)
class Found:
    """The results of a model, relative to the stored weights; one that cannot be quantised has a `problem` and no
    numbers."""

    model: str
    method: str
    bytes: int = 0
    error: float = 0.0
    """The norm of the difference of the logits, relative to the norm of the logits."""
    same: float = 1.0
    """The share of positions whose most likely token is unchanged."""
    right: int | None = None
    asked: int | None = None
    problem: str | None = None


def answered(model: str, method: str, cells: Sequence[tuple[str, str]], n: int, decoder: str, seed: int) -> Found:
    """The results of a model that answers the first `n` test items of tasks."""
    options: dict[str, Any] = {} if method == "none" else {"quantize": method}
    try:
        loaded = load_model(model, **options)
    except UsageError as e:
        return Found(model, method, problem=str(e))
    network: Any = loaded.model
    right = asked = 0
    for task, rung in cells:
        made = items(GENERATED[task], rung, "test", n, seed)
        length = GENERATED[task].length[rung]
        texts = Generator(loaded, decoder)([x.prompt for x in made], length=length, seed=seed, batch=25)
        right += sum(GENERATED[task].grade(x.problem, g.text).exact for x, g in zip(made, texts, strict=True))
        asked += n
    prompt = items(GENERATED[cells[0][0]], cells[0][1], "test", 1, seed)[0].prompt
    tokens = torch.tensor([loaded.tokenizer.encode(prompt)])
    error, same = against(plain_logits(model, tuple(tokens[0].tolist())), logits_of(network.model, tokens))
    return Found(model, method, weight_bytes(network.model), error, same, right, asked)


@cache
def plain_logits(model: str, tokens: tuple[int, ...]) -> Tensor:
    network: Any = load_model(model).model
    return logits_of(network.model, torch.tensor([tokens]))


def random_layers(layers: int, method: str, seed: int) -> Found:
    """The results for layers of LLaDA-8B's size with random weights."""
    model, name = llada_shaped(layers, seed), f"{layers} random layers of LLaDA-8B's size"
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(LLADA["vocab_size"], (1, TOKENS), generator=generator)
    reference = logits_of(model, tokens)
    if method != "none":
        try:
            quantise(model, method)
        except UsageError as e:
            return Found(name, method, problem=str(e))
    return Found(name, method, weight_bytes(model.model.layers), *against(reference, logits_of(model, tokens)))


def llada_shaped(layers: int, seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LlamaConfig(**LLADA, num_hidden_layers=layers, tie_word_embeddings=False)
        return LlamaForCausalLM(config).eval()


@torch.inference_mode()
def logits_of(model: Any, tokens: Tensor) -> Tensor:
    """(L, V) logits with bidirectional attention, as in a diffusion model."""
    bias = torch.zeros(1, 1, tokens.shape[1], tokens.shape[1])
    found: Tensor = model(input_ids=tokens, attention_mask=bias, use_cache=False).logits[0]
    return found.float()


def against(reference: Tensor, found: Tensor) -> tuple[float, float]:
    """The error of logits (L, V), and the share of rows whose most likely token is unchanged."""
    error = float((found - reference).norm() / reference.norm())
    return error, float((found.argmax(-1) == reference.argmax(-1)).float().mean())
