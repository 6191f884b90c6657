"""Classifier-free guidance as a wrapper around any model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from decoders.core import Fixed, Forward, Model, Movable, Pred, Session, SessionSpec, UsageError, mapped
from decoders.core.model import row_bytes
from decoders.models.spread import Spread
from decoders.models.wrapper import Wrapper


@dataclass(frozen=True)
class Guided(Wrapper):
    """Every forward also runs with the given tokens masked, and the logits are `u + (scale + 1) * (c - u)` (Nie et al.
    2025, 2502.09992, appendix A; Ho and Salimans 2022, 2207.12598). The doubled batch counts as one forward pass.

    Raises `UsageError` for a model without a mask token."""

    model: Model
    scale: float

    def __post_init__(self) -> None:
        if self.model.mask_id is None:
            raise UsageError("guidance masks the prompt, and this model has no mask token")

    @property
    def capabilities(self) -> frozenset[str]:
        return self.model.capabilities - {"attention", "hidden_states"}  # two forwards, two sets of maps

    @property
    def column_bytes(self) -> int:
        return 2 * self.model.column_bytes

    def row_bytes(self, spec: SessionSpec) -> int:
        return 2 * row_bytes(self.model, spec)

    def session(self, spec: SessionSpec) -> Session:
        if spec.candidates:
            return Spread(self, spec)
        inner = self.model.session(replace(spec, rows=2 * spec.rows))
        kind = FixedGuidedSession if isinstance(inner, Fixed) else GuidedSession
        return kind(self, inner, spec.rows)


class GuidedSession:
    """A session of twice the rows: unchanged, and with the given tokens masked."""

    def __init__(self, owner: Guided, inner: Session, rows: int) -> None:
        self.owner, self.inner, self.rows = owner, inner, rows

    def take(self, rows: Tensor) -> None:
        if isinstance(self.inner, Movable):
            self.inner.take(torch.cat([rows, rows + self.rows]))
        self.rows = len(rows)

    def __call__(self, f: Forward) -> Pred:
        return self.guided(self.inner(self.doubled(f)))

    def doubled(self, f: Forward) -> Forward:
        blank = replace(f, tokens=torch.where(f.given, self.owner.mask_id or 0, f.tokens))
        return mapped(lambda own, other: torch.cat([own, other]), f, blank)

    def guided(self, p: Pred) -> Pred:
        conditional, unconditional = p.logits.chunk(2)
        logits: Tensor = unconditional + (self.owner.scale + 1) * (conditional - unconditional)
        rows = len(logits)
        cost = p.cost and (p.cost[0][:rows] + p.cost[0][rows:], p.cost[1][:rows] + p.cost[1][rows:])
        return Pred(logits, p.at[:rows], p.width, cost, table=p.table)


class FixedGuidedSession(GuidedSession):
    """The same over a session that can be captured (`Fixed`)."""

    inner: Fixed

    @property
    def buckets(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.inner.buckets

    def needs(self, f: Forward) -> Tensor:
        with_, without = self.inner.needs(self.doubled(f)).chunk(2)
        return torch.maximum(with_, without)

    def fixed(self, f: Forward, columns: int, rows: int) -> Pred:
        return self.guided(self.inner.fixed(self.doubled(f), columns, rows))
