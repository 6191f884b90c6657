"""Describes a checkpoint from its config and the headers of its files, without reading weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from decoders.core import UsageError
from decoders.files import expanded, is_directory
from decoders.models import nano
from decoders.models.headers import SIZES, numbers_in
from decoders.models.hub import Repository, glimpsed
from decoders.models.reading import read_json

NAMES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "float64": "F64"}


@dataclass(frozen=True)
class Glance:
    """A checkpoint at a glance."""

    where: str
    family: str
    attention: str
    """`bidirectional`, `block` or `causal`."""
    block: int | None
    """Size of the windows; none: one over the whole row."""
    shifted: bool
    mask_id: int | None
    positions: int | None
    """The longest row that it was made for."""
    parameters: int
    stored: dict[str, int]
    """Numbers of each type in its files."""
    bytes: int
    quantised: bool
    """Its weights were quantised before they were written."""
    column: int | None
    """The size of a position's keys and values in all layers, in numbers; None if only its code knows it, or it has
    none."""
    remote: bool
    """It runs only with its own code."""


def glance(path: str) -> Glance:
    """Describe the directory of a checkpoint, `nano`, or a repository on the hub, of which no weights are downloaded.
    Raises `UsageError` if it is not a checkpoint of a known family."""
    from decoders.models.checkpoint import native_class, settings_of
    from decoders.models.ids import mask_of
    from decoders.models.prequantised import quantisation_in
    from decoders.models.recognition import family_of

    directory, weights = Path(nano.__file__).parent if path == "nano" else expanded(path), None
    repository = None if is_directory(directory) else Repository.named(path)
    if repository:
        directory, weights = glimpsed(repository)
    elif not is_directory(directory):
        raise UsageError(f"there is no checkpoint directory {path!r}")
    config = read_json(directory / "config.json")
    where = str(repository or directory.resolve())
    family = family_of(config, where)
    attention = family.attention(where)
    stored = stored_in(directory, config, weights)
    settings = settings_of(directory, config, family)
    native = None if family.remote else native_class(config, family).config_class(**settings)
    text = native.get_text_config() if native else SimpleNamespace(**config)
    return Glance(
        where=where, family=family.name, attention=attention, block=family.blocks(config, attention)[0],
        shifted=family.shifted or attention == "causal", mask_id=mask_of(directory, config, family),
        positions=getattr(text, "max_position_embeddings", None), parameters=sum(stored.values()), stored=stored,
        bytes=sum(n * SIZES[kind] for kind, n in stored.items()), quantised=bool(quantisation_in(config)),
        column=column_of(native) if native and not family.adapter else None, remote=family.remote,
    )


def column_of(native: Any) -> int:
    from decoders.models.work import heads

    _, n, size = heads(SimpleNamespace(config=native))  # type: ignore[arg-type]
    return int(2 * native.get_text_config().num_hidden_layers * n * size)


def stored_in(directory: Path, config: dict[str, Any], weights: int | None) -> dict[str, int]:
    """Numbers of each type in the files of weights; if those are on the hub alone, as many as their bytes hold of the
    type that the config names. Raises `UsageError`."""
    if weights is not None:
        kind = NAMES.get(str(config.get("dtype") or config.get("torch_dtype")), "BF16")
        return {kind: weights // SIZES[kind]}
    from decoders.models.checkpoint import check_weights

    check_weights(directory)
    out = numbers_in(directory)
    if unknown := sorted(out.keys() - SIZES.keys()):
        raise UsageError(f"{directory} holds weights of the type {unknown[0]}, which is not known")
    return out
