"""Classifier-free guidance as a wrapper around any model."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from decoders.core.errors import UsageError
from decoders.core.forward import Forward, Model, Need, Session
from decoders.core.pred import Pred


@dataclass(frozen=True)
class Guided:
    """Every forward also runs with what was given masked, and the logits are `u + (scale + 1) * (c - u)` (Nie et al. 2025,
    2502.09992, appendix A; Ho and Salimans 2022, 2207.12598). The doubled batch counts as one forward pass.

    Raises `UsageError` for a model without a mask token."""

    model: Model
    scale: float

    def __post_init__(self) -> None:
        if self.model.mask_id is None:
            raise UsageError("guidance masks the prompt, and this model has no mask token")

    @property
    def mask_id(self) -> int | None:
        return self.model.mask_id

    @property
    def vocab(self) -> int:
        return self.model.vocab

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return self.model.stop_ids

    @property
    def block_causal(self) -> bool:
        return self.model.block_causal

    @property
    def causal_context(self) -> bool:
        return self.model.causal_context

    @property
    def attention_block(self) -> int | None:
        return self.model.attention_block

    @property
    def gives(self) -> frozenset[str]:
        return self.model.gives - {"attention"}  # two forwards, two sets of maps

    @property
    def column_bytes(self) -> int:
        return 2 * self.model.column_bytes

    @property
    def device(self) -> torch.device:
        return self.model.device

    def session(self, need: Need) -> Session:
        rows = need.rows
        inner = self.model.session(replace(need, rows=2 * rows))

        def forward(f: Forward) -> Pred:
            blank = replace(f, tokens=torch.where(f.given, self.mask_id or 0, f.tokens))
            p = inner(Forward(**{x.name: torch.cat([getattr(f, x.name), getattr(blank, x.name)]) for x in fields(Forward)}))
            conditional, unconditional = p.logits.chunk(2)
            guided: Tensor = unconditional + (self.scale + 1) * (conditional - unconditional)
            cost = p.cost and (p.cost[0][:rows] + p.cost[0][rows:], p.cost[1][:rows] + p.cost[1][rows:])
            return Pred(guided, p.at[:rows], p.width, cost)

        return forward
