"""Options of plugs: the fields of a frozen dataclass, with ranges, checked wherever an object is made."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from decoders.errors import UsageError, no_option


def option(default: Any, help: str = "", *, min: float | None = None, max: float | None = None) -> Any:
    """A dataclass field with a one-line description and an inclusive range."""
    return field(default=default, metadata={"help": help, "min": min, "max": max})


class Part:
    """A small frozen dataclass with options of its own that an option of a strategy or cache chooses by name:
    `route=ucb`, or `route=(min_span:span=3)`.

    The type of the option is a subclass, such as `Route`, and its subclasses that have a `name` can be chosen. A class
    of another package is chosen by `module:Class`."""

    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        validate(self)

    @classmethod
    def known(cls) -> dict[str, Any]:
        """The classes that can be chosen, by name."""
        found: dict[str, Any] = {} if not cls.__dict__.get("name") else {cls.name: cls}
        return found | {name: part for sub in cls.__subclasses__() for name, part in sub.known().items()}


@dataclass(frozen=True)
class Option:
    """The description of one option."""

    name: str
    types: tuple[type, ...]
    choices: tuple[Any, ...]
    default: Any
    min: float | None
    max: float | None
    help: str

    @property
    def part(self) -> type[Part] | None:
        """The class of parts that it chooses from; None for other options."""
        return next((t for t in self.types if issubclass(t, Part)), None)

    @property
    def type(self) -> str:
        """In words: `int`, `float or none`, `origin|entropy`."""
        if self.part:
            return "|".join(self.part.known())
        if self.choices:
            return "|".join((*map(str, self.choices), *(["none"] if NoneType in self.types else [])))
        names = {NoneType: "none", str: "str", tuple: "numbers"}
        if str in self.types and tuple in self.types:
            names |= {str: "text", tuple: "token ids"}
        return " or ".join(names.get(t, t.__name__) for t in self.types)

    def check(self, owner: str, value: Any) -> None:
        """Raises `UsageError` unless the value has the right type and is in range."""
        if value is None and NoneType in self.types:
            return
        if self.choices:
            if value not in self.choices:
                raise UsageError(
                    f"{owner}: {self.name} must be one of {', '.join(map(str, self.choices))}, not {said(value)}"
                )
            return
        allowed = (*self.types, int) if float in self.types else self.types
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in self.types):
            raise UsageError(f"{owner}: {self.name} must be {self.type}, not {said(value)}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            low = self.min is not None and not value >= self.min
            high = self.max is not None and not value <= self.max
            if low or high or value != value:
                bounds = f"at least {self.min}" if self.max is None else f"at most {self.max}"
                bounds = bounds if self.min is None or self.max is None else f"between {self.min} and {self.max}"
                raise UsageError(f"{owner}: {self.name} must be {bounds}, not {value}")

    def parse(self, owner: str, text: str) -> Any:
        """The value of `text`, as it is written in a spec string. Raises `UsageError` for unbalanced quotes."""
        if (str in self.types or self.choices) and text.startswith('"'):
            return _quoted(owner, text)
        if NoneType in self.types and text.lower() == "none":
            return None
        if self.choices:
            return next((c for c in self.choices if str(c) == text), text)
        for t, convert in ((bool, _bool), (int, int), (float, float), (tuple, _ids), (str, str)):
            if t in self.types:
                try:
                    return convert(text)
                except ValueError:
                    continue
        return text


def _quoted(owner: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UsageError(f"{owner}: {text} is not a quoted text; write it as a JSON string") from None


def _ids(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("+"))) if text else ()


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_PLAIN = re.compile(r'[^\s\d+\-,()"]([^,()"\n]*[^\s,()"])?')  # a text that no other type could read


def written(value: Any) -> str:
    """A value that is not a plug, as it is written in a spec string; `Option.parse` reads it back."""
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or value.lower() in ("none", "true", "false")):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def said(value: Any) -> str:
    """A wrong value, as it is shown in a message: token ids as in a spec, a plug by its class, and others by `repr`."""
    if is_dataclass(value):
        return type(value).__name__
    return (written(value) or "nothing") if isinstance(value, tuple) else repr(value)


def check_ids(owner: str, name: str, value: Any) -> None:
    """Raises `UsageError` for invalid token ids. A text is accepted too; it is encoded later."""
    if isinstance(value, tuple) and not (value and all(isinstance(t, int) and t >= 0 for t in value)):
        raise UsageError(f"{owner}: {name} must be a text or token ids, not {said(value)}")


@cache
def options(cls: Any) -> dict[str, Option]:
    """The options of a dataclass type, in order."""
    hints = get_type_hints(cls)
    out = {}
    for f in fields(cls):
        hint = hints[f.name]
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        choices = tuple(x for p in parts if get_origin(p) is Literal for x in get_args(p))
        types = tuple(t for t in (get_origin(p) or p for p in parts) if isinstance(t, type))
        default = None if f.default is MISSING else f.default
        meta = f.metadata
        out[f.name] = Option(f.name, types, choices, default, meta.get("min"), meta.get("max"), meta.get("help", ""))
    return out


def validate(plug: Any) -> None:
    """Raises `UsageError` for the first field whose value has the wrong type or is out of range."""
    cls: object = type(plug)
    for name, o in options(cls).items():
        o.check(type(plug).__name__, getattr(plug, name))


def option_named(cls: type, owner: str, name: str) -> Option:
    """The option of that name. Raises `UsageError` with the nearest known name."""
    known = options(cls)
    if name not in known:
        raise no_option(owner, name, known)
    return known[name]
