"""The fields of a JSON body: each is read by name and type, and fields that are not read are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from decoders.errors import suggest
from decoders.serve.refusals import RefusedError

MOST = 1 << 63


class Fields:
    """An object whose fields are taken out one by one. A null field counts as missing. `at`: its place in the body."""

    def __init__(self, found: Any, at: str = "") -> None:
        if not isinstance(found, Mapping):
            raise RefusedError(400, f"{at or 'the body'} must be a JSON object, not {said(found)}", at or None)
        self.at = at
        self.found = {str(key): value for key, value in found.items() if value is not None}
        self.known: list[str] = []

    def name(self, key: str) -> str:
        return f"{self.at}.{key}" if self.at else key

    def wrong(self, key: str, needs: str, value: Any) -> RefusedError:
        return RefusedError(400, f"{self.name(key)} must be {needs}, not {said(value)}", self.name(key))

    def any(self, key: str) -> Any:
        self.known.append(key)
        return self.found.pop(key, None)

    def text(self, key: str, default: str | None = None) -> str | None:
        value = self.any(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "a text", value)
        return default if value is None else value

    def needed(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise RefusedError(400, f"{self.name(key)} is missing", self.name(key))
        return value

    def flag(self, key: str) -> bool:
        value = self.any(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return bool(value)

    def whole(self, key: str, least: int, most: int = MOST - 1) -> int | None:
        value = self.any(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            bounds = f"from {least} to {most}" if most < MOST - 1 else f"of at least {least}"
            raise self.wrong(key, f"a whole number {bounds}", value)
        return value

    def number(self, key: str, least: float, most: float) -> float | None:
        value = self.any(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.wrong(key, f"a number from {least:g} to {most:g}", value)
        return float(value)

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        """A text or a list of texts."""
        value = self.any(key)
        listed = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(x, str) for x in listed) or len(listed) > most:
            raise self.wrong(key, f"a text or a list of up to {most} texts", value)
        return tuple(listed)

    def items(self, key: str) -> list[Any]:
        value = self.any(key)
        if value is not None and not isinstance(value, list):
            raise self.wrong(key, "a list", value)
        return value or []

    def inner(self, key: str) -> Fields | None:
        value = self.any(key)
        return None if value is None else Fields(value, self.name(key))

    def idle(self, unsupported: Mapping[str, Sequence[Any]]) -> None:
        """Fields that have no effect here; they are accepted with the values that have no effect anywhere. True is not
        1."""
        for key, idle in unsupported.items():
            value = self.any(key)
            if value is not None and not any(type(value) is type(x) and value == x for x in idle):
                raise RefusedError(400, f"{self.name(key)} is not supported; leave it out", self.name(key))

    def end(self) -> None:
        """Raises `RefusedError` if a field is left."""
        for key in self.found:
            hint = suggest(key, self.known)
            raise RefusedError(400, f"there is no field {self.name(key)!r}{hint}", self.name(key), "unknown_field")


def said(value: Any) -> str:
    """A wrong value, in a few words that quote nothing of a prompt."""
    kinds = {bool: str(value).lower(), str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value)) or (f"{value:.6g}" if abs(value) < MOST else "one that large")
