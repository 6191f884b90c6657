"""Group: rows of one plan in one canvas, whose slots are reused for further requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from decoders.core import (
    EXHAUSTED,
    FILLED,
    LIVE,
    STOPPED,
    Canvas,
    Model,
    Movable,
    Plan,
    Shape,
    apply,
    commit_steps,
    forgets,
    generated,
    layout,
    mapped,
    prepare,
    row_of,
    session_spec,
)
from decoders.engine.marks import Marks
from decoders.engine.request import Draft, Request, Result

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """The properties that rows in one canvas share."""

    plan: Plan
    infill: bool
    logprobs: bool
    top: int
    columns: int
    """The bin not counted."""


class Group:
    """A canvas of some slots and the session that runs its forwards, made for the first requests. Slots can be added,
    and empty ones removed, if the model's sessions are `movable`.

    Raises `UsageError` for requests that cannot be laid out."""

    def __init__(self, model: Model, kind: Kind, requests: Sequence[Request], rows: int) -> None:
        self.model, self.kind = model, kind
        new, device = self.laid(requests), model.device
        self.canvas = moved(new, torch.arange(rows, device=device) % len(requests), len(requests))
        self.session = model.session(session_spec(kind.plan, self.canvas))
        self.marks = Marks.blank(self.canvas, kind.top) if kind.logprobs else None
        self.slots: list[Request | None] = [None] * rows
        self.drafts: dict[int, Draft] = {}
        self.spent = 0.0
        """Seconds of its forwards, by which the engine gives every canvas equal time."""
        self.seat(requests, range(len(requests)))

    @property
    def rows(self) -> int:
        return len(self.slots)

    @property
    def free(self) -> int:
        return self.slots.count(None)

    @property
    def running(self) -> list[Request]:
        return [r for r in self.slots if r is not None]

    def laid(self, requests: Sequence[Request]) -> Canvas:
        """A canvas of these requests alone. Raises `UsageError`."""
        plan = self.kind.plan
        return layout(
            Shape.of(self.model), plan.decoder, [r.prompt for r in requests], length=[r.length for r in requests],
            keys=[r.key for r in requests], windows=plan.windows, cache=plan.cache, infill=self.kind.infill,
            columns=self.kind.columns + 1, width=width(self.model, plan, self.kind.columns), device=self.model.device,
        )

    @torch.inference_mode()
    def admit(self, requests: Sequence[Request]) -> None:
        """Lay requests out in free slots. Raises `UsageError` if that is impossible; then nothing has changed."""
        new = self.laid(requests)
        places = [i for i, r in enumerate(self.slots) if r is None][: len(requests)]
        at = torch.tensor(places, device=self.model.device)
        self.canvas = placed(self.canvas, at, new)
        if self.marks:
            self.marks = placed(self.marks, at, Marks.blank(new, self.kind.top))
        self.seat(requests, places)

    def seat(self, requests: Sequence[Request], places: Sequence[int]) -> None:
        """Give each of the requests its slot."""
        now = time.monotonic()
        for place, r in zip(places, requests, strict=True):
            self.slots[place], r.began_at = r, now
            self.drafts.pop(place, None)

    @torch.inference_mode()
    def resize(self, rows: int) -> None:
        """Change the number of slots; those in use come first."""
        taken = [i for i, r in enumerate(self.slots) if r is not None]
        order = torch.tensor([*taken, *[0] * (rows - len(taken))], device=self.model.device)
        self.canvas = moved(self.canvas, order, len(taken))
        if self.marks:
            self.marks = picked(self.marks, order)
        if isinstance(self.session, Movable):
            self.session.take(order)
        self.drafts = {new: self.drafts[old] for new, old in enumerate(taken) if old in self.drafts}
        self.slots = [*self.running, *[None] * (rows - len(taken))]

    @torch.inference_mode()
    def step(self) -> list[Request]:
        """One forward of all rows; the requests that ended in it."""
        before, began = self.canvas, time.perf_counter()
        f = prepare(self.kind.plan, before)
        p = self.session(f)
        for slot, r in enumerate(self.slots):
            if r and r.see:
                r.see(slot, f, p)
        self.canvas = apply(self.kind.plan, before, f, p)
        if self.marks:
            self.marks = self.marks.after(self.kind.plan, before, f, p, self.canvas)
        ended = self.looked_at()
        self.spent += time.perf_counter() - began
        return ended

    def looked_at(self) -> list[Request]:
        """The requests that have ended, or whose `halt` is true: the only synchronisation with the device in a step."""
        found, clocks = torch.stack([self.canvas.reason, self.canvas.clock]).tolist()
        seen = zip(self.slots, found, clocks, strict=True)
        reasons = [self.reason(slot, *x) for slot, x in enumerate(seen)]
        self.give_up(reasons, found)
        return [self.finished(slot, r) for slot, r in enumerate(self.slots) if r and reasons[slot] != LIVE]

    def reason(self, slot: int, r: Request | None, found: int, clock: int) -> int:
        """The reason why a row has ended, by itself or by its `halt`; a listener gets its draft."""
        if r is None:
            return FILLED
        if r.halt or r.hear:
            tokens, settled = generated(self.canvas, slot, self.kind.plan.decoder.revises)
            if r.hear:
                self.tell(slot, r, Draft(tuple(tokens), settled, clock))
            if r.halt and r.halt(slot, [t for t in tokens[:settled] if t is not None]) and found == LIVE:
                return STOPPED
        over = r.max_steps is not None and clock >= r.max_steps
        return EXHAUSTED if over and found == LIVE else found

    def tell(self, slot: int, r: Request, draft: Draft) -> None:
        """The draft, if it differs from the last one."""
        last = self.drafts.get(slot)
        if r.hear and (last is None or (last.tokens, last.settled) != (draft.tokens, draft.settled)):
            r.hear(draft)
        self.drafts[slot] = draft

    def give_up(self, reasons: list[int], found: list[int]) -> None:
        """Rows that have ended as `reasons` say, where they were `found` otherwise."""
        if any(was == LIVE != now for was, now in zip(found, reasons, strict=True)):
            self.canvas = replace(self.canvas, reason=torch.tensor(reasons, device=self.canvas.reason.device))

    def finished(self, slot: int, r: Request) -> Request:
        """The request with its result; its slot is free."""
        c, now = self.canvas, time.monotonic()
        row = row_of(c, slot, self.kind.plan.decoder)
        began, tokens = now if r.began_at is None else r.began_at, len(row.tokens)
        r.result = Result(row, commit_steps(c, slot, tokens), began - r.asked_at, now - began)
        if self.marks:
            said, top = self.marks.of(slot, c.editable[slot] & ~c.open[slot])
            r.result = replace(
                r.result, logprobs=said[:tokens], revised=int(self.marks.revised[slot]),
                top_logprobs=top[:tokens] if self.kind.top else None,
            )
        self.slots[slot] = None
        if r.finished:
            r.answer = r.finished(c, slot, r.result)
        return r

    def drop(self, gone: Sequence[Request]) -> None:
        """Free the slots of requests that are not to go on."""
        found = self.canvas.reason.tolist()
        leaving = [r is not None and r in gone for r in self.slots]
        self.give_up([FILLED if x else old for x, old in zip(leaving, found, strict=True)], found)
        self.slots = [None if x else r for x, r in zip(leaving, self.slots, strict=True)]


def width(model: Model, plan: Plan, columns: int) -> int:
    """The largest window that rows of so many columns can have under a plan."""
    return min(plan.decoder.windows(plan.windows, model.block_causal).size, columns)


def ran(model: Model, plan: Plan, columns: int) -> int:
    """The number of columns that a row runs in most of its forwards."""
    return columns if forgets(plan, model.block_causal) else width(model, plan, columns)


def placed(tree: T, at: Tensor, rows: T) -> T:
    """A structure of tensors with leading dimension B, with other rows at the places `at (R,)`."""
    return mapped(lambda old, new: old.index_copy(0, at, new), tree, rows)


def picked(tree: T, rows: Tensor) -> T:
    """The rows (R,) of a structure of tensors with leading dimension B."""
    return mapped(lambda x: x.index_select(0, rows), tree)


def moved(c: Canvas, rows: Tensor, kept: int) -> Canvas:
    """The canvas of these rows (R,), of which only the first `kept` continue."""
    c = picked(c, rows)
    return replace(c, reason=torch.where(torch.arange(len(rows), device=rows.device) < kept, c.reason, FILLED))
