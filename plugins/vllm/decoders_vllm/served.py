"""The properties of the model that an engine serves: read once from its checkpoint, with the library's family table,
and passed to all of vLLM's processes in the name of a class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from decoders.core import Blocks, UsageError
from decoders.models.families import Family
from decoders.models.ids import edits_of, forbidden, mask_of, stops_of
from decoders.models.reading import read_json
from decoders.models.recognition import family_of
from decoders.models.tokenizer import JsonTokenizer, load_tokenizer
from decoders_vllm.rows import Canvases

SERVED = "sdar", "sdar_moe", "fast_dllm_v2", "llada2", "nano", "diffusion_gemma"
"""Families that vLLM's native path can serve."""


@dataclass(frozen=True)
class Served:
    """A checkpoint as the engine runs it."""

    directory: str
    family: str
    canvas: int
    """Positions of a canvas: the block of the model's attention."""
    window: int
    """Positions that a decoder works on at once; divides the canvas."""
    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...]
    never: tuple[int, ...]
    shifted: bool
    decoder: str = "threshold"
    """The spec of requests that give none."""

    @property
    def causal(self) -> bool:
        """The text left of a canvas is read causally, so canvases start where a prompt ends; in other families they are
        blocks of the row."""
        return self.family == "diffusion_gemma"

    @property
    def windows(self) -> Blocks:
        return (
            Canvases(self.canvas)
            if self.causal
            else Blocks(self.window, self.canvas if self.window != self.canvas else None)
        )

    @classmethod
    def of(cls, directory: Path, vocab: int, block: int | None = None, decoder: str = "threshold") -> Self:
        """Read the checkpoint in a directory. `block` replaces the model's own block size, for families in which it is
        free. Raises `UsageError` for a family that is not served, and if `block` differs from a fixed block size."""
        config = read_json(directory / "config.json")
        family = family_in(directory, config)
        window, fixed = family.blocks(config, "block")
        assert window is not None
        if fixed and block not in (None, fixed):
            raise UsageError(f"the attention blocks of {directory} have {fixed} positions, not {block}")
        canvas = block or fixed or window
        mask = mask_of(directory, config, family)
        tokenizer, never = load_tokenizer(directory, mask)
        stop_ids = stops_of(directory, config, family, vocab, tokenizer)
        never = forbidden(tokenizer, (*never, *edits_of(directory, config, tokenizer)), stop_ids, vocab)
        return cls(
            str(directory), family.name, canvas, window if fixed else canvas, mask, vocab, stop_ids, never,
            family.shifted, decoder,
        )

    @property
    def written(self) -> str:
        """The fields encoded as a part of a Python name; `read` is the inverse."""
        return json.dumps(asdict(self)).encode().hex()

    @classmethod
    def read(cls, written: str) -> Self:
        said: dict[str, Any] = json.loads(bytes.fromhex(written))
        return cls(**{key: tuple(x) if isinstance(x, list) else x for key, x in said.items()})

    @property
    def tokenizer(self) -> JsonTokenizer:
        return tokenizer_in(self.directory, self.mask_id)


def family_in(directory: Path, config: Mapping[str, Any]) -> Family:
    """The family of a checkpoint. Raises `UsageError` for one that is not served."""
    family = family_of(config, str(directory))
    if family.name not in SERVED:
        served = ", ".join(SERVED)
        raise UsageError(
            f"{directory} is of the family {family.name}, which vLLM's native path does not hold; served are {served}"
        )
    return family


@cache
def tokenizer_in(directory: str, mask_id: int) -> JsonTokenizer:
    return load_tokenizer(Path(directory), mask_id)[0]


def directory_of(model: str) -> Path:
    """The directory of a model as vLLM names it: a path, or a name on the hub, whose small files are downloaded or
    found in the cache."""
    if Path(model).is_dir():
        return Path(model).resolve()
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, allow_patterns=["*.json", "*.txt"]))
