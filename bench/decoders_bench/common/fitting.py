"""Checks that the content of a JSON file has the expected form."""

from __future__ import annotations

from typing import Any

from decoders import UsageError


def misfit(value: Any, shape: Any, at: str = "") -> str | None:
    """The first place where a value departs from a shape, in words; None if it fits.

    A shape is a type, or several as `int | None`; `[shape]`, a list of any length; `(shape, shape)`, a list of so many;
    `{"key": shape}`, an object with at least these keys; `{str: shape}`, an object with any keys. A whole number is a
    float as well, and a bool is no number."""
    strange = f"holds {str(value)[:40]!r} {f'in {at}' if at else 'alone'}"
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return strange
        if missing := next((key for key in shape if key is not str and key not in value), None):
            return f"has no {missing!r}" + (f" in {at}" if at else "")
        parts = [(key, value[key], shape[str]) for key in value] if str in shape else []
        parts = parts or [(key, value[key], inner) for key, inner in shape.items() if key is not str]
    elif isinstance(shape, list | tuple):
        if not isinstance(value, list) or (isinstance(shape, tuple) and len(value) != len(shape)):
            return strange
        each = shape * len(value) if isinstance(shape, list) else shape
        parts = list(zip(range(len(value)), value, each, strict=True))
    elif isinstance(value, bool):
        return None if shape is bool else strange
    else:
        return None if isinstance(value, shape) or (isinstance(value, int) and isinstance(0.0, shape)) else strange
    return next((m for key, x, inner in parts if (m := misfit(x, inner, f"{at}.{key}" if at else str(key)))), None)


def fitted(value: Any, shape: Any, what: str) -> Any:
    """The value. Raises `UsageError` if it does not fit."""
    if wrong := misfit(value, shape):
        raise UsageError(f"{what} {wrong}")
    return value
