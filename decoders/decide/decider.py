"""Decider: questions about a text in, probabilities of their answers out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from decoders.core import Model, UsageError
from decoders.decide.answers import Answer, Decisions, Reading
from decoders.decide.labels import Tree
from decoders.decide.prompts import Asked, labelled, named, put, said
from decoders.decide.questions import Question
from decoders.decide.reader import Pending, Row, asked, rows_of
from decoders.decide.reading import over_labels, over_lists
from decoders.engine import Service
from decoders.models.loaded import Loaded
from decoders.text.encoding import Encoding, check_unicode

T = TypeVar("T")
MOST_ROWS = 2048
"""Rows that one call may take."""


class Host(Protocol):
    """What there is of a `Generator` to ask its model."""

    encoding: Encoding
    loaded: Loaded
    model: Model
    guidance: float

    @property
    def service(self) -> Service: ...


@dataclass(frozen=True)
class Decider:
    """Asks the model of a generator, through the generator's engine."""

    generator: Host

    def submit(self, state: Any, questions: Mapping[str, Question] | Sequence[Question]) -> Pending[Decisions]:
        """Begin to answer, and return at once; arguments as of `Generator.decide`. Raises `UsageError` for what cannot
        be asked."""
        began, known, text = time.monotonic(), named(questions), said(state)
        lists = {name: self.put(text, name, q) for name, q in known.items()}
        every = [a for some in lists.values() for a in some]
        rows = [row for a in every for row in rows_of(a.context, a.tree)]
        tokens = sum(len(row.tokens) + row.length for row in rows)

        def answered(log_p: list[float]) -> Decisions:
            found = iter(distributions([a.tree for a in every], log_p))
            answers = {name: answer(known[name], [(a, next(found)) for a in some]) for name, some in lists.items()}
            return Decisions(answers, tokens, len(rows), time.monotonic() - began)

        return self.pending(rows, answered)

    def read(self, text: str, labels: Sequence[str], holes: int | None = None) -> Pending[list[Reading]]:
        """Begin to read, and return at once; arguments as of `Generator.read`. Raises `UsageError`."""
        check_unicode(text)
        known, context = labelled(self.generator.encoding, labels), tuple(self.generator.loaded.tokenizer.encode(text))
        inside = [i for i, t in enumerate(context) if t == self.generator.model.mask_id] if holes is None else []
        count = len(inside) or (1 if holes is None else holes)
        if count < 1:
            raise UsageError(f"there has to be at least one hole, not {count}")
        if known.size > 1 and (inside or count > 1):
            raise UsageError("a label of several tokens can be read behind the text alone, where there is one hole")
        if known.size > 1:
            rows = rows_of(context, known)
        else:
            behind = 0 if inside else count
            at = tuple(inside or range(len(context), len(context) + count))
            rows = [Row(context, behind, at, (known.nodes[0].tokens,) * count, bool(inside))]

        def answered(log_p: list[float]) -> list[Reading]:
            found = distributions([known] * count, log_p)
            return [Reading(tuple(labels), probabilities(log.softmax(-1)), float(log.exp().sum())) for log in found]

        return self.pending(rows, answered)

    def put(self, text: str, name: str, question: Question) -> list[Asked]:
        """Raises `UsageError`, which names the question."""
        try:
            return put(self.generator.encoding, text, question)
        except UsageError as e:
            raise UsageError(f"question {name!r}: {e}") from None

    def pending(self, rows: Sequence[Row], put: Callable[[list[float]], T]) -> Pending[T]:
        """Raises `UsageError`."""
        g = self.generator
        if g.guidance:
            raise UsageError("what is read is the model's own, so it does not go with guidance")
        if len(rows) > MOST_ROWS:
            raise UsageError(f"this takes {len(rows)} forwards of a row, more than the {MOST_ROWS} of one call")
        beyond, most = max(len(row.tokens) + row.length for row in rows), g.loaded.positions
        if most is not None and beyond > most:
            raise UsageError(f"the text and its holes have {beyond} tokens, beyond the {most} of {g.loaded.name}")
        requests = [asked(g.loaded, g.model, row) for row in rows]
        return Pending(g.service, requests, lambda found: put([*chain.from_iterable(found)]))


def distributions(trees: Sequence[Tree], log_p: Sequence[float]) -> list[Tensor]:
    """(L,) double of each tree: the log probabilities of its labels, where those of the tokens of all nodes of all
    trees are `log_p`, in their order."""
    starts = accumulate((sum(len(n.tokens) for n in tree.nodes) for tree in trees), initial=0)
    paths = [[start + i for i in path] for tree, start in zip(trees, starts, strict=False) for path in tree.paths]
    deep, pad = max(map(len, paths)), len(log_p)
    padded = torch.tensor([[*path, *[pad] * (deep - len(path))] for path in paths])
    labels = over_labels(torch.tensor(log_p, dtype=torch.double), padded)
    return list(labels.split([len(tree.paths) for tree in trees]))


def answer(question: Question, lists: Sequence[tuple[Asked, Tensor]]) -> Answer:
    """The answer to a question, from each list of its options and what the model makes of them. Raises `UsageError` if
    it makes nothing of them."""
    none = [x[-1:].expand(len(x) - 1) if a.reference else torch.zeros_like(x) for a, x in lists]
    odds = [x[:-1] if a.reference else x for a, x in lists]
    mass = sum(float(x.exp().sum()) for _, x in lists) / len(lists)
    return Answer(question, probabilities(over_lists(torch.cat(odds), torch.cat(none))), mass)


def probabilities(p: Tensor) -> tuple[float, ...]:
    """Raises `UsageError` if they are none."""
    if not bool(p.isfinite().all()):
        raise UsageError("the model gives none of the labels any probability, so there is no answer")
    return tuple(p.tolist())
