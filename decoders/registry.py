"""Makes built-in and other plugs from spec strings, and describes each plug. `decoders.specs` has the grammar of
specs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from decoders import specs
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
    written,
)
from decoders.errors import OldSpelling
from decoders.presets import Preset
from decoders.specs import Kind, joined, load, names, owner, split, unknown, word


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
        raise UsageError(f"{word(kind)} {spec!r} is an abstract base: it has no {' and no '.join(lacks)}")
    return cls(**values)


def dataclass_named(kind: Kind, name: str) -> Any:
    """The class of a name. Raises `UsageError` if it is not a dataclass with options."""
    cls = load(kind, name)
    if not (isinstance(cls, type) and hasattr(cls, "__dataclass_fields__")):
        raise UsageError(f"{word(kind)} {name!r} is not a dataclass, so it cannot be a {word(kind)}")
    if bare := undecorated(cls):
        raise UsageError(f"{word(kind)} {name!r}: {bare}")
    return cls


def undecorated(cls: type) -> str:
    """The error message for a class that has annotated values but is no frozen dataclass itself, so that they are not
    options; empty if there is no error."""
    if (made := vars(cls).get("__dataclass_params__")) and made.frozen:
        return ""
    values = [name for name, hint in inspect.get_annotations(cls).items() if "ClassVar" not in str(hint)]
    if not values:
        return ""
    return (
        f"{cls.__name__} is no frozen dataclass, so {', '.join(values)} can't be set; write @dataclass(frozen=True) "
        "above the class"
    )


def nested(o: Option, text: str, kind: Kind) -> tuple[Kind, str] | None:
    """The kind and the spec of the plug that the text of an option names, if it names one."""
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
    """The options in a spec and in the specs inside it, except those that name a plug: the name of its plug, its own
    name, and its description. `named` is called with every name of a plug first. Raises `UsageError` for a name that is
    not installed."""
    name = split(kind, spec)[0]
    named(name)
    if name not in names(kind):
        raise unknown(kind, name)
    name, given = split(kind, unfolded(spec)[0] if kind == "strategies" else spec)
    cls = load(kind, name)
    for key, text in current(kind, name, given)[1].items():
        option = option_named(cls, name, key)
        if inner := nested(option, text, kind):
            yield from options_given(inner[1], inner[0], named)
        else:
            yield name, key, option


def current(kind: Kind, name: str, given: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The present spelling of a plug's name and written options; for an older spelling, a warning gives the present
    one."""
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
        raise UsageError(f"{spec!r} is an abstract base: it has no stale")
    return made


def unfolded(spec: str) -> tuple[str, str | None]:
    """The specs of a preset's decoder and cache; any other spec unchanged, with no cache. Options of a preset are its
    decoder's. Raises `UsageError`."""
    name, given = split("strategies", spec)
    found = specs.table("presets").get(name)
    if not found:
        return spec, None
    if clash := specs.table("strategies").get(name):
        raise UsageError(
            f"{name!r} is a preset of {owner(found[0])} and a strategy of {owner(clash[0])}; uninstall one of them"
        )
    preset = load("presets", name)
    if not isinstance(preset, Preset):
        raise UsageError(f"preset {name!r} of {owner(found[0])} is not a Preset")
    inner, own = split("strategies", preset.decoder)
    return joined(inner, {**own, **given}), preset.cache


def spec_of(plug: Any, kind: str | None = None) -> str:
    """The spec string that makes an equal object: its name, and the options that differ from their defaults. `kind`:
    without it, caches are looked up among caches, and everything else among strategies."""
    kind = kind or ("caches" if isinstance(plug, Cache) else "strategies")
    path = f"{type(plug).__module__}:{type(plug).__qualname__}"
    if isinstance(plug, Part):
        name = type(plug).__dict__.get("name") or path
    else:
        name = next((n for n, found in specs.table(kind).items() if found[0].value == path), path)
    return joined(name, {f.name: spelled(x) for f in fields(plug) if (x := getattr(plug, f.name)) != f.default})


def spelled(value: Any) -> str:
    """An option's value as a spec string writes it."""
    return f"({spec_of(value)})" if hasattr(value, "__dataclass_fields__") else written(value)


def with_defaults(name: str, part: Any) -> str:
    """The spec of a part with every option that it has."""
    return joined(name, {x.name: spelled(x.default) for x in options(part).values()})


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
    """None where there is nothing to attest: presets, models and tasks."""
    rungs: tuple[str, ...] = ()
    """The levels of difficulty of a task."""
    older: bool = False
    """It accepts specs in an older spelling, with other options."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""

    @property
    def special(self) -> bool:
        """It is for models of latents, or for those with tokens that ask for more and fewer positions; no other runs
        it."""
        return not {"latents", "expand"}.isdisjoint(self.capabilities)


SAID = (
    "needs_store", "needs_blocks", "needs_attention", "revises", "unbiased", "exact", "reads_file", "runs_code"
)
"""Class attributes that are listed as capabilities."""


def capabilities(kind: str, cls: type) -> tuple[str, ...]:
    """The needs and properties of a plug: for a strategy its needs with default options on models of both kinds, and
    for all plugs the class attributes in `SAID`."""
    said = [name for name in SAID if getattr(cls, name, False)]
    if kind != "strategies":
        return tuple(said)
    asked = asks(cls()) | asks(cls(), block_causal=True)
    return (*(f"needs_{name}" if name in ("mask", "blocks") else name for name in SENTENCES if name in asked), *said)


def entries(kind: str) -> list[Entry]:
    """All plugs of a kind."""
    return [entry(kind, name) for name in specs.table(kind)]


def entry(kind: str, name: str) -> Entry:
    """One plug; if it is broken or has two owners, with its problem."""
    owners = " and ".join(owner(e) for e in specs.table(kind)[name])
    try:
        cls = load(kind, name)
        known = () if kind in ("presets", "tasks") else tuple(options(cls).values())
    except Exception as e:
        problem = str(e) if isinstance(e, UsageError) else f"{type(e).__name__}: {e}"
        return Entry(name, (), "", "", (), owners, problem=problem)
    preset = f"{cls.decoder} with the cache {cls.cache}: {cls.summary}" if isinstance(cls, Preset) else ""
    older = any("respelled" in vars(c) for c in getattr(cls, "__mro__", ()) if c is not Decoder)
    return Entry(
        name, known, preset or summary_of(cls), getattr(cls, "source", ""), capabilities(kind, cls), owners,
        getattr(cls, "attested", None), tuple(getattr(cls, "rungs", ())), older,
    )


def summary_of(plug: Any) -> str:
    """The first paragraph of the docstring of a class."""
    return " ".join((plug.__doc__ or "").split("\n\n")[0].split())
