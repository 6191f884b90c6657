"""Requests for decisions, independent of their form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from decoders.core import UsageError
from decoders.decide import Question
from decoders.serve.fields import Fields
from decoders.serve.names import split_model
from decoders.serve.refusals import RefusedError

MOST_QUESTIONS = 400


@dataclass(frozen=True)
class Asking:
    """Questions about a text. `values`: for each question, the names of its options in the answer; `names`: the names
    of the questions."""

    model: str
    state: Any
    questions: Mapping[str, Question]
    values: tuple[tuple[Any, ...], ...]
    names: tuple[str | None, ...]


def model_of(f: Fields, served: str) -> str:
    """Raises `RefusedError` for a model that is not served, or that is named with a decoder."""
    model = f.text("model") or served
    if split_model(model, served):
        raise RefusedError(400, "a decision does not use a decoder: leave it out", "model")
    return model


def counted(questions: int) -> None:
    """Raises `RefusedError`."""
    if not 1 <= questions <= MOST_QUESTIONS:
        raise RefusedError(400, f"there must be 1 to {MOST_QUESTIONS} questions, not {questions}", "questions")


def asks(at: str, make: Callable[[], Question]) -> Question:
    """A question at a place in the body. Raises `RefusedError` if it cannot be asked."""
    try:
        return make()
    except UsageError as e:
        raise RefusedError(400, f"{at}: {e}", at) from None


def text_of(x: Any) -> str:
    """A text, or JSON as text."""
    return x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)
