"""Spec strings and entry points: the part of the plug system that imports neither plugs nor torch.

A spec string is `name` or `name:key=value,key=value`; a value that is itself a spec is put in parentheses if it has
options. A text may be a JSON string in double quotes, so that it can contain a comma or begin with a space.
`module:Class` and `module:Class:key=value` work with nothing installed.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from typing import TYPE_CHECKING, Any, TypeAlias

from decoders.errors import UsageError, suggest
from decoders.tree import DISTRIBUTION, entry_points_of

if TYPE_CHECKING:
    from decoders.core import Part

KINDS = {
    "strategies": "strategy", "caches": "cache", "presets": "preset", "models": "model",
    "constraints": "constraint", "tasks": "task", "families": "family", "commands": "command",
}

Kind: TypeAlias = "str | type[Part]"
"""What a name is looked up among: a group of entry points, or the parts that an option chooses from."""


@cache
def table(kind: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Name to entry points of the group `decoders.KIND`; more than one if several distributions own a name. If this
    distribution is not installed, the built-in ones are read from the source tree."""
    out: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    found = *entry_points(group=f"decoders.{kind}"), *entry_points_of(f"decoders.{kind}")
    # the name of a distribution needs its whole metadata, so it is read once and not for each of its plugs
    owners = {dist: owner(e) for dist, e in {id(e.dist): e for e in found}.items()}
    for e in found:
        out.setdefault(e.name, {})[owners[id(e.dist)], e.value] = e
    return {name: tuple(plugs.values()) for name, plugs in sorted(out.items())}


def owner(e: EntryPoint) -> str:
    """The distribution of an entry point; an entry point without one is from our own source tree."""
    return e.dist.name if e.dist else DISTRIBUTION


def word(kind: Kind) -> str:
    """The word for a plug of that kind in messages."""
    return KINDS[kind] if isinstance(kind, str) else kind.__name__.lower()


def names(kind: Kind) -> set[str]:
    """The names that are accepted for a plug of that kind; presets are accepted as strategies."""
    if not isinstance(kind, str):
        return {*kind.known()}
    return {*table(kind), *(table("presets") if kind == "strategies" else ())}


def unknown(kind: Kind, name: str) -> UsageError:
    """The error for an unknown name."""
    return UsageError(f"unknown {word(kind)} {name!r}{suggest(name, names(kind))}")


def load(kind: Kind, name: str) -> Any:
    """The object of a name, or of `module:Class`. Raises `UsageError` if it is unknown, has two owners or is broken."""
    if ":" in name:
        return load_path(word(kind), name)
    if not isinstance(kind, str):
        if name not in kind.known():
            raise unknown(kind, name)
        return kind.known()[name]
    found = table(kind).get(name)
    if not found:
        raise unknown(kind, name)
    if len(found) > 1:
        raise UsageError(
            f"{word(kind)} {name!r} is defined by {' and by '.join(owner(e) for e in found)}; uninstall one of them"
        )
    try:
        return found[0].load()
    except Exception as e:  # a plugin may raise anything on import
        raise UsageError(f"{word(kind)} {name!r} of {owner(found[0])} cannot be loaded: {type(e).__name__}: {e}") from e


def load_path(word: str, path: str) -> Any:
    """`module:Class`, with the working directory on the path, as `python -m` has it."""
    module, _, attribute = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except (Exception, SystemExit) as e:  # SystemExit: a script that runs and exits when it is imported
        raise UsageError(f"{word} {path!r} cannot be loaded: {type(e).__name__}: {e}") from e
    if found is None:
        raise UsageError(f"{word} {path!r}: the module {module} has no {attribute!r}")
    return found


_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?=:|$)")


def named(spec: str, known: Collection[str]) -> str:
    """The name at the start of a spec: a known one, or `module:Class`, or the text before its first colon."""
    head = spec.partition(":")[0]
    path = None if head in known else _PATH.match(spec)
    return path[0] if path else head


def split(kind: Kind, spec: str) -> tuple[str, dict[str, str]]:
    """`name` and the written options of a spec string. Raises `UsageError` if it is malformed."""
    name = named(spec, table(kind) if isinstance(kind, str) else kind.known())
    rest = spec[len(name) :]
    given: dict[str, str] = {}
    for part in pieces(rest[1:]) if rest else ():
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"cannot read {part!r} in {spec!r}; write name:key=value,key=value")
        if key.strip() in given:
            raise UsageError(f"option {key.strip()!r} is given twice in {spec!r}")
        given[key.strip()] = value.strip()
    if not name:
        raise UsageError(f"{spec!r} names nothing; write name or name:key=value")
    return name, given


_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|[(),]')


def pieces(text: str) -> Iterator[str]:
    """The parts of a text between commas, except commas in parentheses or quotes."""
    depth, begin = 0, 0
    for m in _MARK.finditer(text):
        depth += (m[0] == "(") - (m[0] == ")")
        if depth < 0:
            break
        if m[0] == "," and depth == 0:
            yield text[begin : m.start()]
            begin = m.end()
    if depth:
        raise UsageError(f"parentheses do not match in {text!r}")
    yield text[begin:]


def joined(name: str, options: dict[str, str]) -> str:
    """The spec string with these written options."""
    return f"{name}:{','.join(f'{k}={v}' for k, v in options.items())}" if options else name


def other_owner() -> str | None:
    """Another installed distribution that also has the import name `decoders`, if there is one."""
    owners = {d.lower() for d in packages_distributions().get("decoders", ())} - {DISTRIBUTION}
    return min(owners, default=None)
