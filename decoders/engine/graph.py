"""The loop as captured graphs: forward, statistics, step and the next query in one launch, on static buffers.

A graph has fixed shapes, so everything that varies is bucketed. Rows are padded to a power of two and columns to a
multiple; a forward runs one of a few numbers of columns and reads one of a few numbers of logit rows, and there is a
graph for each pair that occurs. The next bucket depends on the queries of the rows, which only the device knows. So the
host reads the needs once every `poll` steps, between two steps, and picks the smallest bucket that fits all rows then.
If a row needs more before the next poll, it waits: its part of the step is discarded and the row is unchanged,
including its count of forwards and its random numbers. With `poll=1` no row ever waits.

The order within a step is rotated: a graph begins with the forward of the last query, and ends with the next query. So
the host knows after a step what the next one needs.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from decoders.core import (
    Blocks,
    Canvas,
    Fixed,
    Forward,
    Model,
    Plan,
    Pred,
    SessionSpec,
    apply,
    choose,
    prepare,
    ruled,
    session_spec,
)
from decoders.engine.backends import Backend, CannotCapture, CudaGraphs
from decoders.engine.buffers import assign, owned
from decoders.engine.fused import Books, Decided, Fused, carried, shown
from decoders.stats.constants import everywhere, made_once

Bucket = tuple[int, int]
"""Columns and logit rows of a forward."""


@dataclass(frozen=True)
class Report:
    """The statistics of a `Graph`."""

    captures: int
    graphs: int
    """Captured graphs that are still kept."""
    replays: int
    bytes: int
    """Memory of the pool that the graphs share, without the buffers and the store of keys and values."""
    limit: int | None
    waits: int
    """Steps that rows sat out because they needed a larger forward than was run."""
    resets: int
    """How often all graphs were dropped because the pool had grown beyond its limit."""
    eager: dict[str, int]
    """The reasons why runs were not captured, with their numbers."""


def thinned(sizes: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Of ascending sizes the last one, then always the next that is at most half as large, down to the first that is at
    most `least`: each forward costs at most about twice what it needs, and there are few shapes."""
    kept = [sizes[-1]]
    for size in reversed(sizes):
        if kept[-1] > least and 2 * size <= kept[-1]:
            kept.append(size)
    return tuple(reversed(kept))


def bucket_of(size: int, buckets: tuple[int, ...]) -> int:
    return buckets[min(bisect_left(buckets, size), len(buckets) - 1)]


def changeable(rule: Any) -> bool:
    """Whether a rule has its own tensors, which would differ in another call."""
    return is_dataclass(rule) and any(isinstance(getattr(rule, f.name), Tensor) for f in fields(rule))


