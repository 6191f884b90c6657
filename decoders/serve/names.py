"""The model and the decoder that a request names."""

from __future__ import annotations

from decoders import registry
from decoders.core import UsageError
from decoders.serve.refusals import RefusedError
from decoders.specs import Kind

SEPARATOR = "@"


def split_model(asked: str, served: str) -> str | None:
    """The decoder that the name of a model asks for, as in `nano@threshold:tau=0.9`. Raises `RefusedError`."""
    name, separator, spec = asked.partition(SEPARATOR)
    if name != served:
        raise RefusedError(
            404, f"there is no model {name!r} here; there is {served!r}, or {served}{SEPARATOR}DECODER", "model",
            "model_not_found",
        )
    if separator and not spec:
        raise RefusedError(400, f"a decoder has to follow the {SEPARATOR} in {asked!r}", "model")
    return spec or None


def only_registered(spec: str, kind: Kind = "strategies") -> None:
    """Raises `UsageError` for a spec that a request may not use: one that names a class by its module, or has an option
    that names a file or another machine. Nothing is made or imported for it."""
    for name, key, option in registry.options_given(spec, kind, of_no_module):
        if str in option.types and tuple not in option.types and not option.choices:
            raise UsageError(f"{name}: {key} names something outside of the server, which a request may not")


def of_no_module(name: str) -> None:
    """Raises `UsageError` for the name of a class with its module."""
    if ":" in name:
        raise UsageError(f"{name!r} names a class by its module, which a request may not")
