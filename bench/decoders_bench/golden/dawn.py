"""Replay of DAWN, whose code uses more predictions than a decoder here receives, and excludes fewer positions than its
paper says.

The code's anchors are all columns left of the block's end, prompt tokens included, that are predicted with a
probability of at least 0.9; the replay uses a model that reports these predictions. The code's set of excluded
positions, which results from an error, is reproduced, too. Everything else is this library's DAWN.
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
    """The predictions of the last forward pass at every column: the probability of the most likely token, and whether
    the column contains a mask token."""

    sure: Tensor = field(default_factory=lambda: torch.zeros(1, 1))  # (B, L)
    blank: Tensor = field(default_factory=lambda: torch.zeros(1, 1).bool())  # (B, L)


class Telling(TransformersModel):
    """A model that reports its predictions at all columns."""

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
    """DAWN with the anchors of `get_transfer_index_dawn`, and with its excluded positions."""

    seen: Seen = field(default_factory=Seen)

    def anchors(self, s: State, confidence: Tensor, columns: int) -> Tensor:
        end = s.position[:, :1] + s.size[:, None]
        return (torch.arange(columns) < end) & ~self.seen.blank & (self.seen.sure >= self.tau)

    def excluded(self, depends: Tensor, sure: Tensor, induced: Tensor) -> Tensor:
        return (depends & (sure & induced)[:, None]).any(-1)


def dawn(case: Case, models: Models) -> str:
    """Attention is averaged over all layers, as in the recorded runs. Raises `MismatchError`."""
    q, seen = case.params, Seen()
    given = {name: q[name] for name in OPTIONS if name in q}
    decoder = AsCoded(**{"tau_sink": 0.01, **given}, sink_times=0.0, depth=0.0, seen=seen)
    model = Telling(models.get(case.need("model"), case.mask_id), seen)
    job = job_of(case, models, Setup(decoder, Pred.best, q["block_length"]))
    free(replace(job, model=model))
    return "with the code's anchors, prompt tokens by what is predicted there, and what it leaves out"
