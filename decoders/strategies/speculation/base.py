"""Rules that commit unverified drafts: the rule that S2D2 speeds up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from decoders.core import Part, Pred, State, above, only, option, share
from decoders.strategies.llada2 import Edits, LLaDA2
from decoders.strategies.speculation.draft import Draft


@dataclass(frozen=True)
class Base(Part):
    """Commits the drafts that are sure, or as many as the quota. Its memo is reset in every window."""

    revises: ClassVar[bool] = False
    steps: int | None = option(None, "drafts of a block, for the quota of each; none: one position each", min=1)

    def quota(self, s: State, number: Tensor) -> Tensor:
        """(B,) long: how many positions the draft of this `number (B,)`, from 1 on, has to commit at least."""
        return torch.ones_like(number) if self.steps is None else share(s.size, self.steps, number - 1)

    def sure(self, draft: Draft) -> Tensor:
        """(B, W) bool: the drafts that it commits in any case."""
        return draft.sure

    def committed(self, s: State, draft: Draft, at_least: Tensor) -> State:
        return s.commit(
            above(only(s.open, draft.confidence), self.sure(draft), at_least), draft.tokens, draft.confidence
        )

    def begin(self, s: State) -> Any:
        """The memo when a window is entered."""
        return ()

    def wanted(self, s: State) -> Tensor:
        """(B, W) bool: the positions whose prediction it needs."""
        return s.open

    def edited(self, s: State, p: Pred, memo: Any) -> tuple[State, Any]:
        """The state with its edits of decided positions, from the drafting forward, and its new memo."""
        return s, memo

    def done(self, s: State, memo: Any) -> Tensor:
        """(B,) bool: the window is finished."""
        return ~s.open.any(-1)


@dataclass(frozen=True)
class Dynamic(Base):
    """All drafts above `tau`, strictly; if those are fewer than the quota, the most confident drafts (SDAR,
    2510.06303)."""

    name: ClassVar[str] = "dynamic"


@dataclass(frozen=True)
class Static(Base):
    """The most confident drafts, as many as the quota."""

    name: ClassVar[str] = "static"

    def sure(self, draft: Draft) -> Tensor:
        return torch.zeros_like(draft.sure)


@dataclass(frozen=True)
class Joint(Base):
    """`dynamic`, and decided tokens are overwritten if another token is above `tau_edit`: the joint threshold of
    `llada2` (Bie et al. 2026, 2602.08676). Edits come from drafts and are made before the verifier sees the block. A
    block ends when a draft that began with no open position has changed nothing, or after `max_post` such drafts."""

    name: ClassVar[str] = "joint"
    revises: ClassVar[bool] = True
    tau_edit: float = option(
        0.9, "confidence above which another token replaces a decided one; above 1: no editing", min=0
    )
    max_post: int = option(16, "drafts of a block with nothing open, at most", min=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.rule  # a compiled step cannot make one

    @cached_property
    def rule(self) -> LLaDA2:
        return LLaDA2(tau_edit=self.tau_edit, max_post=self.max_post)

    def begin(self, s: State) -> Edits:
        return self.rule.begin(s).memo  # type: ignore[no-any-return]

    def wanted(self, s: State) -> Tensor:
        return s.editable

    def edited(self, s: State, p: Pred, memo: Edits) -> tuple[State, Edits]:
        after, where, own = self.rule.revise(s, p, memo.own)
        return after, memo.after(s, where, own)

    def done(self, s: State, memo: Edits) -> Tensor:
        return self.rule.done(replace(s, memo=memo))
