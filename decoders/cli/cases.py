"""What `decoders check` tests: the plug that a spec makes, with the laws of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from decoders.specs import load, named, names

if TYPE_CHECKING:
    from decoders.testing.measured import Measured

Laws = Sequence[Callable[[Any], None]]


@dataclass(frozen=True)
class Case:
    """A plug to check, and its laws."""

    kind: str
    spec: str
    plug: Any
    laws: Laws
    known: int
    """The number of laws for its kind."""
    method: str
    """The main method of such a plug; empty: the whole plug."""
    measure: Callable[[Any], Measured] | None = None
    """A measurement without a requirement."""


def of_strategy(spec: str, fast: bool) -> Case:
    from decoders.registry import get
    from decoders.testing.laws import FAST, LAWS

    return Case("strategy", spec, get(spec), FAST if fast else LAWS, len(LAWS), "step")


def of_cache(spec: str, fast: bool) -> Case:
    from decoders.registry import get_cache
    from decoders.testing.cache_laws import CACHE_FAST, CACHE_LAWS
    from decoders.testing.measured import measured

    laws = CACHE_FAST if fast else CACHE_LAWS
    return Case("cache", spec, get_cache(spec), laws, len(CACHE_LAWS), "stale", None if fast else measured)


def of_task(spec: str, fast: bool) -> Case:
    from decoders_bench.tasks import task_of
    from decoders_bench.tasks.laws import TASK_FAST, TASK_LAWS

    return Case("task", spec, task_of(spec)[0], TASK_FAST if fast else TASK_LAWS, len(TASK_LAWS), "grade")


def of_family(spec: str, fast: bool) -> Case:
    from decoders.models.recognition import get_family
    from decoders.testing.family_laws import FAMILY_FAST, FAMILY_LAWS
    from decoders.testing.tiny import Tiny

    laws = FAMILY_FAST if fast else FAMILY_LAWS
    return Case("family", spec, Tiny(get_family(spec)), laws, len(FAMILY_LAWS), "")


MAKERS = {"strategies": of_strategy, "caches": of_cache, "tasks": of_task, "families": of_family}


def chosen(specs: Sequence[str], told: Sequence[tuple[str, Sequence[str]]], fast: bool) -> Iterator[Case]:
    """The cases for specs of any kind, and for those whose kind is given. Raises `UsageError` for a spec that makes
    nothing."""
    found = [(kind_of(spec), spec) for spec in specs] + [(kind, spec) for kind, given in told for spec in given]
    for kind in MAKERS:
        for _, spec in (x for x in found if x[0] == kind):
            yield MAKERS[kind](spec, fast)


def kind_of(spec: str) -> str:
    """The kind of a spec: the first kind that has its name, or that of its class. An unknown name counts as a
    strategy."""
    known = {name: kind for kind in reversed(MAKERS) for name in names(kind)}
    name = named(spec.partition("/")[0], known)
    if ":" not in name:
        return known.get(name, "strategies")
    from decoders.core import Cache
    from decoders.models.families import Family
    from decoders_bench.tasks.base import Gradable

    found, classes = load("strategies", name), {"caches": Cache, "tasks": Gradable}
    if isinstance(found, Family):
        return "families"
    return next((k for k, c in classes.items() if isinstance(found, type) and issubclass(found, c)), "strategies")
