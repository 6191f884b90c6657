"""A checkpoint directory as a `Loaded`: its config is held against the family table, its files are checked, its weights are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from decoders.core.errors import UsageError
from decoders.models.families import Family, family_of
from decoders.models.source import Loaded

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer
    from transformers import PreTrainedModel


class JsonTokenizer:
    """A tokenizer.json, run as it is: no template of a chat is put around a text, and special tokens written in it count as such."""

    def __init__(self, core: FastTokenizer) -> None:
        core.no_padding()
        core.no_truncation()
        self.core = core

    def encode(self, text: str) -> list[int]:
        return list(self.core.encode(text).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.core.decode(list(tokens), skip_special_tokens=False)


def load_checkpoint(directory: Path, name: str, attention: str = "auto", device: str = "cpu") -> Loaded:
    """Read a checkpoint. Weights are float32 on a CPU, where halves are slow, and as stored elsewhere.

    Raises `UsageError` if files are missing or damaged, the family is unknown or was not trained for this `attention`, or the
    tokenizer lacks the mask token."""
    config = read_json(directory / "config.json")
    family = family_of(config, name)
    if attention != "auto" and attention not in family.attentions:
        raise UsageError(f"the family {family.name} knows the attention {' or '.join(family.attentions)}, not {attention!r}")
    block_causal = (family.attentions[0] if attention == "auto" else attention) == "block"
    if not list(directory.glob("*.safetensors")):
        raise UsageError(f"{directory} has no *.safetensors; other formats of weights are not read, because they can run code")
    tokenizer, never = load_tokenizer(directory, config)
    model = load_weights(directory, family, checked_device(device))

    from decoders.models.adapter import TransformersModel

    eos = config.get("eos_token_id")
    stop_ids = () if eos is None else (eos,) if isinstance(eos, int) else tuple(eos)
    adapted = TransformersModel(
        model, mask_id=config["mask_token_id"], stop_ids=stop_ids, shifted=family.shifted, block_causal=block_causal
    )
    block, positions = family.block if block_causal else None, config.get("max_position_embeddings")
    return Loaded(adapted, tokenizer, name, family.length, block, positions, tuple(t for t in never if t not in stop_ids))


def read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path.parent} is no checkpoint: it has no {path.name}") from None
    except (OSError, ValueError) as e:
        raise UsageError(f"{path} cannot be read: {line(e)}") from e
    if not isinstance(found, dict):
        raise UsageError(f"{path} cannot be read: it holds no JSON object")
    return found


def load_tokenizer(directory: Path, config: dict[str, Any]) -> tuple[JsonTokenizer, tuple[int, ...]]:
    """The tokenizer, and the ids of the mask token and of the unknown token if there is one."""
    from tokenizers import Tokenizer as FastTokenizer

    path, mask = directory / "tokenizer.json", config.get("mask_token_id")
    if not path.is_file():
        raise UsageError(f"{directory} is no checkpoint: it has no tokenizer.json")
    try:
        core = FastTokenizer.from_file(str(path))
    except Exception as e:  # tokenizers raises bare exceptions
        raise UsageError(f"{path} cannot be read: {line(e)}") from e
    if not isinstance(mask, int):
        raise UsageError(f"{directory / 'config.json'} has no mask_token_id")
    if mask not in core.get_added_tokens_decoder():
        raise UsageError(f"the tokenizer of {directory} has no mask token with the id {mask} that config.json gives")
    described = directory / "tokenizer_config.json"
    unknown = read_json(described).get("unk_token") if described.is_file() else None
    unknown = core.token_to_id(unknown["content"] if isinstance(unknown, dict) else unknown) if unknown else None
    return JsonTokenizer(core), (mask,) if unknown is None else (mask, unknown)


def load_weights(directory: Path, family: Family, device: torch.device) -> PreTrainedModel:
    with quiet():
        import transformers

        cls = getattr(transformers, family.architecture)
        dtype = torch.float32 if device.type == "cpu" else "auto"
        try:
            model, info = cls.from_pretrained(
                directory, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except Exception as e:  # whatever is wrong with a file, it is the file that has to be mended
            raise UsageError(f"the weights in {directory} cannot be read: {line(e)}") from e
    wrong = sorted(map(str, [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]))
    if wrong:
        raise UsageError(f"the weights in {directory} do not fit {family.architecture}: {len(wrong)} are wrong, the first is {wrong[0]}")
    return model.to(device)  # type: ignore[no-any-return]


def checked_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UsageError(f"the device {name!r} cannot be used: {line(e)}") from e
    return device


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice from transformers; its own settings come back afterwards."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def line(e: BaseException) -> str:
    """The first line of what an exception says."""
    return next(iter(str(e).splitlines()), "") or type(e).__name__