class Room:
    """The buffers of one plan in one shape, and the graphs that work on them."""

    def __init__(self, plan: Plan, session: Fixed, c: Canvas, spec: SessionSpec, fuse: bool = False) -> None:
        """`fuse`: compile the part of a step after the decision."""
        self.plan, self.session = plan, session
        columns, rows = session.buckets
        self.columns, self.rows = thinned(columns, spec.width), thinned(rows, max(spec.width // 4, 1))
        self.buffers = owned(c)
        self.forward: Forward = owned(prepare(plan, self.canvas))
        self.needs = session.needs(self.forward).clone()
        self.news = self.told(self.canvas, self.needs)
        self.waits = torch.zeros((), dtype=torch.long, device=self.news.device)
        self.fused = Fused(partial(carried, plan, session, self.told)) if fuse else None
        self.shown = owned(shown(self.canvas)) if fuse else {}

    @property
    def kept(self) -> Books:
        """Everything that is carried from step to step."""
        return Books(self.buffers, self.forward, self.shown, self.needs, self.news, self.waits)

    @property
    def canvas(self) -> Canvas:
        """The canvas in the buffers; its cached values hold until the buffers are written to."""
        return replace(self.buffers, store=replace(self.buffers.store))

    def load(self, c: Canvas) -> None:
        """Continue from another canvas."""
        assign(self.buffers, c)
        f = prepare(self.plan, self.canvas)
        needs = self.session.needs(f)
        assign((self.forward, self.needs, self.news), (f, needs, self.told(c, needs)))
        if self.fused:
            assign(self.shown, shown(self.canvas))

    @staticmethod
    def told(c: Canvas, needs: Tensor) -> Tensor:
        """(3,) long, all that the host reads: the number of live rows, and the most columns and logit rows that one of
        them needs."""
        return torch.cat([c.live.sum()[None], torch.where(c.live[:, None], needs, 0).amax(0)])

    def bucket(self, columns: int, rows: int) -> Bucket:
        return bucket_of(columns, self.columns), bucket_of(rows, self.rows)

    def step(self, bucket: Bucket) -> None:
        """One step of all rows that fit into the bucket, on the buffers."""
        c, f = self.canvas, self.forward
        whole = bucket == (self.columns[-1], self.rows[-1])
        fits = c.live if whole else ((self.needs[:, 0] <= bucket[0]) & (self.needs[:, 1] <= bucket[1])) | ~c.live
        if not whole:
            here = fits[:, None]
            f = replace(f, compute=f.compute & here, outdated=f.outdated & here, want=f.want & here)
        p = self.session.fixed(f, *bucket)
        if self.fused:
            assign(*self.compiled(self.fused, c, f, p, everywhere(True, c.reason, torch.bool) if whole else fits))
            return
        after = apply(self.plan, c, f, p)
        waits = self.waits
        if not whole:
            after = choose(fits, after, c)
            waits = waits + (~fits).sum()
        g = settled(prepare(self.plan, after), self.forward)
        needs = self.session.needs(g)
        assign(
            (self.buffers, self.forward, self.needs, self.news, self.waits),
            (after, g, needs, self.told(after, needs), waits),
        )


    def compiled(
        self, fused: Fused, c: Canvas, f: Forward, p: Pred, fits: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The step after its forward, with as few operations as there can be."""
        before = c.showing(**self.shown)
        p = ruled(self.plan, before, f, p)
        after = self.plan.decoder.step(before, p)
        assert p.cost
        made = Decided(c, before, f, after, p.undefined(), p.cost, fits, self.waits)
        return fused(made, self.kept)


def settled(f: Forward, before: Forward) -> Forward:
    """The forward, with fields that are the same in every forward, such as `causal`, taken from the buffers."""
    own = {x.name: getattr(f, x.name) for x in fields(f)}
    same = {name: getattr(before, name) for name, x in own.items() if isinstance(x, Tensor) and made_once(x)}
    return replace(f, **same)


class Captured:
    """A run (`decoders.core.Run`) of the graphs of a room."""

    def __init__(self, graph: Graph, key: Any, room: Room) -> None:
        self.graph, self.key, self.room = graph, key, room
        self.live()

    @property
    def canvas(self) -> Canvas:
        return self.room.canvas

    def step(self) -> None:
        self.graph.replay(self.key, self.room, self.bucket)

    def live(self) -> bool:
        live, columns, rows = self.room.news.tolist()
        self.bucket = self.room.bucket(columns, rows)
        return bool(live)

    def put(self, c: Canvas) -> None:
        self.room.load(c)


class Graph:
    """A runner for `decode(..., runner=Graph())`: captures each shape of step once and replays it. Keep one over many
    calls; it decodes one batch at a time.

    `columns`: canvases are padded to a multiple of this. `rooms`: how many shapes of a (model, plan) keep their
    buffers, and their store of keys and values if no other shares it; the least recently used is dropped first.
    `graphs`: likewise the largest number of graphs. `memory`: bytes that the pool of the graphs may take; beyond it all
    are dropped and captured again when they are needed, and a step that is too large by itself is run eagerly. By
    default a quarter of the device's memory. `backend`: the backend; by default CUDA graphs.

    `fuse`: compile the part of a step after its decision, which takes about ten seconds for every plan and shape.

    If capture is impossible (no CUDA, a model or cache that synchronises with the host, rules that belong to one call),
    steps are run eagerly, after one warning for each reason.
    """

    def __init__(
        self, *, backend: Backend | None = None, columns: int = 64, rooms: int = 4, graphs: int = 32,
        memory: int | None = None, fuse: bool = False,
    ) -> None:
        self.fuse = fuse
        self.backend, self.columns, self.most_rooms, self.most_graphs, self.memory = (
            backend,
            columns,
            rooms,
            graphs,
            memory,
        )
        self.rooms: OrderedDict[Any, Room] = OrderedDict()
        self.graphs: OrderedDict[tuple[Any, Bucket], Callable[[], None]] = OrderedDict()
        self.refused: dict[Any, str] = {}
        self.eager: dict[str, int] = {}
        self.captures = self.replays = self.resets = self.waited = 0

    def report(self) -> Report:
        waits = self.waited + sum(int(room.waits) for room in self.rooms.values())
        used = self.backend.bytes if self.backend else 0
        return Report(
            self.captures, len(self.graphs), self.replays, used, self.memory, waits, self.resets, dict(self.eager)
        )

    def start(self, model: Model, plan: Plan, lay: Callable[..., Canvas]) -> Captured | None:
        """A run of captured steps; None, after a warning, if capture is impossible."""
        try:
            return self.captured(model, plan, lay)
        except CannotCapture as e:
            self.refuse(str(e))
            return None

    def refuse(self, why: str) -> None:
        if why not in self.eager:
            warnings.warn(f"no graph, steps are run one operation at a time: {why}", RuntimeWarning, stacklevel=2)
        self.eager[why] = self.eager.get(why, 0) + 1

    def captured(self, model: Model, plan: Plan, lay: Callable[..., Canvas]) -> Captured:
        self.ready(model.device)
        if any(changeable(rule) for rule in plan.rules):
            raise CannotCapture("a rule holds tensors that belong to one call")
        B, L = lay().tokens.shape
        rows, columns = 1 << (B - 1).bit_length(), -(-(L - 1) // self.columns) * self.columns + 1
        if isinstance(plan.windows, Blocks) and plan.windows.size >= L - 1 and not model.block_causal:
            plan = replace(plan, windows=Blocks(columns - 1))  # one window over the row, however long that is
        c = lay(rows, columns, plan.windows)
        spec = session_spec(plan, c)
        key = model, plan, spec, self.fuse
        if key in self.refused:
            raise CannotCapture(self.refused[key])
        if key in self.rooms:
            self.rooms.move_to_end(key)
            self.rooms[key].load(c)
        else:
            self.rooms[key] = Room(plan, self.session(model, spec), c, spec, self.fuse)
            while len(self.rooms) > self.most_rooms:
                self.leave(next(iter(self.rooms)))
        run = Captured(self, key, self.rooms[key])
        try:
            # the first one, so that what cannot be captured is known before anything is decoded
            self.graph(key, run.room, run.bucket)
        except CannotCapture as e:
            self.refused[key] = str(e)
            self.leave(key)
            raise
        return run

    def ready(self, device: torch.device) -> None:
        """Raises `CannotCapture` if nothing can be captured."""
        if self.backend is None:
            if device.type != "cuda":
                raise CannotCapture(f"the model is on {device.type}, and CUDA graphs are for CUDA")
            self.backend = CudaGraphs(device)
        if self.memory is None and isinstance(self.backend, CudaGraphs):
            self.memory = torch.cuda.get_device_properties(device).total_memory // 4

    def session(self, model: Model, spec: SessionSpec) -> Fixed:
        """A session for a room; rooms of one model that need the same share one."""
        for (other, _, same, _), room in self.rooms.items():
            if other is model and same == spec:
                return room.session
        session = model.session(spec)
        if not isinstance(session, Fixed):
            raise CannotCapture(f"{type(model).__name__} has no forward of fixed shape for this")
        return session

    def leave(self, key: Any) -> None:
        """Drop a room and its graphs."""
        self.waited += int(self.rooms.pop(key).waits)
        for known in [k for k in self.graphs if k[0] == key]:
            del self.graphs[known]

    def graph(self, key: Any, room: Room, bucket: Bucket) -> Callable[[], None]:
        """The graph of a bucket, captured if there is none."""
        name = key, bucket
        if name not in self.graphs:
            assert self.backend is not None
            before = owned(room.kept)

            def restore() -> None:
                assign(room.kept, before)

            made = self.backend.capture(lambda: room.step(bucket), restore)
            self.captures += 1
            if self.memory is not None and self.backend.bytes > self.memory:
                self.graphs.clear()
                self.backend.reset()
                self.resets += 1
                made = self.backend.capture(lambda: room.step(bucket), restore)
                self.captures += 1
                if self.backend.bytes > self.memory:
                    taken = self.backend.bytes
                    self.backend.reset()
                    raise CannotCapture(
                        f"a step takes {taken} bytes of graph memory, more than the limit of {self.memory}"
                    )
            self.graphs[name] = made
            while len(self.graphs) > self.most_graphs:
                self.graphs.popitem(last=False)
        self.graphs.move_to_end(name)
        return self.graphs[name]

    def replay(self, key: Any, room: Room, bucket: Bucket) -> None:
        try:
            run = self.graph(key, room, bucket)
        except CannotCapture as e:  # in the middle of a run: the same step on the same buffers, launched from the host
            self.refuse(str(e))
            self.graphs[key, bucket] = run = lambda: room.step(bucket)
        run()
        self.replays += 1
