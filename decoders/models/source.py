"""Where models come from: a registered name, or the directory of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from decoders import registry
from decoders.core.errors import UsageError
from decoders.core.forward import Model
from decoders.core.options import option, option_named, validate


class Tokenizer(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Loaded:
    """A model, ready to run, with what is needed to talk to it in text."""

    model: Model
    tokenizer: Tokenizer
    name: str
    length: int
    """Positions after the prompt, where nobody says otherwise."""
    block: int | None = None
    """Window size where nobody says otherwise; none: one window over the whole row."""
    positions: int | None = None
    """The longest row that the model was made for, prompt included; none: any."""
    never: tuple[int, ...] = ()
    """Token ids that are no text and are never generated: the mask token and the unknown token."""


@dataclass(frozen=True)
class Source:
    """A model that can be asked for by name. Subclass it as a frozen dataclass and write `load`."""

    def __post_init__(self) -> None:
        validate(self)

    def load(self) -> Loaded:
        """Raises `UsageError` for what the user can mend."""
        raise NotImplementedError


@dataclass(frozen=True)
class Checkpoint(Source):
    """A directory with config.json, tokenizer.json and weights in safetensors. No code of the checkpoint's is ever run."""

    path: str = option("", "the directory")
    attention: Literal["auto", "bidirectional", "block"] = option("auto", "what each position sees; auto: the default of the family")
    device: str = option("cpu", "where it runs: cpu, cuda, cuda:1")

    def load(self) -> Loaded:
        from decoders.models.checkpoint import load_checkpoint

        directory = Path(self.path).expanduser()
        return load_checkpoint(directory, str(directory.resolve()), self.attention, self.device)


def source_of(spec: str) -> Source:
    """The source that `-m SPEC` names: `name`, `name:key=value`, a directory, or `directory:key=value`. Raises `UsageError`."""
    path, _, written = spec.rpartition(":")
    if Path(spec).expanduser().is_dir() and spec not in registry.table("models"):
        return Checkpoint(path=spec)
    if path and Path(path).expanduser().is_dir() and path not in registry.table("models"):
        _, given = registry.split("models", f"checkpoint:{written}")
        values = {key: option_named(Checkpoint, "a checkpoint", key).parse("a checkpoint", text) for key, text in given.items()}
        return Checkpoint(**{**values, "path": path})
    if spec.startswith((".", "~")) or os.sep in spec:
        raise UsageError(f"there is no checkpoint directory {spec!r}")
    source = registry.make("models", spec)
    if not isinstance(source, Source):
        raise UsageError(f"{spec!r} is not a model Source")
    return source


def load_model(spec: str) -> Loaded:
    """The model that `-m SPEC` names. Raises `UsageError`."""
    return source_of(spec).load()
