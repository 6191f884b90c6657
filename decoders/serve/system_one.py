"""`/v1/systemone`: questions and answers in the form of TypeSafe's System One."""

from __future__ import annotations

from typing import Any

from decoders.decide import Answer, Choice, Decisions, Predicate, Question, Score
from decoders.serve.decisions import Asking, asks, counted, model_of, text_of
from decoders.serve.fields import Fields, said
from decoders.serve.refusals import RefusedError

ALIAS = "jev-latest"
"""The name by which clients ask for the served model."""
KINDS = {"noul": "true and false, or nothing", "choice": "an object of options", "score": "a list of levels"}
"""The kinds of questions, and the form of their criteria."""


def read_system_one(body: Any, served: str) -> Asking:
    """A body of `/v1/systemone`; unknown fields are ignored. Raises `RefusedError`."""
    f = Fields(body)
    if f.found.get("model") == ALIAS:
        f.found["model"] = served
    model, state, found = model_of(f, served), f.any("state"), f.any("questions")
    if state is None:
        raise RefusedError(400, "state is missing", "state")
    if not isinstance(found, dict):
        raise RefusedError(400, f"questions must be an object, not {said(found)}", "questions")
    counted(len(found))
    questions = {qid: question(qid, Fields(x, f"questions.{qid}")) for qid, x in found.items()}
    return Asking(model, state, questions, tuple(q.names for q in questions.values()), tuple(questions))


def question(qid: str, f: Fields) -> Question:
    """Raises `RefusedError`."""
    if not qid:
        raise RefusedError(400, "the id of a question is empty", "questions")
    kind, text, criteria = f.needed("type"), text_of(f.any("instructions") or ""), f.any("criteria")
    f.end()
    if kind not in KINDS:
        raise RefusedError(400, f"{f.name('type')} must be noul, choice or score, not {kind!r}", f.name("type"))
    if kind == "noul" and (criteria is None or (isinstance(criteria, dict) and criteria.keys() <= {"true", "false"})):
        sides = described(criteria or {})
        return asks(f.at, lambda: Predicate(text, sides.get("true"), sides.get("false")))
    if kind == "choice" and isinstance(criteria, dict):
        return asks(f.at, lambda: Choice(text, described(criteria)))
    if kind == "score" and isinstance(criteria, list) and None not in criteria:
        return asks(f.at, lambda: Score(text, [text_of(x) for x in criteria]))
    needed = f"{f.name('criteria')} must be {KINDS[kind]}, not {said(criteria)}"
    raise RefusedError(400, needed, f.name("criteria"))


def described(criteria: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if x is None else text_of(x) for name, x in criteria.items()}


def system_one_answers(asked: Asking, made: Decisions) -> dict[str, Any]:
    """The answers under the ids of their questions."""
    usage = {"input_tokens": made.tokens, "output_tokens": 0, "x_forwards": made.rows}
    return {"model": asked.model, "answers": {qid: told(x) for qid, x in made.answers.items()}, "usage": usage}


def told(answer: Answer) -> dict[str, Any]:
    kind, names = answer.question.kind, answer.question.names
    if kind == "predicate":
        return {"type": "noul", "noul": answer.value, "x_label_mass": answer.mass}
    keys = names if kind == "choice" else tuple(map(str, range(len(names))))
    legend = {"legend": dict(zip(keys, names, strict=True))} if kind == "score" else {}
    return legend | {
        "type": kind, kind: answer.value, "confidence": answer.confidence, "x_label_mass": answer.mass,
        "probabilities": dict(zip(keys, answer.probabilities, strict=True)),
    }
