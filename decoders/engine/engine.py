"""Engine: requests join and leave between forwards, and a free slot is filled at once.

Rows of equal plans and like sizes share a canvas (`Group`); canvases take turns, so that each gets the same time. The
result of a request depends on its own prompt, plan and seed alone, whatever runs beside it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count

from decoders.core import Model, UsageError, candidates, positive, spec_for
from decoders.engine.group import Group, Kind, ran, width
from decoders.engine.request import CancelledError, DeadlineError, Request
from decoders.engine.sizes import SPARE, Footprint, budget_of, columns_for, most_rows, rows_for
from decoders.files import readable


class Engine:
    """Decodes requests on one model, `slots` at a time at most.

    `memory`: bytes that canvases, keys and values and logits may take in all; by default half of the free memory. A row
    is counted before it enters. `began` is called with the requests that start together, before their first forward. It
    belongs to one thread; other threads may only `cancel`.
    """

    def __init__(
        self, model: Model, slots: int = 8, memory: int | None = None,
        began: Callable[[list[Request]], None] | None = None,
    ) -> None:
        positive(slots=slots, memory=memory)
        self.model, self.slots, self.memory = model, slots, budget_of(model.device, memory)
        self.began = began
        self.waiting: dict[Kind, deque[Request]] = {}
        self.groups: list[Group] = []
        self.leaving: deque[Request] = deque()
        self.deadlines: list[tuple[float, int, Request]] = []
        self.number = count()
        self.forwards = 0
        self.occupied = 0
        """Rows that took part in a forward, summed over forwards,"""
        self.offered = 0
        """and the number of slots in those forwards."""

    @property
    def running(self) -> int:
        return sum(len(g.running) for g in self.groups)

    @property
    def queued(self) -> int:
        return sum(map(len, self.waiting.values()))

    @property
    def idle(self) -> bool:
        return not self.groups and not self.waiting

    def submit(self, r: Request) -> None:
        """Queue a request. Raises `UsageError` for one that can never be decoded here because it is too large."""
        kind = self.kind(r)
        need = self.bytes(kind)
        if need > self.memory:
            raise UsageError(
                f"a row of {kind.columns} columns takes {readable(need)}, and the memory budget is "
                f"{readable(self.memory)}; raise it, or ask for less"
            )
        self.waiting.setdefault(kind, deque()).append(r)
        if r.deadline is not None:
            heappush(self.deadlines, (r.deadline, next(self.number), r))

    def cancel(self, r: Request) -> None:
        """End a request before the next forward."""
        self.leaving.append(r)

    def kind(self, r: Request) -> Kind:
        pad = r.plan.decoder.padding if self.model.stop_ids else 0
        top = min(r.top_logprobs, self.model.vocab)
        marked = r.logprobs or top > 0
        return Kind(r.plan, r.infill, marked, top, columns_for(len(r.prompt) + max(r.length, 0) + pad))

    def bytes(self, kind: Kind) -> int:
        """Bytes of one row."""
        plan, blocks, columns = kind.plan, self.model.block_causal, kind.columns
        widest, beside = width(self.model, plan, columns), candidates(plan.decoder, blocks)
        return Footprint.of(self.model, spec_for(plan, blocks, 1, columns + 1, widest, beside)).bytes

    def run(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Submit requests, and yield each when it has ended."""
        for r in requests:
            self.submit(r)
        while not self.idle:
            yield from self.step()

    def step(self) -> list[Request]:
        """Admit requests, and run one forward of the canvas whose turn it is; returns the requests that ended. One that
        ended without a result has an `error`."""
        ended = [*self.left(), *self.admitted()]
        self.shrink()
        group = min((g for g in self.groups if g.running), key=lambda g: g.spent, default=None)
        if group is None:
            return ended
        self.forwards += 1
        self.occupied, self.offered = self.occupied + len(group.running), self.offered + group.rows
        try:
            done = group.step()
        except Exception as e:  # an error of a decoder or a model ends its own rows, and no others
            done = [self.failed(r, e) for r in group.running]
            self.groups.remove(group)
        for r in done:
            r.ended = True
        self.close()
        return [*ended, *done]

    def failed(self, r: Request, error: Exception) -> Request:
        r.error, r.ended = error, True
        return r

    def left(self) -> list[Request]:
        """The requests that were cancelled, or are too late."""
        now, gone = time.monotonic(), list[Request]()
        while self.leaving:
            r = self.leaving.popleft()
            if not r.ended:
                gone.append(self.failed(r, CancelledError("the request was cancelled")))
        while self.deadlines and self.deadlines[0][0] <= now:
            *_, r = heappop(self.deadlines)
            if not r.ended:
                late = DeadlineError(f"the request was not answered within {now - r.asked_at:.3g} s")
                gone.append(self.failed(r, late))
        if gone:
            for g in self.groups:
                g.drop([r for r in g.running if r.ended])
            for kind, queue in list(self.waiting.items()):
                self.keep(kind, deque(r for r in queue if not r.ended))
            self.close()
        return gone

    def keep(self, kind: Kind, queue: deque[Request]) -> None:
        """The waiting requests of a kind."""
        if queue:
            self.waiting[kind] = queue
        else:
            self.waiting.pop(kind, None)

    def close(self) -> None:
        """Remove canvases without a row and their memory, unless a row of their kind waits for a slot."""
        self.groups = [g for g in self.groups if g.running or g.kind in self.waiting]

    # --- admitting requests

    def admitted(self) -> list[Request]:
        """Fill slots from the queues, the longest waiting first; the requests that could not be laid out."""
        failed = list[Request]()
        if self.running >= self.slots:
            return failed
        for kind in sorted(self.waiting, key=lambda k: self.waiting[k][0].asked_at):
            fitting = sorted((g for g in self.groups if holds(g.kind, kind)), key=lambda g: g.kind.columns)
            for g in fitting:
                failed += self.fill(g, kind)
            for g in fitting:
                self.grow(g, kind)
                failed += self.fill(g, kind)
            more = True
            while more and kind in self.waiting:
                before = len(self.groups)
                failed += self.opened(kind)
                more = len(self.groups) > before
        return failed

    def fill(self, g: Group, kind: Kind) -> list[Request]:
        """Requests of a kind into the free slots of a canvas; those that could not be laid out."""
        chosen = self.next(kind, g.free)
        if not chosen:
            return []
        try:
            g.admit(chosen)
        except UsageError as e:
            return [self.failed(chosen[0], e)] if len(chosen) == 1 else self.alone(g, chosen)
        self.tell(chosen)
        return []

    def alone(self, g: Group, requests: list[Request]) -> list[Request]:
        """Admit requests one by one that cannot be laid out together; returns those that cannot be laid out at all."""
        failed = list[Request]()
        for r in requests:
            try:
                g.admit([r])
            except UsageError as e:
                failed.append(self.failed(r, e))
        self.tell([r for r in requests if not r.ended])
        return failed

    def next(self, kind: Kind, most: int) -> list[Request]:
        """The next of a kind, as many as slots and `most` allow."""
        queue = self.waiting.get(kind, deque())
        chosen = [queue.popleft() for _ in range(min(most, self.slots - self.running, len(queue)))]
        self.keep(kind, queue)
        return chosen

    def grow(self, g: Group, kind: Kind) -> None:
        """More slots for waiting requests, if there is room for them."""
        wanted = min(len(self.waiting.get(kind, ())), self.slots - self.running)
        if wanted < 1 or "movable" not in self.model.capabilities:
            return
        rows = min(rows_for(len(g.running) + wanted), self.most(g.kind), g.rows + self.room(g.kind))
        if rows > g.rows:
            g.resize(rows)

    def shrink(self) -> None:
        """No more slots than a canvas needs, if no request waits for them."""
        if "movable" not in self.model.capabilities:
            return
        for g in (g for g in self.groups if g.kind not in self.waiting):
            rows = rows_for(len(g.running))
            if rows < g.rows:
                g.resize(rows)

    def most(self, kind: Kind) -> int:
        """The largest number of rows of a kind in one canvas."""
        return most_rows(self.model.device, self.slots, ran(self.model, kind.plan, kind.columns))

    def room(self, kind: Kind) -> int:
        """The number of further rows of a kind that the memory budget allows."""
        return (self.memory - sum(g.rows * self.bytes(g.kind) for g in self.groups)) // self.bytes(kind)

    def opened(self, kind: Kind) -> list[Request]:
        """A new canvas for requests that no other has a place for, if there is room for one; those that could not be
        laid out."""
        most = min(self.slots - self.running, self.most(kind), self.room(kind))
        chosen = self.next(kind, most)
        if not chosen:
            return []
        rows = min(rows_for(len(chosen)), most)
        try:
            self.open(Group(self.model, kind, chosen, rows))
        except UsageError as e:
            if len(chosen) == 1:
                return [self.failed(chosen[0], e)]
            self.waiting[kind] = deque([*chosen[1:], *self.waiting.get(kind, ())])
            return [*self.only(kind, chosen[0]), *self.admitted()]
        return []

    def only(self, kind: Kind, r: Request) -> list[Request]:
        """A canvas of one row, to which others may be added; returns the request if that is impossible."""
        try:
            self.open(Group(self.model, kind, [r], 1))
        except UsageError as e:
            return [self.failed(r, e)]
        return []

    def open(self, g: Group) -> None:
        g.spent = min((x.spent for x in self.groups), default=0.0)
        self.groups.append(g)
        self.tell(g.running)

    def tell(self, requests: list[Request]) -> None:
        """Call `began` with the requests that start together."""
        if self.began and requests:
            self.began(requests)


def holds(there: Kind, asked: Kind) -> bool:
    """Whether rows of one kind can be put in canvases of another at a small cost: only their sizes differ, and not by
    much."""
    return replace(there, columns=asked.columns) == asked and asked.columns <= there.columns <= SPARE * asked.columns
