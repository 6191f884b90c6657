"""Predictions without logits: the statistics that a step will need are found beforehand, computed where the logits are,
and read here.

A step is a pure function whose control flow does not depend on the values in its tensors, so a run on made-up answers
shows the questions of the real run: which statistic, at which temperature, with which random numbers. Only a question
that depends on an earlier answer cannot be foreseen (`prob` of a token that was just drawn from another distribution);
then, and if a strategy reads whole rows of logits, whole rows are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from decoders.core import Canvas, Plan, Pred, State, view

Edit = tuple[str, tuple[Any, ...]]
"""The name of a method of `Pred` that returns another `Pred` (`without`, `filtered`), and its arguments."""
TOKENS = {
    "best": (True, False), "sample": (True, False), "race": (True,), "prob": (False,), "entropy": (False,),
    "margin": (False,),
}
TOKENS["undefined"] = (False,)
"""For each statistic, whether each column of its answer holds token ids."""


class WantsRowsError(Exception):
    """A step needs more than statistics."""


@dataclass(frozen=True)
class Question:
    """One statistic of every logit row."""

    what: str
    edits: tuple[Edit, ...]
    number: float | int | None = None
    """The temperature of `sample` and `race`, the k of `top`."""
    given: Tensor | None = field(default=None, compare=False)
    """(R,) the uniform random numbers of `sample`, the hashes of `race`, the tokens of `prob`."""

    @property
    def columns(self) -> tuple[bool, ...]:
        """For each column of the answer, whether it holds token ids."""
        return (
            (True,) * int(self.number or 0) + (False,) * int(self.number or 0)
            if self.what == "top"
            else TOKENS[self.what]
        )

    def same(self, other: Question) -> bool:
        given = self.given is other.given or (
            self.given is not None and other.given is not None and torch.equal(self.given, other.given)
        )
        return self == other and given

    def spoken(self, rows: Tensor) -> list[Any]:
        """The question about the logit `rows` of one request, as plain data."""
        return [
            self.what, [list(e) for e in self.edits], self.number,
            None if self.given is None else self.given[rows].tolist(),
        ]


def answer(logits: Tensor, questions: Sequence[Sequence[Any]]) -> Tensor:
    """(N, C) float32: the answers for `logits (N, V)`, as C columns. Token ids are exact up to 2^24."""
    at = torch.arange(len(logits), device=logits.device)[None]
    whole = Pred(logits[None], at, len(logits))
    out: list[Tensor] = []
    for what, edits, number, given in questions:
        p = whole
        for name, arguments in edits:
            p = getattr(p, name)(*(tuple(x) if isinstance(x, list) else x for x in arguments))
        if what == "top":
            token, share = p.top(number)
            out += [token[0].float(), share[0].float()]
            continue
        if what == "undefined":
            out += [(~logits.amax(-1).isfinite()).float()[:, None]]
            continue
        kind = torch.float64 if what == "sample" else torch.long
        arguments = [] if given is None else [torch.tensor(given, dtype=kind, device=logits.device)]
        found = getattr(p.statistics, what)(*arguments, *([] if number is None else [number]))
        out += [x.float()[:, None] for x in (found if isinstance(found, tuple) else (found,))]
    return torch.cat(out, 1) if out else logits.new_zeros(len(logits), 0, dtype=torch.float32)


class Ledger:
    """The questions about one prediction: recorded with made-up answers, or answered if there are `answers`."""

    def __init__(
        self, rows: int, vocab: int, fake: int = 0, questions: Sequence[Question] = (), answers: Tensor | None = None
    ) -> None:
        self.rows, self.vocab, self.fake = rows, vocab, fake
        self.expected, self.answers = questions, answers  # (R, C)
        self.questions: list[Question] = []
        self.read = 0

    def ask(self, q: Question) -> tuple[Tensor, ...]:
        """The columns of the answer, `(R,)` each. Raises `WantsRowsError` for a question that was not expected."""
        self.questions.append(q)
        n = len(q.columns)
        if self.answers is None:
            made_up = (torch.arange(self.rows * n).view(n, self.rows) * 7 + 3 * self.fake + 1) % self.vocab
            return tuple(x if token else x.float() / self.vocab for x, token in zip(made_up, q.columns, strict=True))
        place = len(self.questions) - 1
        if place >= len(self.expected) or not q.same(self.expected[place]):
            raise WantsRowsError(f"{q.what} was not foreseen")
        found = self.answers[:, self.read : self.read + n].unbind(1)
        self.read += n
        return tuple(x.long() if token else x for x, token in zip(found, q.columns, strict=True))


@dataclass(frozen=True)
class Answers:
    """`decoders.stats.Statistics` that asks a ledger."""

    ledger: Ledger
    edits: tuple[Edit, ...]

    @property
    def allowed(self) -> Tensor:
        raise WantsRowsError("rows of logits")

    def best(self) -> tuple[Tensor, ...]:
        return self.ledger.ask(Question("best", self.edits))

    def prob(self, tokens: Tensor) -> Tensor:
        return self.ledger.ask(Question("prob", self.edits, given=tokens))[0]

    def entropy(self) -> Tensor:
        return self.ledger.ask(Question("entropy", self.edits))[0]

    def margin(self) -> Tensor:
        return self.ledger.ask(Question("margin", self.edits))[0]

    def sample(self, u: Tensor, temperature: float) -> tuple[Tensor, ...]:
        return self.ledger.ask(Question("sample", self.edits, temperature, u))

    def race(self, h: Tensor, temperature: float) -> Tensor:
        return self.ledger.ask(Question("race", self.edits, temperature, h))[0]


@dataclass(frozen=True)
class Compact(Pred):
    """A prediction of which only the statistics of a ledger are known; `logits` are a shape without data."""

    ledger: Ledger = field(kw_only=True)
    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        if self.logits.device.type != "meta" or self.banned:
            raise WantsRowsError("other logits")

    @classmethod
    def of(cls, ledger: Ledger, at: Tensor, width: int, cost: tuple[Tensor, Tensor] | None = None) -> Compact:
        return cls(torch.empty(*at.shape, ledger.vocab, device="meta"), at, width, cost, ledger=ledger)

    @property
    def statistics(self) -> Any:
        return Answers(self.ledger, self.edits)

    def undefined(self) -> Tensor:
        (found,) = self.ledger.ask(Question("undefined", ()))
        return (self.spread(found) > 0).any(-1)

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        k = min(k, self.ledger.vocab)
        found = self.ledger.ask(Question("top", self.edits, k))
        return self.spread(torch.stack(found[:k], -1)), self.spread(torch.stack(found[k:], -1))

    def without(self, tokens: tuple[int, ...]) -> Pred:
        return replace(self, edits=(*self.edits, ("without", (tokens,)))) if tokens else self

    def filtered(self, temperature: float = 0.0, top_k: int | None = None, top_p: float | None = None) -> Pred:
        if temperature <= 0 and top_k is None and (top_p is None or top_p >= 1):
            return self
        return replace(self, edits=(*self.edits, ("filtered", (temperature, top_k, top_p))))

    def probs_at(self, where: Tensor) -> Tensor:
        raise WantsRowsError("a whole distribution")

    def cooled(self, temperature: Tensor) -> Pred:
        raise WantsRowsError("temperatures of its own")


def foreseen(plan: Plan, c: Canvas, at: Tensor, vocab: int) -> list[Question] | None:
    """The questions of the next step about a prediction with the logit rows `at (B, N)`; None: it needs whole rows."""
    s = view(c)
    heard = [asked(plan, s, Ledger(at.numel(), vocab, fake), at) for fake in (0, 1)]
    first, second = heard
    if first is None or second is None or len(first) != len(second):
        return None
    return first if all(a.same(b) for a, b in zip(first, second, strict=True)) else None


def asked(plan: Plan, s: State, ledger: Ledger, at: Tensor) -> list[Question] | None:
    p: Pred = Compact.of(ledger, at, s.tokens.shape[1])
    try:
        for rule in plan.rules:
            p = rule(s, p)
        plan.decoder.step(s, p)
        p.undefined()  # as `apply` does after the step
    except (
        WantsRowsError,
        RuntimeError,
        NotImplementedError,
    ):  # torch raises the latter two for an operation on logits without data
        return None
    return ledger.questions

