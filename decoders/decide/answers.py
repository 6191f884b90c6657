"""Answers: distributions over what a question can be answered with, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from decoders.decide.questions import Predicate, Question, Score


@dataclass(frozen=True)
class Answer:
    """What a model makes of a question."""

    question: Question
    probabilities: tuple[float, ...]
    """Of the possible answers in their order (`Question.names`); 1 in all."""
    mass: float
    """The probability of all answers together, before they are made to sum to 1. Where it is small the model would have
    said something else. Of options in several lists, the mean of theirs."""

    @property
    def best(self) -> int:
        """The number of the likeliest answer; of equal ones the first."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def value(self) -> str | float:
        """The probability that a predicate is true, the likeliest option of a choice, or the level that is expected,
        counted from 0, of a score."""
        if isinstance(self.question, Predicate):
            return self.probabilities[0]
        if isinstance(self.question, Score):
            return sum(i * p for i, p in enumerate(self.probabilities))
        return self.question.names[self.best]

    @property
    def confidence(self) -> float:
        """From 0, where all answers are as likely, to 1, where one is sure. Of a score it is 1 less the expected
        distance from the likeliest level, by that of a uniform distribution from its middle; else how far the likeliest
        answer is above an equal share, by how far it can be. Both are System One's definitions."""
        n = len(self.probabilities)
        if not isinstance(self.question, Score):
            return (max(self.probabilities) * n - 1) / (n - 1)
        off = sum(p * abs(i - self.best) for i, p in enumerate(self.probabilities))
        return max(1 - off * n / sum(abs(i - (n - 1) / 2) for i in range(n)), 0.0)


@dataclass(frozen=True)
class Reading:
    """What a model makes of a hole in a text."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    """Of the labels in their order; 1 in all."""
    mass: float
    """As of an `Answer`."""


@dataclass(frozen=True)
class Decisions:
    """The answers to some questions, under the names of the questions, and what they took."""

    answers: Mapping[str, Answer]
    tokens: int
    """Of all rows."""
    rows: int
    """Each is one forward of one row."""
    seconds: float

    def __getitem__(self, name: str) -> Answer:
        return self.answers[name]
