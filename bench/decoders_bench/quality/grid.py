"""The grid of a run: decoders along a sweep, with caches, on tasks in several wordings, with several seeds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from decoders import Decoder, UsageError, get, get_cache, registry, specs
from decoders.core import options
from decoders_bench.quality.rows import Cell
from decoders_bench.quality.settings import known, known_cache
from decoders_bench.tasks import Gradable, Split, task_of
from decoders_bench.tasks.files import FileTask


@dataclass(frozen=True)
class Place:
    """One rung of a task, and the spec that makes the task."""

    spec: str
    rung: str
    task: Gradable

    @property
    def name(self) -> str:
        return f"{self.task.name}/{self.rung}"


@dataclass(frozen=True)
class Grid:
    """Everything that determines the rows of a run; an interrupted run can only be continued with the same grid."""

    model: str
    decoders: tuple[str, ...]
    caches: tuple[str, ...]
    """None: each decoder's own cache, which is `exact` unless the decoder is a preset."""
    tasks: tuple[str, ...]
    blocks: tuple[int | None, ...]
    templates: tuple[int, ...] | None
    """None: all wordings of a task."""
    seeds: tuple[int, ...]
    items: int
    split: Split
    sweeps: Mapping[str, tuple[str, ...]]
    """Options and their values, as a spec writes them."""
    length: int | None = None
    """The length of the canvas in positions; None: that of the task."""

    def places(self) -> list[Place]:
        """The rungs of the tasks. Raises `UsageError` for an unknown task or rung, and if two rungs would have the same
        name."""
        out = []
        for spec in self.tasks:
            task, rungs = task_of(spec)
            out += [Place(spec, rung, task) for rung in rungs]
        names = [p.name for p in out]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"the task {name} stands twice among the tasks")
        return out

    def points(self) -> list[tuple[str, str, str | None, Any, str]]:
        """(decoder, curve, swept, value, cache) of every point. Raises `UsageError` for an unknown decoder or cache,
        and for a point that would be measured twice."""
        out = []
        for curve in self.decoders:
            for decoder, swept, value in self.swept(curve):
                get(decoder)
                for cache in self.caches or (registry.unfolded(decoder)[1] or "exact",):
                    get_cache(cache)
                    out.append((decoder, curve, swept, value, cache))
        seen = Counter((known(decoder), known_cache(cache)) for decoder, _, _, _, cache in out)
        for decoder, _, _, _, cache in reversed(out):
            if seen[known(decoder), known_cache(cache)] > 1:
                raise UsageError(f"{decoder} with the cache {cache} would be measured twice; leave one out")
        return out

    def swept(self, curve: str) -> Iterator[tuple[str, str | None, Any]]:
        """The decoder with every value of its one swept option: the first of `sweeps`, in their order, that the decoder
        has and that its spec does not set. If there is no such option, the decoder as it is."""
        cls: Any = type(get(curve))
        name, written = specs.split("strategies", curve)
        swept = next((o for o in self.sweeps if o in options(cls) and o not in written), None)
        if swept is None:
            yield curve, None, None
            return
        for text in self.sweeps[swept]:
            decoder = specs.joined(name, {**written, swept: text})
            value = getattr(get(decoder), swept)
            yield decoder, swept, value if isinstance(value, int | float | str) or value is None else text

    def cells(self) -> list[tuple[Cell, Place]]:
        """All cells. Raises `UsageError` for an inconsistent grid."""
        places, points = self.places(), self.points()
        out = []
        for place in places:
            wordings = [t for t in range(place.task.templates) if self.templates is None or t in self.templates]
            if not wordings:
                raise UsageError(
                    f"task {place.task.name} has the templates 0 to {place.task.templates - 1}, and none of those "
                    "asked for"
                )
            for decoder, curve, swept, value, cache in points:
                for block in self.blocks:
                    for template in wordings:
                        for seed in self.seeds:
                            cell = Cell(
                                self.model, decoder, curve, swept, value, cache, block, place.task.name, place.rung,
                                template, seed
                            )
                            out.append((cell, place))
        return out

    def record(self) -> dict[str, Any]:
        """The part of run.json that describes the grid, including the content of files; it has to be equal for a run to
        be continued."""
        places = self.places()
        most = max(p.task.templates for p in places)
        return {
            "model": self.model,
            "decoders": list(self.decoders),
            "caches": list(dict.fromkeys(cache for *_, cache in self.points())),
            "tasks": [p.name for p in places],
            "templates": list(range(most) if self.templates is None else self.templates),
            "seeds": list(self.seeds),
            "items": self.items,
            "split": self.split,
            "blocks": list(self.blocks),
            "sweeps": {k: list(v) for k, v in self.sweeps.items()},
            "length": self.length,
            "files": {
                p.task.name: hashlib.sha256(p.task.path.read_bytes()).hexdigest()
                for p in places
                if isinstance(p.task, FileTask)
            },
        }

    def canvas(self, place: Place) -> int:
        return self.length or place.task.length[place.rung]


def budgeted(decoder: Decoder, length: int) -> Decoder:
    """The decoder with its budget of forward passes for the row limited to the canvas length: further passes would
    commit nothing."""
    cls: Any = type(decoder)
    steps = getattr(decoder, "steps", None)
    if not steps or "steps" not in options(cls):
        return decoder
    return replace(decoder, steps=min(steps, length))  # type: ignore[call-arg]
