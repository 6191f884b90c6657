"""A second model that plans: path planning with an external planner."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from decoders.core import Forward, Model, Pred, Session, SessionSpec, UsageError
from decoders.core.model import row_bytes
from decoders.models.wrapper import Wrapper


@dataclass(frozen=True)
class WithPlanner(Wrapper):
    """A model whose planning forwards (the second phase of `p2:planner=forward`) run on another one. Peng et al. 2025,
    2502.03540: a BERT as the planner of a diffusion model.

    Both get the same token ids, so they need the same vocabulary, and they are run on whole rows: neither reads keys
    and values of the other. Raises `UsageError` for vocabularies of different sizes."""

    model: Model
    planner: Model
    phase: int = 1
    """The phase of the decoder whose forwards run on the planner."""

    def __post_init__(self) -> None:
        if self.model.vocab != self.planner.vocab:
            raise UsageError(
                f"a planner needs the model's vocabulary of {self.model.vocab} tokens, and it has {self.planner.vocab}"
            )

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset()

    def row_bytes(self, spec: SessionSpec) -> int:
        return row_bytes(self.model, spec) + row_bytes(self.planner, spec)

    def session(self, spec: SessionSpec) -> Session:
        denoise, plan = self.model.session(spec), self.planner.session(spec)

        def forward(f: Forward) -> Pred:
            planned = (f.phase == self.phase)[:, None]
            reach = torch.where(f.want, f.until.gather(1, f.at), 0).amax(-1, keepdim=True)
            whole = replace(f, compute=torch.arange(f.tokens.shape[1], device=reach.device) < reach)
            return joined(denoise(of(whole, ~planned)), plan(of(whole, planned)))

        return forward


def of(f: Forward, rows: Tensor) -> Forward:
    """The forward of the rows where `rows (B, 1)` alone."""
    return replace(f, compute=f.compute & rows, want=f.want & rows)


def joined(p: Pred, q: Pred) -> Pred:
    """One prediction from two predictions of different rows."""
    cost = p.cost and q.cost and (p.cost[0] + q.cost[0], p.cost[1] + q.cost[1])
    return Pred(torch.cat([p.logits, q.logits.to(p.logits)], 1), torch.cat([p.at, q.at], 1), p.width, cost)
