"""Which settings are equal though they are written differently, and which form a curve: settings of one decoder that
differ in a single number."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from decoders import Decoder, UsageError, get_cache, registry, specs
from decoders.core import options
from decoders_bench.common.recorded import recorded
from decoders_bench.quality.rows import Row, Run, Setting, grouped

Place = tuple[str, str, int | None]
"""Model, cache and block."""
Bare = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a decoder and some of its options."""


@dataclass(frozen=True)
class Known:
    """A parsed spec; specs of equal decoders are equal."""

    name: str
    """The decoder's name in a spec: the first part of its canonical spelling."""
    given: tuple[tuple[str, str], ...]
    """The options that differ from their defaults, as they are written."""
    numbers: frozenset[str]
    """The options that take numbers."""

    def without(self, option: str | None) -> Bare:
        """The decoder without one option."""
        return self.name, tuple((k, v) for k, v in self.given if k != option)

    @property
    def family(self) -> Bare:
        """Equal for settings that differ only in numbers."""
        return self.name, tuple((k, v) for k, v in self.given if k not in self.numbers)


@cache
def known(spec: str) -> Known:
    """The parsed spec; if the decoder cannot be made any more, as in an old run, only its text is used."""
    try:
        decoder = recorded(spec)
        name, given = specs.split("strategies", registry.spec_of(decoder))
        return Known(name, tuple(sorted(given.items())), numeric(decoder))
    except UsageError:
        name, given = specs.split("strategies", spec)
        numbers = frozenset(k for k, v in given.items() if number(v) is not None)
        return Known(name, tuple(sorted(given.items())), numbers)


def numeric(decoder: Decoder) -> frozenset[str]:
    cls: Any = type(decoder)
    return frozenset(name for name, o in options(cls).items() if {int, float} & set(o.types) and not o.choices)


def number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@cache
def known_cache(spec: str) -> str:
    try:
        return registry.spec_of(get_cache(spec))
    except UsageError:
        return spec


def key(s: Setting) -> Hashable:
    """A key that is the same for equal settings."""
    k = known(s.decoder)
    return s.model, k.name, k.given, known_cache(s.cache), s.block


def value_of(spec: str, option: str) -> float | int | str | None:
    """The value of a decoder's option, which may be its default; None if it is unknown."""
    try:
        found = getattr(recorded(spec), option, None)
    except UsageError:
        text = dict(known(spec).given).get(option)
        found = None if text is None else number(text) if number(text) is not None else text
    return found if isinstance(found, int | float | str) else None


def unified(rows: Iterable[Row]) -> list[Row]:
    """The rows with each setting in the first of its spellings, and on its curve."""
    own = grouped(rows, lambda r: r.setting)
    first: dict[Hashable, Setting] = {}
    for s in own:
        there = first.setdefault(key(s), s)
        if there.swept is None and s.swept is not None:
            first[key(s)] = replace(s, decoder=there.decoder)
    placed = joined(list(first.values()))
    names = {s: placed[first[key(s)]] for s in own}
    return [
        r if names[s] == s else replace(r, **{name: getattr(names[s], name) for name in NAMES})
        for s, part in own.items() for r in part
    ]


def unified_run(run: Run) -> Run:
    return replace(run, rows=unified(run.rows))


NAMES = ("decoder", "curve", "swept", "value", "cache", "block")


def joined(settings: list[Setting]) -> dict[Setting, Setting]:
    """The curve of every setting: that of a sweep to which it could belong, else one formed with settings of the same
    kind that differ from it in one and the same number, else one of its own."""
    out: dict[Setting, Setting] = {}
    curves: dict[tuple[Place, str, Bare], Setting] = {}
    for s in settings:
        if s.swept is not None:
            curve = curves.setdefault((place(s), s.swept, known(s.decoder).without(s.swept)), s)
            out[s] = replace(s, curve=curve.curve)
    alone = []
    for s in settings:
        if s.swept is None:
            k = known(s.decoder)
            found = next((c for at, c in curves.items() if at == (place(s), at[1], k.without(at[1]))), None)
            if found is None:
                alone.append(s)
            else:
                out[s] = on(s, found.curve, found.swept)
    for part in grouped(alone, lambda s: (place(s), known(s.decoder).family)).values():
        out |= sweep_of(part)
    return out


def place(s: Setting) -> Place:
    return s.model, known_cache(s.cache), s.block


def on(s: Setting, curve: str, swept: str | None) -> Setting:
    return replace(s, curve=curve, swept=swept, value=None if swept is None else value_of(s.decoder, swept))


def sweep_of(part: list[Setting]) -> dict[Setting, Setting]:
    """Settings that were given individually form a curve if they differ in one number; otherwise each is a curve of its
    own."""
    differing = {k for s in part for t in part for k, _ in set(known(s.decoder).given) ^ set(known(t.decoder).given)}
    if len(part) == 1 or len(differing) != 1:
        return {s: s for s in part}
    (swept,) = differing
    name, rest = known(part[0].decoder).without(swept)
    curve = specs.joined(name, dict(rest))
    return {s: on(s, curve, swept) for s in part}
