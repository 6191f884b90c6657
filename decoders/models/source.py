"""Where models come from: a registered name, the directory of a checkpoint, or a repository on the hub."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from decoders import registry, specs
from decoders.core import UsageError, option, option_named, validate
from decoders.files import expanded, is_directory
from decoders.models.hub import Repository, fetched
from decoders.models.loaded import Loaded


@dataclass(frozen=True)
class Source:
    """A model with a name. Subclass it as a frozen dataclass and write `load`."""

    def __post_init__(self) -> None:
        validate(self)

    @abstractmethod
    def load(self) -> Loaded:
        """Raises `UsageError` for errors that the user can fix."""
        raise NotImplementedError


@dataclass(frozen=True)
class Checkpoint(Source):
    """A directory with config.json, the files of a tokenizer and weights in safetensors, or the name of a repository on
    the hub that has them, which is downloaded into the hub's cache. Code of the checkpoint is run only if its family
    has no other code and `trust_remote_code` is set."""

    path: str = option("", "the directory, or ORG/NAME or ORG/NAME@REVISION on the hub")
    attention: Literal["auto", "bidirectional", "block", "causal"] = option(
        "auto", "what each position sees; auto: the default of the family"
    )
    device: str = option("cpu", "where it runs: cpu, cuda, cuda:1")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "precision; auto: as stored, but float32 on a CPU that does not multiply bfloat16 fast"
    )
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = option(
        None, "spread the layers over the devices there are, for a model larger than one of them; needs accelerate"
    )
    tp: bool = option(False, "each device takes its part of every layer; one process per device, started with torchrun")
    trust_remote_code: bool = option(False, "run the code of the checkpoint, for a family that no other code can run")
    quantize: Literal["int8", "int4"] | None = option(
        None, "the linear layers below the head in 8 or 4 bits; int8, and int4 on a GPU, need torchao"
    )

    def load(self) -> Loaded:
        from decoders.models.checkpoint import load_checkpoint

        directory, name = self.place()
        return load_checkpoint(
            directory, name, self.attention, self.device, self.dtype, self.device_map, self.tp,
            self.trust_remote_code, self.quantize
        )

    def place(self) -> tuple[Path, str]:
        """The directory, and the name of the model; it is downloaded if it is on the hub. Raises `UsageError`."""
        directory = expanded(self.path)
        repository = None if is_directory(directory) else Repository.named(self.path)
        if repository is None:
            return directory, str(directory.resolve())
        directory = fetched(repository, self.trust_remote_code)
        return directory, f"{repository.name}@{directory.name[:12]}"


def source_of(spec: str, **options: Any) -> Source:
    """The source that `-m SPEC` names: `name`, `name:key=value`, `name:directory` or `name:directory,key=value` for one
    that has an option `path`, a directory, or `directory:key=value`, where a directory may also be the name of a
    repository on the hub. `options` are further options, as Python values. Raises `UsageError`, also for an option that
    is given in both ways."""
    path, _, written = spec.rpartition(":")
    if is_checkpoint(spec):
        path, written = spec, ""
    if path and is_checkpoint(path):
        given = specs.split("models", f"checkpoint:{written}")[1] if written else {}
        refuse_twice(spec, given, options)
        for key in options:
            option_named(Checkpoint, "a checkpoint", key)
        values = {
            key: option_named(Checkpoint, "a checkpoint", key).parse("a checkpoint", text)
            for key, text in given.items()
        }
        return Checkpoint(**{**values, **options, "path": path})
    name, _, rest = spec.partition(":")
    named = name in specs.table("models")
    if named and rest and not re.match(r"\s*\w+\s*=", rest):
        spec = f"{name}:path={rest}"
    if not named and (spec.startswith((".", "~")) or os.sep in spec):
        raise UsageError(f"there is no checkpoint directory {spec!r}")
    refuse_twice(spec, specs.split("models", spec)[1], options)
    source = registry.make("models", spec, options)
    if not isinstance(source, Source):
        raise UsageError(f"{spec!r} is not a model Source")
    return source


def is_checkpoint(path: str) -> bool:
    """Whether this names a directory, or can name a repository on the hub and is not a registered model."""
    if path in specs.table("models"):
        return False
    return is_directory(expanded(path)) or Repository.named(path) is not None


def refuse_twice(spec: str, written: Collection[str], options: Collection[str]) -> None:
    """Raises `UsageError` if an option of the spec is given beside it too."""
    twice = sorted(set(written) & set(options))
    if twice:
        raise UsageError(f"the option {twice[0]!r} is given both in {spec!r} and separately; give it once")


def load_model(spec: str, **options: Any) -> Loaded:
    """The model that `-m SPEC` names; in Python it is `decoders.load`: `load("path/to/checkpoint", device="cuda")`.
    `options` are further options of the spec, as Python values. Raises `UsageError`."""
    return source_of(spec, **options).load()
