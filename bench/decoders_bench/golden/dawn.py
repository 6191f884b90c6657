"""Replay of DAWN, whose code reads more than a decoder of ours does, and leaves out less than its paper says.

Its anchors are what is predicted with at least 0.9 at any column left of the block's end, prompt tokens too; a model
that tells that is put in place of ours. It has no other set of what is left out than the one of its own slip.
Everything else is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from decoders import Pred, State
from decoders.core import Forward, Session, SessionSpec
from decoders.models.adapter import TransformersModel
from decoders.strategies.dawn import DAWN
from decoders_bench.golden.cases import Case
from decoders_bench.golden.models import Models
from decoders_bench.golden.trajectory import Setup, free, job_of

OPTIONS = ("tau_sink", "tau_edge", "tau_low", "tau_induce")


@dataclass(eq=False)
class Seen:
    """What the last forward predicts at every column: the probability of the likeliest token, and whether a mask stands
    there."""

    sure: Tensor = field(default_factory=lambda: torch.zeros(1, 1))  # (B, L)
    blank: Tensor = field(default_factory=lambda: torch.zeros(1, 1).bool())  # (B, L)


class Telling(TransformersModel):
    """Tells what it predicts at all columns."""

    def __init__(self, m: TransformersModel, seen: Seen) -> None:
        super().__init__(m.model, mask_id=m.mask_id)
        self.seen = seen

    def session(self, spec: SessionSpec) -> Session:
        inner = super().session(spec)

        def forward(f: Forward) -> Pred:
            tokens = f.tokens[:, :-1]
            column = torch.arange(tokens.shape[1])
            states, _ = self.states(tokens, column.expand_as(tokens), (column < f.until[:, :-1, None]))
            best = self.head(states).double().softmax(-1).amax(-1)
            self.seen.sure = torch.nn.functional.pad(best, (0, 1))
            self.seen.blank = torch.eq(f.tokens, self.mask_id or 0)
            return inner(f)

        return forward


@dataclass(frozen=True)
class AsCoded(DAWN):
    """With the anchors of `get_transfer_index_dawn`, and what it leaves out."""

    seen: Seen = field(default_factory=Seen)

    def anchors(self, s: State, confidence: Tensor, columns: int) -> Tensor:
        end = s.position[:, :1] + s.size[:, None]
        return (torch.arange(columns) < end) & ~self.seen.blank & (self.seen.sure >= self.tau)

    def excluded(self, depends: Tensor, sure: Tensor, induced: Tensor) -> Tensor:
        return (depends & (sure & induced)[:, None]).any(-1)


def dawn(case: Case, models: Models) -> str:
    """Attention is averaged over all layers, as it was for the data. Raises `MismatchError`."""
    q, seen = case.params, Seen()
    given = {name: q[name] for name in OPTIONS if name in q}
    decoder = AsCoded(**{"tau_sink": 0.01, **given}, sink_times=0.0, depth=0.0, seen=seen)
    model = Telling(models.get(case.need("model"), case.mask_id), seen)
    job = job_of(case, models, Setup(decoder, Pred.best, q["block_length"]))
    free(replace(job, model=model))
    return "with the code's anchors, prompt tokens by what is predicted there, and what it leaves out"
