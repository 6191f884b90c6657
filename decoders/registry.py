"""One door for built-ins and plugins: entry points, spec strings, and what is known of each plug.

A spec string is `name` or `name:key=value,key=value`; a value that is itself a spec stands in parentheses if it has
options of its own. A text may stand in double quotes, as JSON writes it, so that it can hold a comma or begin with a
space. `module:Class` and `module:Class:key=value` work with nothing installed.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from typing import Any

from decoders.core import (
    SENTENCES,
    Attested,
    Cache,
    Decoder,
    Option,
    Part,
    UsageError,
    asks,
    option_named,
    options,
    suggest,
    written,
)
from decoders.errors import OldSpelling
from decoders.presets import Preset
from decoders.tree import DISTRIBUTION as DISTRIBUTION
from decoders.tree import entry_points_of

KINDS = {
    "strategies": "strategy", "caches": "cache", "presets": "preset", "models": "model",
    "constraints": "constraint", "tasks": "task", "commands": "command",
}

Kind = str | type[Part]
"""What a name is looked up among: a group of entry points, or the parts that an option chooses from."""


@cache
def table(kind: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Name to entry points of the group `decoders.KIND`; more than one where several distributions own a name. Where
    our own is not installed, the built-in ones are read from the source tree."""
    out: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for e in (*entry_points(group=f"decoders.{kind}"), *entry_points_of(f"decoders.{kind}")):
        out.setdefault(e.name, {})[owner(e), e.value] = e
    return {name: tuple(found.values()) for name, found in sorted(out.items())}


def owner(e: EntryPoint) -> str:
    """The distribution that an entry point comes from; one without is from our own source tree."""
    return e.dist.name if e.dist else DISTRIBUTION


def word(kind: Kind) -> str:
    """What a message calls a plug of that kind."""
    return KINDS[kind] if isinstance(kind, str) else kind.__name__.lower()


def load(kind: Kind, name: str) -> Any:
    """The object behind a name, or behind `module:Class`. Raises `UsageError` if it is unknown, has two owners or is
    broken."""
    if ":" in name:
        return load_path(word(kind), name)
    if not isinstance(kind, str):
        if name not in kind.known():
            raise UsageError(f"unknown {word(kind)} {name!r}{suggest(name, kind.known())}")
        return kind.known()[name]
    found = table(kind).get(name)
    if not found:
        known = {*table(kind), *(table("presets") if kind == "strategies" else ())}
        raise UsageError(f"unknown {word(kind)} {name!r}{suggest(name, known)}")
    if len(found) > 1:
        raise UsageError(
            f"{word(kind)} {name!r} is defined by {' and by '.join(owner(e) for e in found)}; uninstall one of them"
        )
    try:
        return found[0].load()
    except Exception as e:  # whatever a plugin raises on import is its own; name it and go on
        raise UsageError(f"{word(kind)} {name!r} of {owner(found[0])} cannot be loaded: {type(e).__name__}: {e}") from e


def load_path(word: str, path: str) -> Any:
    """`module:Class`, with the working directory on the path, as `python -m` has it."""
    module, _, attribute = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except (Exception, SystemExit) as e:  # of a script, too, that runs and ends when it is imported
        raise UsageError(f"{word} {path!r} cannot be loaded: {type(e).__name__}: {e}") from e
    if found is None:
        raise UsageError(f"{word} {path!r}: the module {module} has no {attribute!r}")
    return found


_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(?=:|$)")


def split(kind: Kind, spec: str) -> tuple[str, dict[str, str]]:
    """`name` and the written options of a spec string. Raises `UsageError` if it is malformed."""
    head = spec.partition(":")[0]
    path = None if head in (table(kind) if isinstance(kind, str) else kind.known()) else _PATH.match(spec)
    name = path[0] if path else head
    rest = spec[len(name) :]
    given: dict[str, str] = {}
    for part in pieces(rest[1:]) if rest else ():
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"cannot read {part!r} in {spec!r}; write name:key=value,key=value")
        if key.strip() in given:
            raise UsageError(f"option {key.strip()!r} stands twice in {spec!r}")
        given[key.strip()] = value.strip()
    if not name:
        raise UsageError(f"{spec!r} names nothing; write name or name:key=value")
    return name, given


_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|[(),]')


