"""The tokenizer of a checkpoint and its chat template, on transformers' native classes; no code of a checkpoint's is run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoders.core import UsageError
from decoders.models.loaded import Messages
from decoders.models.reading import line, quiet, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BYTE_LEVEL = {
    "Qwen2Tokenizer": "Qwen2Tokenizer",
    # Dream and DiffuCoder; remote code with the split, the normalisation and the byte alphabet of Qwen2Tokenizer and no token
    # put before a text (tokenization_dream.py, as in the repository streamer-os/ml-diffucoder)
    "DreamTokenizer": "Qwen2Tokenizer",
}
"""`tokenizer_class` of checkpoints that ship vocab.json and merges.txt but no tokenizer.json -> transformers' class for it."""


class JsonTokenizer:
    """A fast tokenizer of transformers as text in, token ids out."""

    def __init__(self, fast: PreTrainedTokenizerFast) -> None:
        self.fast, self.core = fast, fast.backend_tokenizer
        self.core.no_padding()
        self.core.no_truncation()

    def encode(self, text: str) -> list[int]:
        """No chat template is put around the text, and special tokens written in it count as such. What the tokenizer puts before
        a text ([CLS], a begin token) stays; what it puts after one ([SEP]) does not, since the text goes on."""
        made = self.core.encode(text)
        end = len(made.ids)
        while end and made.special_tokens_mask[end - 1]:  # of the tokenizer's own adding; one written in the text is not marked
            end -= 1
        return list(made.ids[:end])

    def decode(self, tokens: Sequence[int]) -> str:
        return self.core.decode(list(tokens), skip_special_tokens=False)

    @property
    def chat(self) -> ChatTemplate | None:
        """The chat template; none if the checkpoint has none, or several and none that is the default."""
        found = self.fast.chat_template
        return ChatTemplate(self) if found and (isinstance(found, str) or "default" in found) else None


class ChatTemplate:
    """The chat template of a checkpoint, rendered by transformers in its sandbox."""

    def __init__(self, tokenizer: JsonTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, messages: Messages, holes: bool = False, begun: str = "") -> list[int]:
        """Control tokens that stand in a message, or in what the answer has `begun` with, are text, unless there are `holes` to fill.
        Raises `UsageError` if the template refuses the conversation, or is broken."""
        fast = self.tokenizer.fast
        how: dict[str, Any] = {"sanitize_control_tokens": not holes}
        if "sanitize_control_tokens" not in inspect.signature(fast.apply_chat_template).parameters:
            how = {}
            if not holes and any(token in m["content"] for m in messages for token in fast.all_special_tokens):
                raise UsageError("a message holds a control token, and this version of transformers cannot take it as text; 5.20 can")
        try:
            ids: Any = fast.apply_chat_template([dict(m) for m in messages], add_generation_prompt=True, return_dict=False, **how)
            self.tokenizer.core.encode_special_tokens = not holes
            begins = self.tokenizer.core.encode(begun, add_special_tokens=False).ids
        except Exception as e:  # a template can raise whatever it likes
            raise UsageError(f"the chat template cannot be applied: {line(e)}") from e
        finally:
            self.tokenizer.core.encode_special_tokens = False  # transformers leaves it set after escaping a control token
        return [int(t) for t in (*ids, *begins)]


def load_tokenizer(directory: Path, mask_id: int | None) -> tuple[JsonTokenizer, tuple[int, ...]]:
    """The tokenizer, and the ids that are no text: the mask token, if the model has one, and the unknown token, if there is one.

    Reads tokenizer.json, else vocab.json and merges.txt; tokenizer_config.json and added_tokens.json add tokens to either. Raises
    `UsageError` if files are missing or damaged, or if `mask_id` is not the id of an added token."""
    described = read_json(directory / "tokenizer_config.json") if (directory / "tokenizer_config.json").is_file() else {}
    fast = read_tokenizer(directory, described)
    token = fast.backend_tokenizer.id_to_token(mask_id) if mask_id is not None else None
    added = mask_id in fast.backend_tokenizer.get_added_tokens_decoder()
    if mask_id is not None and not added and "mask" not in (token or "").lower():  # of iLLaDA it was not seen whether it is added
        raise UsageError(f"the tokenizer of {directory} has no mask token with the id {mask_id} that its model has")
    # as written: the unknown token that a class of transformers makes up where none is named may be the stop token
    unknown = described.get("unk_token")
    unknown = fast.backend_tokenizer.token_to_id(unknown["content"] if isinstance(unknown, dict) else unknown) if unknown else None
    return JsonTokenizer(fast), tuple(t for t in (mask_id, unknown) if t is not None)


def read_tokenizer(directory: Path, described: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer of transformers' for the files that are there; `described` is tokenizer_config.json."""
    import transformers

    if (directory / "tokenizer.json").is_file():
        cls, path = transformers.PreTrainedTokenizerFast, directory / "tokenizer.json"
    elif (directory / "vocab.json").is_file() and (directory / "merges.txt").is_file():
        name = str(described.get("tokenizer_class", "")).removesuffix("Fast")
        if name not in BYTE_LEVEL:
            raise UsageError(
                f"{directory} has no tokenizer.json, and its tokenizer class {name or '(none)'!r} is not among "
                f"{', '.join(BYTE_LEVEL)}, which can do with vocab.json and merges.txt"
            )
        cls, path = getattr(transformers, BYTE_LEVEL[name]), directory / "vocab.json"
    else:
        raise UsageError(f"{directory} is no checkpoint: it has no tokenizer.json, and not both vocab.json and merges.txt")
    try:
        with quiet():
            fast: PreTrainedTokenizerFast = cls.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as e:  # whatever is wrong with a file, it is the file that has to be mended
        raise UsageError(f"{path} cannot be read: {line(e)}") from e
    for number, token in described.get("added_tokens_decoder", {}).items():  # tokens are added in order, whatever their numbers
        text = token.get("content", "")
        found = fast.backend_tokenizer.token_to_id(text)
        if found != int(number):
            raise UsageError(f"{directory} gives the token {text!r} the id {number}, and its vocabulary ends so that it is {found}")
    return fast
