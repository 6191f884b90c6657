"""Tokenizers that are a list of words, as Diffusion-LM and DiffuSeq keep them in vocab.json, and DiffuSeq's prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from decoders.core import UsageError
from decoders.models.loaded import Messages
from decoders.models.tokenizer import JsonTokenizer

ROLES = {"bos_token": "START", "eos_token": "END", "unk_token": "UNK", "pad_token": "PAD"}


def word_tokenizer(words: Mapping[str, int]) -> JsonTokenizer:
    """Text is words between blanks; one that is not listed is the unknown word. Raises `UsageError` if the list lacks
    a word for a role."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    bracketed = "[START]" in words
    roles = {role: f"[{word}]" if bracketed else word for role, word in ROLES.items()}
    if lacks := [word for word in roles.values() if word not in words]:
        raise UsageError(f"vocab.json has no word {lacks[0]}")
    core = Tokenizer(models.WordLevel(dict(words), unk_token=roles["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    start = roles["bos_token"]
    core.post_processor = TemplateProcessing(single=f"{start} $A", special_tokens=[(start, words[start])])
    return JsonTokenizer(PreTrainedTokenizerFast(tokenizer_object=core, **roles), roles)


@dataclass(frozen=True)
class SourceAndTarget:
    """A conversation as DiffuSeq takes it: the source, its end, a mark, and then the target."""

    tokenizer: JsonTokenizer
    end: int

    def __call__(self, messages: Messages, holes: bool = False, begun: str = "") -> list[int]:
        source = self.tokenizer.encode(messages[-1]["content"]) or list(self.tokenizer.begin)
        return [*source, self.end, self.end, *self.tokenizer.encode(begun)]