def pieces(text: str) -> Iterator[str]:
    """The text between commas that stand in no parentheses and in no quotes."""
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


def make(kind: Kind, spec: str, extra: dict[str, Any] | None = None) -> Any:
    """The plug that a spec describes; `extra` gives further options as Python values, and those of the spec win."""
    name, given = split(kind, spec)
    known = options(dataclass_named(kind, name))
    older = {key: spelled(value) for key, value in (extra or {}).items() if key not in known}
    name, given = current(kind, name, older | given)
    cls = dataclass_named(kind, name)
    values = {key: value for key, value in (extra or {}).items() if key in options(cls)}
    for key, text in given.items():
        o = option_named(cls, name, key)
        inner = nested(o, text, kind)
        values[key] = make(*inner) if inner else o.parse(name, text)
        if not inner:
            o.check(name, values[key])
    if lacks := [name for name, x in vars(cls).items() if getattr(x, "__isabstractmethod__", False)]:
        raise UsageError(f"{word(kind)} {spec!r} is one to be made others of: it has no {' and no '.join(lacks)}")
    return cls(**values)


def dataclass_named(kind: Kind, name: str) -> Any:
    """The class behind a name. Raises `UsageError` if it is none whose options are known."""
    cls = load(kind, name)
    if not (isinstance(cls, type) and hasattr(cls, "__dataclass_fields__")):
        raise UsageError(f"{word(kind)} {name!r} is not a dataclass, so it is no {word(kind)}")
    return cls


def nested(o: Option, text: str, kind: Kind) -> tuple[Kind, str] | None:
    """What the text of an option of a plug of that kind names, if it names another plug: the kind of that, and its
    spec."""
    bare = text.removeprefix("(").removesuffix(")")
    if o.part:
        return o.part, bare
    for plug, group in ((Decoder, "strategies"), (Cache, "caches")):
        if any(issubclass(t, plug) for t in o.types):
            return group, bare
    return (kind, bare) if text == f"({bare})" else None


def options_given(
    spec: str, kind: Kind = "strategies", named: Callable[[str], None] = lambda name: None
) -> Iterator[tuple[str, str, Option]]:
    """The options that a spec and those inside it give, less those that name a plug: whose it is, its name, and what is
    known of it. `named` hears of every name first. Nothing is made or imported for a spec; raises `UsageError` for one
    that reaches beyond what is installed."""
    name = split(kind, spec)[0]
    if isinstance(kind, str):
        known = {*table(kind), *(table("presets") if kind == "strategies" else ())}
    else:
        known = {*kind.known()}
    named(name)
    if name not in known:
        raise UsageError(f"unknown {word(kind)} {name!r}{suggest(name, known)}")
    name, given = split(kind, unfolded(spec)[0] if kind == "strategies" else spec)
    cls = load(kind, name)
    for key, text in current(kind, name, given)[1].items():
        option = option_named(cls, name, key)
        if inner := nested(option, text, kind):
            yield from options_given(inner[1], inner[0], named)
        else:
            yield name, key, option


