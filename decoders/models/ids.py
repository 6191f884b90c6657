"""The ids of a checkpoint's special tokens: the mask token, stop tokens, and tokens that are never text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decoders.core import UsageError
from decoders.models.families import Family
from decoders.models.reading import read_json
from decoders.models.tokenizer import JsonTokenizer, tokenizer_in

EDITS = "expand_token_id", "delete_token_id", "split_token_id"
"""The names in configs of the tokens with which a model requests more or fewer positions (DreamOn, LLaDA2.2)."""
EXPAND = "<|expand|>"
"""DreamOn's token for one more position; with its end token it requests one less."""


def mask_of(directory: Path, config: dict[str, Any], family: Family) -> int | None:
    """The id of the mask token; None if the family has no such token. Raises `UsageError` if it is not given
    anywhere."""
    graph = config.get("graph") if family.mask == "last" else None
    if family.mask == "none" or (isinstance(graph, dict) and graph.get("type") == "uniform"):  # SEDD's uniform noise
        return None
    found = config.get("mask_token_id")
    if found is None and family.mask == "tokenizer":
        found = tokenizer_in(directory).named("mask_token")
        if found is None:
            raise UsageError(f"the tokenizer of {directory} has no mask token, and config.json gives no mask_token_id")
    if found is None and family.mask == "last":
        rows = config.get("vocab_size")
        found = rows - 1 if isinstance(rows, int) else config.get("tokens")
    if found is None and isinstance(family.mask, int):
        found = family.mask
    if found is None:
        raise UsageError(f"{directory / 'config.json'} has no mask_token_id")
    return checked_id(found, f"mask_token_id in {directory / 'config.json'}")


def checked_id(found: Any, what: str) -> int:
    """A token id. Raises `UsageError` for an invalid one."""
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 31:
        raise UsageError(f"{what} must be a token id, not {str(found)[:50]}")
    return found


def stops_of(
    directory: Path, config: dict[str, Any], family: Family, vocab: int, tokenizer: JsonTokenizer
) -> tuple[int, ...]:
    """The ids of the tokens that end a text: those of config.json and generation_config.json; those of the family, if
    one of these is among them or there are none; and those of the tokenizer: its end token and the end of a turn.
    Raises `UsageError` for an invalid token id, or if the mask token is among them."""
    generation = directory / "generation_config.json"
    text = config.get("text_config")
    said = [config, text if isinstance(text, dict) else {}, read_json(generation) if generation.is_file() else {}]
    written = [x.get("eos_token_id") for x in said]
    ids = [
        checked_id(i, f"eos_token_id of {directory}")
        for found in written for i in (found if isinstance(found, list) else [found]) if i is not None
    ]
    if not ids or set(ids) & set(family.ends):
        ids += family.ends
    ends = tuple(dict.fromkeys(i for i in (*ids, *tokenizer.ends) if i < vocab))
    mask = mask_of(directory, config, family)
    if mask in ends:
        raise UsageError(f"{directory} gives the id {mask} to its mask token and to a token that ends a text")
    return ends


def edits_of(directory: Path, config: dict[str, Any], tokenizer: JsonTokenizer) -> list[int]:
    """The ids of the tokens that request another length, from config.json, generation_config.json, or by the name of
    DreamOn's expand token. Raises `UsageError` for an invalid token id."""
    named = tokenizer.core.token_to_id(EXPAND)
    ids = [i for key in EDITS for i in written(directory, config, key)]
    return ids if named is None else [*ids, named]


def expand_in(directory: Path, config: dict[str, Any], tokenizer: JsonTokenizer) -> int | None:
    """The id of the token with which the model requests one more position; None if it has no such token. Raises
    `UsageError` for an invalid token id."""
    named = tokenizer.core.token_to_id(EXPAND)
    return next(iter(written(directory, config, EDITS[0])), named)


def written(directory: Path, config: dict[str, Any], key: str) -> list[int]:
    """The ids that config.json and generation_config.json give under a key. Raises `UsageError` for an invalid one."""
    generation = directory / "generation_config.json"
    said = [config, read_json(generation) if generation.is_file() else {}]
    return [checked_id(x[key], f"{key} of {directory}") for x in said if x.get(key) is not None]


def forbidden(
    tokenizer: JsonTokenizer, never: tuple[int, ...], stop_ids: tuple[int, ...], vocab: int
) -> tuple[int, ...]:
    """The ids that are never generated, because they are not text: `never`, and the rows of the model's head for which
    the tokenizer has no token. Stop tokens are left out."""
    return tuple(t for t in (*never, *tokenizer.absent(vocab)) if t not in stop_ids)
