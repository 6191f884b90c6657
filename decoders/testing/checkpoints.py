"""Parts of tiny checkpoints on disk: a tokenizer of single characters, and the weights that transformers would save."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TEXT = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ"]  # the byte alphabet of GPT-2, as far as it is English text
MASK, EOS, EXTRA = len(TEXT), len(TEXT) + 1, len(TEXT) + 2
"""The ids of the special tokens: the mask, the end, and one more."""
SPECIAL = ("<|mask|>", "<|endoftext|>", "<|extra|>")
UNUSED = "<|unused|>"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, default=str), "utf-8")


def write_tokenizer(
    directory: Path, special: tuple[str, str, str] = SPECIAL, kind: str = "PreTrainedTokenizerFast",
    chat: str | None = None, files: str = "json",
) -> None:
    """A tokenizer whose tokens are characters and, after them, three special tokens: mask, end and another; one named
    `UNUSED` has no role. `kind`: its class, by the name in the files. `chat`: its template. `files`: `json` is
    tokenizer.json, `vocab` is vocab.json and merges.txt."""
    added = {len(TEXT) + i: text for i, text in enumerate(special)}
    named = zip(("mask_token", "eos_token", "pad_token"), special, strict=True)
    roles = {role: text for role, text in named if text != UNUSED}
    described: dict[str, Any] = {"tokenizer_class": kind, "clean_up_tokenization_spaces": False, **roles}
    described["added_tokens_decoder"] = {
        str(i): {
            "content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": True,
        }
        for i, text in added.items()
    }
    if chat is not None:
        described["chat_template"] = chat
    write_json(directory / "tokenizer_config.json", described)
    vocab = {text: i for i, text in enumerate(TEXT)}
    if files == "vocab":
        write_json(directory / "vocab.json", vocab)
        (directory / "merges.txt").write_text("#version: 0.2\n")
        return
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    core = Tokenizer(models.BPE(vocab, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in added.values()])
    core.save(str(directory / "tokenizer.json"))


def saved_weights(model: PreTrainedModel, directory: Path) -> dict[str, Tensor]:
    """The weights of a model under the names that transformers saves; the directory is empty before and after. Weights
    that start as ones or zeros are made random first, so that all weights differ."""
    from safetensors.torch import load_file

    from decoders.models.reading import quiet

    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.1)
    with quiet():
        model.save_pretrained(directory)
    weights = load_file(directory / "model.safetensors")
    for file in directory.iterdir():
        file.unlink()
    return weights
