"""A host with its own loop: slots, rows that join and leave, several plans in one batch, one forward per step.

It shows in few lines how an inference server uses `prepare` and `apply`: each plan has a canvas over all slots, in
which only its own rows are live; the forwards of all plans are merged row by row, and every plan reads its rows of the
prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from decoders.core import (
    FILLED,
    Canvas,
    Forward,
    Model,
    Plan,
    Row,
    SessionSpec,
    Shape,
    apply,
    choose,
    layout,
    prepare,
    row_of,
)


@dataclass(frozen=True)
class Request:
    """A row to decode: `length` positions after a prompt, with its own plan."""

    prompt: tuple[int, ...]
    length: int
    plan: Plan
    key: int = 0
    infill: bool = False


def ranked(f: Forward) -> Forward:
    """The forward with a rank, which in the order of the text is the column, so that it can be merged with others."""
    column = torch.arange(f.tokens.shape[1], device=f.tokens.device)
    return f if f.rank is not None else replace(f, rank=column.expand_as(f.tokens))


class Engine:
    """Decodes requests on one session of `slots` rows and `columns` columns; no window may be wider than `width`,
    and no plan may ask about more than `candidates`."""

    def __init__(
        self, model: Model, slots: int, columns: int, width: int, causal: bool = True, attention: bool = False,
        sight: bool = True, leave_one_out: bool = True, candidates: int = 0,
    ) -> None:
        self.model, self.slots, self.columns, self.width = model, slots, columns, width
        self.shape = Shape.of(model)
        self.candidates = candidates
        self.forward = model.session(
            SessionSpec(
                slots, columns, width, causal, attention, sight=sight, leave_one_out=leave_one_out,
                candidates=candidates,
            )
        )
        self.canvases: dict[Plan, Canvas] = {}
        self.running: dict[int, tuple[int, Request]] = {}
        """Slot to the request in it and the number of that request."""
        self.forwards = 0

    def admit(self, slot: int, number: int, r: Request) -> None:
        """Put a request into a free slot of its plan's canvas. Raises `UsageError` if it does not fit."""
        row = layout(
            self.shape, r.plan.decoder, [r.prompt], length=r.length, keys=[r.key], windows=r.plan.windows,
            cache=r.plan.cache, infill=r.infill, columns=self.columns, width=self.width, candidates=self.candidates,
            device=self.model.device,
        )
        here = torch.arange(self.slots, device=self.model.device) == slot
        vacant = replace(row, reason=torch.full_like(row.reason, FILLED))
        self.canvases[r.plan] = choose(here, row, self.canvases.get(r.plan) or choose(~here, vacant, row))
        self.running[slot] = number, r

    @torch.inference_mode()
    def step(self) -> dict[int, Row]:
        """One forward for all slots; returns the requests that it finished, by number."""
        asked = {plan: ranked(prepare(plan, c)) for plan, c in self.canvases.items()}
        merged, *_ = asked.values()
        for plan, f in asked.items():
            merged = choose(self.canvases[plan].live, f, merged)
        p = self.forward(merged)
        self.forwards += 1
        for plan, f in asked.items():
            self.canvases[plan] = apply(plan, self.canvases[plan], f, p)
        done = {}
        for slot, (number, r) in list(self.running.items()):
            if not bool(self.canvases[r.plan].live[slot]):
                done[number] = row_of(self.canvases[r.plan], slot, r.plan.decoder)
                del self.running[slot]
        return done

    def run(self, requests: Sequence[Request]) -> list[Row]:
        """All requests, in their order; each joins as soon as a slot is free."""
        waiting, done = list(enumerate(requests)), dict[int, Row]()
        while waiting or self.running:
            for slot in range(self.slots):
                if waiting and slot not in self.running:
                    self.admit(slot, *waiting.pop(0))
            done |= self.step()
        return [done[i] for i in range(len(requests))]
