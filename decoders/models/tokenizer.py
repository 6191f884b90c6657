"""The tokenizer of a checkpoint and its chat template, on transformers' native classes; no code of a checkpoint is
run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoders.core import UsageError
from decoders.files import is_directory
from decoders.models.loaded import Messages
from decoders.models.reading import blamed, line, quiet, read_json, refuse_mark, refuse_pointer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

BYTE_LEVEL = {
    "Qwen2Tokenizer": "Qwen2Tokenizer",
    # Dream and DiffuCoder; remote code with the split, the normalisation and the byte alphabet of Qwen2Tokenizer and no
    # token put before a text (tokenization_dream.py, as in the repository streamer-os/ml-diffucoder)
    "DreamTokenizer": "Qwen2Tokenizer",
}
"""`tokenizer_class` of checkpoints that ship vocab.json and merges.txt but no tokenizer.json -> transformers' class for
it."""


class JsonTokenizer:
    """A fast tokenizer of transformers as text in, token ids out."""

    def __init__(self, fast: PreTrainedTokenizerFast, roles: Mapping[str, str] = {}) -> None:
        self.fast = fast
        self.on(fast.backend_tokenizer, roles)

    def on(self, core: Tokenizer, roles: Mapping[str, str]) -> None:
        """Use this core, which is neither to pad nor to cut; `roles`: the tokens that have one, by its name."""
        self.core, self.roles = core, roles
        self.core.no_padding()
        self.core.no_truncation()
        probe = self.core.encode("a")
        added = [*probe.special_tokens_mask, 0].index(0)
        self.begin = list(probe.ids[:added])
        """The tokens that the tokenizer puts before a text: a begin token, [CLS], or none."""

    def encode(self, text: str) -> list[int]:
        """No chat template is put around the text, and special tokens written in it count as such. Tokens that the
        tokenizer puts before a text ([CLS], a begin token) are kept, unless the text is empty; tokens that it puts
        after one ([SEP]) are not, because the text continues."""
        inner = self.inner(text)
        return [*self.begin, *inner] if inner else []

    def inner(self, text: str) -> list[int]:
        """The ids of a text that stands inside another, with nothing put before it."""
        return list(self.core.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.core.decode(list(tokens), skip_special_tokens=False)

    def absent(self, vocab: int) -> tuple[int, ...]:
        """The ids below `vocab` that no token has: a model's head is often wider than its vocabulary."""
        known = {*self.core.get_vocab(with_added_tokens=True).values()}
        return tuple(i for i in range(vocab) if i not in known)

    def named(self, role: str) -> int | None:
        """The id of the token that the files of the tokenizer give a role, such as `mask_token`; None if they name
        none. Only names in the files count: a class of transformers may use the stop token for a role that is not
        named."""
        text = self.roles.get(role)
        return None if text is None else self.core.token_to_id(text)

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text or a turn: the tokenizer's end token, and the token that its chat template puts
        after an answer."""
        chat = self.chat
        found = self.named("eos_token"), chat.end if chat else None
        return tuple(dict.fromkeys(t for t in found if t is not None))

    @property
    def chat(self) -> ChatTemplate | None:
        """The chat template; None if the checkpoint has none, or several without a default."""
        found = self.fast.chat_template
        named = found.get("default") if isinstance(found, dict) else found
        return ChatTemplate(self) if named and isinstance(named, str) else None


class ChatTemplate:
    """The chat template of a checkpoint, rendered by transformers in its sandbox."""

    def __init__(self, tokenizer: JsonTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, messages: Messages, holes: bool = False, begun: str = "") -> list[int]:
        """Control tokens that stand in a message, or in what the answer has `begun` with, are text, unless there are
        `holes` to fill. Raises `UsageError` if the template refuses the conversation, or is broken."""
        fast = self.tokenizer.fast
        how: dict[str, Any] = {"sanitize_control_tokens": not holes}
        if "sanitize_control_tokens" not in inspect.signature(fast.apply_chat_template).parameters:
            how = {}
            if not holes and any(token in m["content"] for m in messages for token in fast.all_special_tokens):
                raise UsageError(
                    "a message holds a control token, and this version of transformers cannot take it as text; 5.20 can"
                )
        try:
            ids: Any = fast.apply_chat_template(
                [dict(m) for m in messages], add_generation_prompt=True, return_dict=False, **how
            )
            self.tokenizer.core.encode_special_tokens = not holes
            begins = self.tokenizer.core.encode(begun, add_special_tokens=False).ids
        except Exception as e:  # a template can raise whatever it likes
            raise UsageError(f"the chat template cannot be applied: {line(e)}") from e
        finally:
            # transformers leaves it set after escaping a control token
            self.tokenizer.core.encode_special_tokens = False
        return [int(t) for t in (*ids, *begins)]

    @cached_property
    def end(self) -> int | None:
        """The added token that the template puts after an answer, past spaces; None if there is none, or the template
        fails."""
        talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ANSWER}]
        try:
            text = str(self.tokenizer.fast.apply_chat_template(talk, tokenize=False, add_generation_prompt=False))
        except Exception:  # a template can raise anything, and then it cannot be used for prompts either
            return None
        rest = text.rpartition(ANSWER)[2].lstrip() if ANSWER in text else ""
        added = {token.content: i for i, token in self.tokenizer.core.get_added_tokens_decoder().items()}
        return max(((len(t), i) for t, i in added.items() if rest.startswith(t)), default=(0, None))[1]


ANSWER = "0 1 2 3"
"""An answer that templates do not change."""


HOLE = "<|mask|>"
"""The text of a mask token whose id the tokenizer does not have."""


def home_of_tokenizer(directory: Path, name: str) -> Path:
    """The directory of a checkpoint's tokenizer: its own, or, if it has none, that of the repository `name` on the hub,
    if one is named, downloaded into the cache. Raises `UsageError` if that is not available."""
    from decoders.models.hub import Repository, tokenizer_at

    if not name or any((directory / file).is_file() for file in ("tokenizer.json", "vocab.json")):
        return directory
    try:
        return tokenizer_at(Repository(name, "main"))
    except UsageError as e:
        raise UsageError(f"{directory} brings no tokenizer.json, and was trained with that of {name}: {e}") from e


def load_tokenizer(
    directory: Path, mask_id: int | None, beyond: bool = False
) -> tuple[JsonTokenizer, tuple[int, ...]]:
    """The tokenizer, and the ids that are no text: the mask token, if the model has one, and the unknown token, if
    there is one. `beyond`: that mask token may be the one after the tokenizer's last, and is then written `HOLE`.

    Reads tokenizer.json, else vocab.json and merges.txt; tokenizer_config.json and added_tokens.json add tokens to
    either. Raises `UsageError` if files are missing or damaged, if `mask_id` is not the id of an added token, or if it
    is not the one that the tokenizer itself names as its mask."""
    tokenizer = tokenizer_in(directory)
    if beyond and mask_id == tokenizer.core.get_vocab_size(with_added_tokens=True):
        tokenizer.core.add_special_tokens([HOLE])
    return tokenizer, no_text(tokenizer, directory, mask_id)


def no_text(tokenizer: JsonTokenizer, directory: Path, mask_id: int | None) -> tuple[int, ...]:
    """The ids of the mask token and the unknown token of a tokenizer, as far as there are such. Raises `UsageError` for
    a mask as `load_tokenizer` does."""
    core = tokenizer.core
    if mask_id is not None:
        token = core.id_to_token(mask_id)
        added = mask_id in core.get_added_tokens_decoder()
        if not added and "mask" not in (token or "").lower():  # for iLLaDA it is not known whether it is an added token
            raise UsageError(f"the tokenizer of {directory} has no mask token with the id {mask_id} that its model has")
        named = tokenizer.named("mask_token")
        if named not in (None, mask_id):
            raise UsageError(
                f"{directory} disagrees with itself about its mask token: it is {mask_id} ({token}) to the model, and "
                f"{named} "
                f"({tokenizer.roles['mask_token']}) to the tokenizer"
            )
    return tuple(t for t in (mask_id, tokenizer.named("unk_token")) if t is not None)


def tokenizer_in(directory: Path) -> JsonTokenizer:
    """The tokenizer in a directory. Raises `UsageError`."""
    described = descriptions(directory)
    return JsonTokenizer(read_tokenizer(directory, described[-1]), roles_in(described))


def descriptions(directory: Path) -> list[dict[str, Any]]:
    """The contents of special_tokens_map.json and tokenizer_config.json; empty if they are missing. Raises
    `UsageError`."""
    files = [directory / name for name in ("special_tokens_map.json", "tokenizer_config.json")]
    return [read_json(file) if file.is_file() else {} for file in files]


def roles_in(described: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The tokens that descriptions give a role, such as `mask_token`, by its name; the last description counts."""
    said = {
        role: x.get("content") if isinstance(x, dict) else x
        for d in described
        for role, x in d.items()
        if role.endswith("_token")
    }
    return {role: text for role, text in said.items() if isinstance(text, str)}


