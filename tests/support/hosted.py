"""Tiny models that somebody else has loaded, and what `model.generate` is given, for tests of that host."""

from __future__ import annotations

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    StoppingCriteria,
)

import decoders

MASK, PAD, EOS = 3, 0, 2
SPECIAL = {"vocab_size": 64, "pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": EOS}
SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, **SPECIAL,
}  # fmt: skip
KINDS = {
    "llama": (LlamaForCausalLM, LlamaConfig), "qwen2": (Qwen2ForCausalLM, Qwen2Config),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config),
}
PROMPTS = [[10, 11, 12, 13, 14], [20, 21], [30, 31, 32]]


def tiny(kind="llama", **config):
    torch.manual_seed(7)
    model, settings = KINDS[kind]
    made = model(settings(**{**SIZES, **config})).double().eval()
    with torch.no_grad():
        made.lm_head.weight.mul_(8)  # confident enough for thresholds to commit several tokens at once
    return made


def batch(prompts=PROMPTS):
    """Padded on the left, as transformers has it."""
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def run(model, prompts=PROMPTS, **how):
    return model.generate(
        **{**batch(prompts), "custom_generate": decoders.generate, "mask_id": MASK, "max_new_tokens": 16, **how}
    )


class Recorder:
    def __init__(self):
        self.heard = []

    def put(self, value):
        self.heard.append(value.tolist())

    def end(self):
        self.heard.append("end")


class At(StoppingCriteria):
    """Stops a row at a token."""

    def __init__(self, token):
        self.token = token

    def __call__(self, input_ids, scores, **_):
        return input_ids[:, -1] == self.token


def characters(size=64, **roles):
    """A tokenizer whose token i is the character 59 + i."""
    from tokenizers import Tokenizer, models
    from tokenizers import decoders as joins
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE({chr(59 + i): i for i in range(size)}, []))
    core.decoder = joins.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=core, **roles)
