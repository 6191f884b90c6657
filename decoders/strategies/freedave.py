"""FreeDave: the same tokens as another strategy, in fewer forwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from decoders.core import (
    Around,
    Attested,
    Candidates,
    Decoder,
    Pred,
    Query,
    State,
    UsageError,
    Whole,
    asks,
    choose,
    option,
)
from decoders.strategies.llada import LLaDA


class Run(NamedTuple):
    """How far the base strategy would be, and its guessed next queries."""

    step: Tensor  # (B,)   long  the base's forwards in this window
    clock: Tensor  # (B,)   long  and on this row
    committed_at: Tensor  # (B, W) long  by that clock
    tokens: Tensor  # (B, A, W) long  the tokens that it would show in its 2nd forward from here, 3rd, ...
    want: Tensor  # (B, A, W) bool  and the positions that it would want


@dataclass(frozen=True)
class FreeDave(Around):
    """Predict the next states of `base` from one prediction, and verify them together in one forward; the tokens are
    those of `base`. Wu and Zhang 2025, 2510.00294.

    The base strategy's step with a prediction gives its next state, which is certain; stepping it further with the same
    prediction gives `ahead` guesses of the states after that. The next forward shows the model the certain state and,
    beside it, the guesses (`Query.beside`). Its predictions are then used one after the other: as long as the query of
    the base strategy, after a step with the last prediction, equals the next guess, the prediction of that guess is the
    one that it would have got. So the tokens are those of the base strategy, exactly so if the model's arithmetic does
    not depend on the batch, in as many forwards or fewer, each of which costs up to 1 + `ahead`.

    It works for every base strategy with plain queries: greedy or sampling (its random numbers are hashes of its own
    clock, which advances here as it would alone), revising or not, and the paper's own, which commits a fixed number of
    tokens a step. With approximate caches tokens may differ, because the caches see other forwards.
    """

    source: ClassVar[str] = "Wu and Zhang 2025, arXiv 2510.00294"
    attested: ClassVar[Attested] = "code"
    keeps_law: ClassVar[bool] = True
    base: Decoder = option(LLaDA(), "the strategy whose tokens these are")
    ahead: int = option(3, "states that are guessed at a time", min=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        any_size, name, asked = Whole(), type(self.base).__name__, asks(self.base)
        lays_out = any(self.base.windows(any_size, b) is not any_size for b in (False, True))
        if lays_out or {"causal", "sight", "resizes"} & asked:
            raise UsageError(
                f"freedave cannot guess the next query of {name}; take a base whose queries show its window as it is"
            )
        if {"attention", "hidden_states"} & asked:
            raise UsageError(
                f"freedave has only logits of its guesses, and {name} reads more of a prediction"
            )

    def own(self, s: State) -> Run:
        (B, W), A = s.tokens.shape, self.ahead
        return Run(s.step, s.clock, s.committed_at, s.tokens.new_zeros(B, A, W), s.open.new_zeros(B, A, W))

    def begin(self, s: State) -> State:
        run: Run = s.memo.own
        new = run._replace(step=torch.zeros_like(s.step), committed_at=s.committed_at, want=torch.zeros_like(run.want))
        s = self.keeping(s, new)
        return self.begun(s, self.beneath(s))

    def inner(self, s: State) -> State:
        """The state as the base strategy, alone, would have it."""
        run: Run = s.memo.own
        return replace(s, step=run.step, clock=run.clock, committed_at=run.committed_at)

    def query(self, s: State) -> Query:
        run: Run = s.memo.own
        return replace(super().query(s), beside=Candidates(run.tokens, run.want))

    def step(self, s: State, p: Pred) -> State:
        run: Run = s.memo.own
        now, last, going = self.beneath(s), alone(p), torch.ones_like(s.step, dtype=torch.bool)
        for i, each in enumerate((p, *p.beside)):
            now, last = choose(going, self.forward(now, each), now), choose(going, alone(each), last)
            if i < self.ahead:
                tokens, want = self.asks(now)
                same = (tokens == run.tokens[:, i]) & (want == run.want[:, i])
                going = going & same.all(-1) & want.any(-1)
        guesses, guess = [], now
        for _ in range(self.ahead):
            guess = self.forward(guess, last)
            guesses.append(self.asks(guess))
        tokens, want = (torch.stack(x, 1) for x in zip(*guesses, strict=True))
        changed = (now.tokens != s.tokens) | (now.open != s.open)
        when = torch.where(now.open, -1, torch.where(changed, s.clock[:, None], s.committed_at))
        run = Run(now.step, now.clock, now.committed_at, tokens, want)
        return replace(now, memo=s.memo._replace(own=run, base=now.memo), step=s.step, clock=s.clock, committed_at=when)

    def forward(self, s: State, p: Pred) -> State:
        """The base strategy's state after a forward with this prediction."""
        return replace(self.base.step(s, p), step=s.step + 1, clock=s.clock + 1)

    def asks(self, s: State) -> tuple[Tensor, Tensor]:
        """(B, W) long and (B, W) bool: the tokens and the wanted positions of its next query; nothing is wanted if it
        has finished the window."""
        q = self.base.query(s)
        return q.tokens, q.want & s.editable & ~self.base.done(s)[:, None]


def alone(p: Pred) -> Pred:
    """The prediction of one canvas, without those beside it and without its cost."""
    return replace(p, beside=(), cost=None, attention=None)
