"""Questions as token ids: a text, a question, and room for a label behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from decoders.core import UsageError
from decoders.decide.labels import Tree, tree
from decoders.decide.questions import Listing, Question
from decoders.text.encoding import Encoding, check_unicode

ANSWER = "Answer:"
"""Behind it stands the label, where there is no chat template."""


@dataclass(frozen=True)
class Asked:
    """A list of answers to a question, ready to be read."""

    context: tuple[int, ...]
    tree: Tree
    reference: bool
    """The last label is for none of the others."""


class TooLongError(UsageError):
    """There is no room for a question."""


def said(state: Any) -> str:
    """What is asked about, as text: JSON, if it is none. Raises `UsageError`."""
    try:
        text = state if isinstance(state, str) else json.dumps(state, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise UsageError(f"what is asked about has to be a text, or JSON: {e}") from None
    check_unicode(text)
    return text


def put(encoding: Encoding, state: str, question: Question) -> list[Asked]:
    """A question as the model is asked it. Where not all options have room, each half of them is a list of its own, and
    so on (`decoders.decide.reading.over_lists`). Raises `UsageError` for a text that leaves no room at all, or a label
    that the tokenizer has no tokens for."""

    def lists(first: int, last: int) -> list[Asked]:
        try:
            return [one(encoding, state, question.listing(first, last))]
        except TooLongError:
            if question.kind != "choice" or last - first < 2:
                raise
        middle = (first + last) // 2
        return [*lists(first, middle), *lists(middle, last)]

    return lists(0, len(question.names))


def one(encoding: Encoding, state: str, listing: Listing) -> Asked:
    """Raises `UsageError`."""
    text = f"{state}\n\n" + "\n".join(listing.lines)
    chats = encoding.loaded.chat is not None and encoding.chat is not False
    text, between = (text, "") if chats else (f"{text}\n{ANSWER}", " ")
    context = encoding.tokens(text, infill=False)
    labels = labelled(encoding, listing.labels, between)
    most = encoding.loaded.positions
    if most is not None and len(context) + labels.size > most:
        raise TooLongError(
            f"the text and the question have {len(context)} tokens; with {labels.size} more that is beyond the {most} "
            f"of {encoding.loaded.name}"
        )
    return Asked(tuple(context), labels, listing.reference)


def labelled(encoding: Encoding, labels: Sequence[str], between: str = "") -> Tree:
    """Labels as token ids, `between` being what stands before each. Raises `UsageError`."""
    if len(labels) < 2:
        raise UsageError(f"there have to be at least 2 labels, not {len(labels)}")
    for a, b in pairwise(sorted(labels)):
        if a == b:
            raise UsageError(f"the label {a!r} is there twice")
    stops = encoding.loaded.model.stop_ids
    return tree(labels, [spelled(encoding, label, between) for label in labels], stops[0] if stops else None)


def spelled(encoding: Encoding, label: str, between: str) -> tuple[int, ...]:
    """The tokens of a label. Raises `UsageError` where the tokenizer has none for it."""
    check_unicode(label)
    ids = encoding.ids(between + label)
    if not label.strip() or not ids:
        raise UsageError(f"a label has to be a text, not {label!r}")
    if {*encoding.loaded.never, *encoding.loaded.model.stop_ids}.intersection(ids):
        raise UsageError(f"the label {label!r} has no tokens in the tokenizer of {encoding.loaded.name}")
    return tuple(ids)


def named(questions: Mapping[str, Question] | Sequence[Question]) -> dict[str, Question]:
    """The questions under their names, or their numbers. Raises `UsageError` if there are none."""
    found = dict(questions) if isinstance(questions, Mapping) else {str(i): q for i, q in enumerate(questions)}
    if not found:
        raise UsageError("there is no question")
    for name, q in found.items():
        if not isinstance(q, Question):
            raise UsageError(f"the question {name!r} is no Predicate, Choice or Score but a {type(q).__name__}")
    return found