@lru_cache(maxsize=16)
def absent(name: str, vocab: int) -> tuple[int, ...]:
    """The ids below `vocab` that the tokenizer of a local directory lacks, or that of a repository in the hub's cache;
    empty if no tokenizer is found or it cannot be read. Nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if not name:  # for a model that was created and not loaded
        return ()
    directory = Path(name)
    if not is_directory(directory):
        try:
            found = try_to_load_from_cache(name, "tokenizer_config.json")
        except HFValidationError:
            return ()
        if not isinstance(found, str):
            return ()
        directory = Path(found).parent
    try:
        return tokenizer_in(directory).absent(vocab)
    except UsageError:
        return ()


def read_tokenizer(directory: Path, described: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """The transformers tokenizer for the existing files; `described` is tokenizer_config.json."""
    import transformers

    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        if (directory / name).is_file():
            refuse_pointer(directory / name)
    for name in ("tokenizer.json", "vocab.json", "tokenizer_config.json", "special_tokens_map.json"):
        refuse_mark(directory / name)
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
        raise UsageError(
            f"{directory} is no checkpoint: it has no tokenizer.json, and not both vocab.json and merges.txt"
        )
    try:
        with quiet():
            fast: PreTrainedTokenizerFast = cls.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False
            )
    except Exception as e:  # any error here is an error of the file
        raise UsageError(f"{path} cannot be read: {line(e)}") from e
    with blamed(directory / "tokenizer_config.json"):
        # tokens are added in order, whatever their ids are
        for number, token in described.get("added_tokens_decoder", {}).items():
            text = token.get("content", "")
            found = fast.backend_tokenizer.token_to_id(text)
            if found != int(number):
                raise UsageError(
                    f"{directory} gives the token {text!r} the id {number}, and its vocabulary ends so that it is "
                    f"{found}"
                )
    return fast
