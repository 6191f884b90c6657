"""Trace: every forward of a run and its prediction, so that a run can be replayed without the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from decoders.core.canvas import Canvas
from decoders.core.model import Forward
from decoders.core.plan import Plan
from decoders.core.pred import Pred
from decoders.core.step import apply, prepare


@dataclass
class Trace:
    """An observer for `decode(watch=trace)`: keeps the forwards, the predictions and the canvases after them."""

    forwards: list[Forward] = field(default_factory=list)
    preds: list[Pred] = field(default_factory=list)
    canvases: list[Canvas] = field(default_factory=list)

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        self.forwards.append(f)
        self.preds.append(p)
        self.canvases.append(c)


def replay(plan: Plan, c: Canvas, preds: list[Pred]) -> Canvas:
    """The canvas after the predictions of a trace, from its first canvas; no model runs."""
    for p in preds:
        c = apply(plan, c, prepare(plan, c), p)
    return c