def current(kind: Kind, name: str, given: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The name and the written options of a plug as they are written now; a warning says how, where the spelling is an
    older one."""
    cls = load(kind, name)
    if not (isinstance(cls, type) and issubclass(cls, Decoder)):
        return name, given
    new = cls.respelled(name, given)
    if new != (name, given):
        warnings.warn(f"{joined(name, given)} is now written {joined(*new)}", OldSpelling, stacklevel=4)
    return new


def get(spec: str, **options: Any) -> Decoder:
    """A strategy: `get("threshold:tau=0.9")` or `get("threshold", tau=0.9)`; of a preset, its decoder. Raises
    `UsageError`."""
    made = make("strategies", unfolded(spec)[0], options)
    if not isinstance(made, Decoder):
        raise UsageError(f"{spec!r} is not a Decoder")
    return made


def get_cache(spec: str, **options: Any) -> Cache:
    """A cache policy, by the same grammar. Raises `UsageError`."""
    made = make("caches", spec, options)
    if not isinstance(made, Cache):
        raise UsageError(f"{spec!r} is not a Cache")
    if type(made).stale is Cache.stale and not (made.exact or made.whole):
        raise UsageError(f"{spec!r} is one to be made others of: it has no stale")
    return made


def unfolded(spec: str) -> tuple[str, str | None]:
    """The specs of the decoder and of the cache that a preset stands for; any other spec as it is, with no cache.
    Options of a preset are its decoder's. Raises `UsageError`."""
    name, given = split("strategies", spec)
    found = table("presets").get(name)
    if not found:
        return spec, None
    if clash := table("strategies").get(name):
        raise UsageError(
            f"{name!r} is a preset of {owner(found[0])} and a strategy of {owner(clash[0])}; uninstall one of them"
        )
    preset = load("presets", name)
    if not isinstance(preset, Preset):
        raise UsageError(f"preset {name!r} of {owner(found[0])} is not a Preset")
    inner, own = split("strategies", preset.decoder)
    return joined(inner, {**own, **given}), preset.cache


def joined(name: str, options: dict[str, str]) -> str:
    """The spec string with these written options."""
    return f"{name}:{','.join(f'{k}={v}' for k, v in options.items())}" if options else name


def spec_of(plug: Any, kind: str | None = None) -> str:
    """The spec string that makes an equal plug: its name and the options that differ from their defaults. `kind`: none
    is that of a cache for caches and that of a strategy for anything else."""
    kind = kind or ("caches" if isinstance(plug, Cache) else "strategies")
    path = f"{type(plug).__module__}:{type(plug).__qualname__}"
    if isinstance(plug, Part):
        name = type(plug).__dict__.get("name") or path
    else:
        name = next((n for n, found in table(kind).items() if found[0].value == path), path)
    return joined(name, {f.name: spelled(x) for f in fields(plug) if (x := getattr(plug, f.name)) != f.default})


def spelled(value: Any) -> str:
    """An option's value as a spec string writes it."""
    return f"({spec_of(value)})" if hasattr(value, "__dataclass_fields__") else written(value)


@dataclass(frozen=True)
class Entry:
    """A line of `decoders list`."""

    name: str
    options: tuple[Option, ...]
    summary: str
    source: str
    capabilities: tuple[str, ...]
    distribution: str
    attested: Attested | None = None
    """None where there is nothing to attest: presets and models."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""

    @property
    def latent(self) -> bool:
        """It is for models of latents."""
        return "latents" in self.capabilities


SAID = ("needs_store", "needs_blocks", "needs_attention", "revises", "unbiased", "exact")
"""What plugs say of themselves."""


def capabilities(kind: str, cls: type) -> tuple[str, ...]:
    """What there is to know of a plug's needs and ways: of a strategy what it asks, with its default options, on models
    of both kinds, and what plugs of all kinds say of themselves."""
    said = [name for name in SAID if getattr(cls, name, False)]
    if kind != "strategies":
        return tuple(said)
    asked = asks(cls()) | asks(cls(), block_causal=True)
    return (*(f"needs_{name}" if name in ("mask", "blocks") else name for name in SENTENCES if name in asked), *said)


def entries(kind: str) -> list[Entry]:
    """All plugs of a kind; one that is broken or has two owners is listed with its problem, and the others are
    unaffected."""
    out = []
    for name, found in table(kind).items():
        owners = " and ".join(owner(e) for e in found)
        try:
            cls = load(kind, name)
            known = () if kind == "presets" else tuple(options(cls).values())
        except Exception as e:
            problem = str(e) if isinstance(e, UsageError) else f"{type(e).__name__}: {e}"
            out.append(Entry(name, (), "", "", (), owners, problem=problem))
            continue
        flags = capabilities(kind, cls)
        preset = f"{cls.decoder} with the cache {cls.cache}: {cls.summary}" if isinstance(cls, Preset) else ""
        summary = preset or summary_of(cls)
        source, attested = getattr(cls, "source", ""), getattr(cls, "attested", None)
        out.append(Entry(name, known, summary, source, flags, owners, attested))
    return out


def summary_of(plug: Any) -> str:
    """The first paragraph of what a class says of itself."""
    return " ".join((plug.__doc__ or "").split("\n\n")[0].split())


def other_owner() -> str | None:
    """Another installed distribution that also writes to the import name `decoders`, if there is one."""
    owners = {d.lower() for d in packages_distributions().get("decoders", ())} - {DISTRIBUTION}
    return min(owners, default=None)
