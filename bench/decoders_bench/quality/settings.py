"""Which settings are one: equal ones that are written differently, and those of one decoder that differ in one number
alone, which are a curve."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from decoders import Decoder, UsageError, get, get_cache, registry, specs
from decoders.core import options
from decoders_bench.quality.rows import Row, Run, Setting, grouped

Place = tuple[str, str, int | None]
"""Model, cache and block."""
Bare = tuple[str, tuple[tuple[str, str], ...]]
"""A decoder's name and some of its options."""


@dataclass(frozen=True)
class Known:
    """A spec as it is read: equal for equal decoders."""

    name: str
    """As a spec names the decoder: the head of its canonical spelling."""
    given: tuple[tuple[str, str], ...]
    """The options that differ from their defaults, as written."""
    numbers: frozenset[str]
    """Options that take numbers."""

    def without(self, option: str | None) -> Bare:
        """What is left of it when an option is not looked at."""
        return self.name, tuple((k, v) for k, v in self.given if k != option)

    @property
    def family(self) -> Bare:
        """The same for settings that differ in numbers alone."""
        return self.name, tuple((k, v) for k, v in self.given if k not in self.numbers)


@cache
def known(spec: str) -> Known:
    """A decoder that cannot be made any more, as an old run may have it, is known by what is written alone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an older spelling is no news of the report
            decoder = get(spec)
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
    """The same for equal settings."""
    k = known(s.decoder)
    return s.model, k.name, k.given, known_cache(s.cache), s.block


def value_of(spec: str, option: str) -> float | int | str | None:
    """What an option of a decoder is, its default included; None where that is not known."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = getattr(get(spec), option, None)
    except UsageError:
        text = dict(known(spec).given).get(option)
        found = None if text is None else number(text) if number(text) is not None else text
    return found if isinstance(found, int | float | str) else None


def unified(rows: Iterable[Row]) -> list[Row]:
    """The rows with one spelling for each setting, the first, and each on the curve that it belongs to."""
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
    """Every setting with the curve that it is on: that of a sweep that it could be a point of, else one of its own
    kind that differ from it in one and the same number, else its own."""
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
    """Settings that were given one by one: a curve if they differ in one number, else each its own."""
    differing = {k for s in part for t in part for k, _ in set(known(s.decoder).given) ^ set(known(t.decoder).given)}
    if len(part) == 1 or len(differing) != 1:
        return {s: s for s in part}
    (swept,) = differing
    name, rest = known(part[0].decoder).without(swept)
    curve = specs.joined(name, dict(rest))
    return {s: on(s, curve, swept) for s in part}
