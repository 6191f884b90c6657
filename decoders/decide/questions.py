"""Questions with answers of a known form, and how they are put to a model."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from decoders.core import UsageError

LETTERS = string.ascii_uppercase
MOST_OPTIONS, MOST_LEVELS = 255, 10
NONE_OF_THEM = "none of these"
ONE_OF_THEM = "Answer with the letter of one of these."


@dataclass(frozen=True)
class Listing:
    """A question as it is put, and the labels that answer it."""

    lines: tuple[str, ...]
    labels: tuple[str, ...]
    reference: bool = False
    """The last label is for none of the others."""


class Question:
    """What is asked of a text."""

    instructions: str
    kind: ClassVar[str]

    @property
    def names(self) -> tuple[str, ...]:
        """The possible answers, as they are told."""
        raise NotImplementedError

    def listing(self, first: int, last: int) -> Listing:
        """The question with its answers from `first` up to `last`."""
        raise NotImplementedError

    def lines(self, *listed: str, ask: str) -> tuple[str, ...]:
        return (*([f"Question: {self.instructions}"] if self.instructions else []), *listed, ask)


@dataclass(frozen=True)
class Predicate(Question):
    """Whether something is true of the text. `true` and `false` say what that means. Raises `UsageError` if nothing
    says what is asked."""

    instructions: str = ""
    true: str | None = None
    false: str | None = None
    kind: ClassVar[str] = "predicate"

    def __post_init__(self) -> None:
        if not (self.instructions or self.true or self.false):
            raise UsageError("a predicate needs instructions, or what makes it true")

    @property
    def names(self) -> tuple[str, ...]:
        return "true", "false"

    def listing(self, first: int, last: int) -> Listing:
        lines = described("yes", self.true), described("no", self.false)
        return Listing(self.lines(*lines, ask="Answer with yes or no."), ("yes", "no"))


@dataclass(frozen=True)
class Choice(Question):
    """One of 2 to 255 options; the mapping says what each means, or None. Raises `UsageError`."""

    instructions: str
    options: Mapping[str, str | None]
    kind: ClassVar[str] = "choice"

    def __post_init__(self) -> None:
        counted("a choice", "options", len(self.options), MOST_OPTIONS)
        if any(not name.strip() for name in self.options):
            raise UsageError("an option is empty")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.options)

    def listing(self, first: int, last: int) -> Listing:
        """The options have letters; numbers, where there are more than those. A part of them goes with a last one that
        says none of them."""
        some = list(self.options.items())[first:last]
        part = len(some) < len(self.options)
        if part:
            some.append((NONE_OF_THEM, None))
        lettered = len(some) <= len(LETTERS)
        labels = tuple(LETTERS[: len(some)]) if lettered else tuple(str(i + 1) for i in range(len(some)))
        ask = ONE_OF_THEM if lettered else ONE_OF_THEM.replace("letter", "number")
        lines = [described(f"{label}: {name}", what, " - ") for label, (name, what) in zip(labels, some, strict=True)]
        return Listing(self.lines(*lines, ask=ask), labels, part)


@dataclass(frozen=True)
class Score(Question):
    """A place on a scale of 2 to 10 levels, the lowest first. Raises `UsageError`."""

    instructions: str
    levels: Sequence[str]
    kind: ClassVar[str] = "score"

    def __post_init__(self) -> None:
        counted("a score", "levels", len(self.levels), MOST_LEVELS)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.levels)

    def listing(self, first: int, last: int) -> Listing:
        labels = tuple(string.digits[: len(self.levels)])
        lines = [described(label, what) for label, what in zip(labels, self.levels, strict=True)]
        return Listing(self.lines(*lines, ask="Answer with the number of one level."), labels)


def described(label: str, what: str | None, between: str = ": ") -> str:
    return f"{label}{between}{what}" if what else label


def counted(what: str, things: str, found: int, most: int) -> None:
    """Raises `UsageError`."""
    if not 2 <= found <= most:
        raise UsageError(f"{what} needs 2 to {most} {things}, not {found}")
