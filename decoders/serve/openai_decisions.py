"""`/v1/decisions`: questions and answers in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from decoders.decide import Answer, Choice, Decisions, Predicate, Question, Score
from decoders.serve.asks import LABELS
from decoders.serve.decisions import Asking, asks, counted, model_of, text_of
from decoders.serve.fields import Fields, said
from decoders.serve.refusals import RefusedError

ROLES = "user", "system", "developer", "assistant"
PARTS = {"input_text": "text", "output_text": "text", "refusal": "refusal", "input_json": "data"}
"""Kinds of message parts that are text or JSON, and the field that contains it."""
KINDS: Mapping[str, tuple[Any, ...]] = {
    "predicate": (), "choice": ("choices", "value", str, bool), "score": ("levels", "label", str),
}
"""Kinds of questions: the field of the options, and the form of an option."""
NAMED = tuple[str | None, Question, tuple[Any, ...]]
"""The name of a question, the question, and the names of its options."""


def read_openai(body: Any, served: str) -> Asking:
    """A body of `/v1/decisions`. Raises `RefusedError`."""
    f = Fields(body)
    model, found, given = model_of(f, served), f.items("questions"), f.any("input")
    if given is None:
        raise RefusedError(400, "input is missing", "input")
    counted(len(found))
    read = [question(Fields(x, f"questions[{i}]")) for i, x in enumerate(found)]
    for label in LABELS:
        f.text(label)
    f.inner("prompt_cache_options")  # there is no prompt cache that this could configure
    f.end()
    names, questions, values = zip(*read, strict=True)
    state = given if isinstance(given, str) else conversation(given)
    return Asking(model, state, {str(i): q for i, q in enumerate(questions)}, values, names)


def conversation(found: Any) -> str:
    """Messages as text: a single user message unchanged, otherwise each message after its role; other items as JSON.
    Raises `RefusedError`."""
    if not isinstance(found, list) or not found:
        raise RefusedError(400, f"input must be a text or a list of messages, not {said(found)}", "input")
    told = [message(x, f"input[{i}]") for i, x in enumerate(found)]
    if len(told) == 1 and told[0][0] == "user":
        return told[0][1]
    return "\n\n".join(f"{role}: {text}" if role else text for role, text in told)


def message(x: Any, at: str) -> tuple[str, str]:
    """The role and the text of a message; for a call of a function or its result, no role and the JSON. Raises
    `RefusedError`."""
    f = Fields(x, at)
    if (f.text("type") or "message") != "message":
        return "", json.dumps(x, ensure_ascii=False)
    role, content = f.needed("role"), f.any("content")
    if role not in ROLES:
        raise RefusedError(400, f"{f.name('role')} must be {', '.join(ROLES[:-1])} or {ROLES[-1]}", f.name("role"))
    f.text("phase")
    f.end()
    return role, parts(content, f.name("content"))


def parts(content: Any, at: str) -> str:
    """A text, or a list of parts that are text or JSON, as text. Raises `RefusedError`."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise RefusedError(400, f"{at} must be a text or a list of parts, not {said(content)}", at)
    return "\n".join(part(Fields(x, f"{at}[{i}]")) for i, x in enumerate(content))


def part(f: Fields) -> str:
    kind = f.needed("type")
    if kind not in PARTS:
        raise RefusedError(400, f"{f.name('type')} is {kind!r}, and a model here reads text and JSON", f.name("type"))
    held = f.any(PARTS[kind])
    if held is None or isinstance(held, str) == (kind == "input_json"):
        raise f.wrong(PARTS[kind], "an object or a list" if kind == "input_json" else "a text", held)
    f.inner("prompt_cache_breakpoint")
    f.end()
    return text_of(held)


def question(f: Fields) -> NAMED:
    """Raises `RefusedError`."""
    kind, name, told = f.needed("type"), f.text("name"), f.any("instructions")
    text = parts("" if told is None else told, f.name("instructions"))
    if kind not in KINDS:
        raise RefusedError(400, f"{f.name('type')} must be predicate, choice or score, not {kind!r}", f.name("type"))
    options = listed(f, *KINDS[kind]) if kind != "predicate" else []
    f.end()
    values = tuple(value for value, _ in options)
    if kind == "choice":
        return name, asks(f.at, lambda: Choice(text, unique(options, f.name("choices")))), values
    levels = [f"{label} - {what}" if what else label for label, what in options]
    return name, asks(f.at, lambda: Score(text, levels) if kind == "score" else Predicate(text)), values


def listed(f: Fields, key: str, value: str, *types: type) -> list[tuple[Any, str | None]]:
    """The options of a question, each with its name and its description. Raises `RefusedError`."""
    found = []
    for i, x in enumerate(f.items(key)):
        option = Fields(x, f"{f.name(key)}[{i}]")
        called = option.any(value)
        if not isinstance(called, types):
            raise option.wrong(value, "a text, true or false" if bool in types else "a text", called)
        found.append((called, option.text("description")))
        option.end()
    return found


def unique(options: Sequence[tuple[Any, str | None]], at: str) -> dict[str, str | None]:
    """The options as a model reads them. Raises `RefusedError` for two that read the same."""
    found: dict[str, str | None] = {}
    for value, what in options:
        name = json.dumps(value) if isinstance(value, bool) else value
        if name in found:
            raise RefusedError(400, f"{at} has {name!r} twice", at)
        found[name] = what
    return found


def openai_answers(asked: Asking, made: Decisions) -> dict[str, Any]:
    """The answers in the order of the questions."""
    found = zip(made.answers.values(), asked.names, asked.values, strict=True)
    usage = {
        "input_tokens": made.tokens, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": made.tokens,
        "forwards": made.rows,
    }
    return {"model": asked.model, "answers": [told(*x) for x in found], "usage": usage}


def told(answer: Answer, name: str | None, values: tuple[Any, ...]) -> dict[str, Any]:
    kind, p = answer.question.kind, answer.probabilities
    head = {"type": kind, "name": name, "x_label_mass": answer.mass}
    if kind == "predicate":
        return head | {"probability": answer.value}
    each = [{"value": v, "probability": x} for v, x in zip(values, p, strict=True)]
    value: Any = values[answer.best]
    if kind == "score":
        each = [{"value": i, "label": x["value"], "probability": x["probability"]} for i, x in enumerate(each)]
        value = answer.value
    return head | {kind: value, "confidence": answer.confidence, "probabilities": each}
