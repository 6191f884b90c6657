"""Regular expressions and JSON schemas, compiled by outlines-core, and templates."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from decoders.constraints.automaton import Automaton, build
from decoders.constraints.base import Constraint, read_file
from decoders.constraints.expression import BEGIN, END, LARGEST, Expression
from decoders.core import UsageError
from decoders.files import parsed

RECURSION = 3
"""The depth to which a recursive schema is unrolled: a finite automaton has no memory of depth."""

SHOWN = 200
"""Characters of a regular expression that a message shows at most."""


def compiled(what: str, pattern: str, spellings: Mapping[int, bytes], vocab: int, ends: tuple[int, ...]) -> Automaton:
    """The automaton of a regular expression, matched as a whole. Raises `UsageError`; an expression that is too large
    is refused before it is compiled."""
    try:
        read = Expression.read(pattern)
    except ValueError as e:
        raise UsageError(f"{what}: {e}") from None
    if read.states > LARGEST:
        raise UsageError(
            f"{what[:100]} is too large: it has about {read.states} states, and up to {LARGEST} are compiled"
        )
    core = engine()
    by_text: dict[bytes, list[int]] = {END.encode(): [vocab], BEGIN.encode(): [vocab + 1]}
    for token, text in spellings.items():
        if text and token not in ends:
            by_text.setdefault(text, []).append(token)
    try:
        index = core.Index(read.whole, core.Vocabulary(vocab + 2, by_text))
    except Exception as e:  # its errors have no type of their own
        raise UsageError(f"{what}: {first_line(e).replace(read.whole, read.text)}") from None
    over, moves = set(index.get_final_states()), index.get_transitions()
    start = moves[index.get_initial_state()][vocab + 1]
    return build(start, sorted(s for s, by in moves.items() if by.get(vocab) in over), moves, vocab, ends, what)


def engine() -> Any:
    """outlines-core. Raises `UsageError` if it is not installed."""
    try:
        return importlib.import_module("outlines_core")
    except ImportError:
        raise UsageError(
            "regular expressions and JSON schemas need outlines-core: pip install 'dllm-decoders[constraints]'"
        ) from None


def first_line(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0]


@dataclass(frozen=True)
class Regex(Constraint):
    """The whole text matches a regular expression."""

    def automaton(self, spellings: Mapping[int, bytes], vocab: int, ends: tuple[int, ...]) -> Automaton:
        shown = self.text if len(self.text) <= SHOWN else f"{self.text[:SHOWN]}..."
        return compiled(f"the regular expression {shown!r}", self.text, spellings, vocab, ends)


@dataclass(frozen=True)
class InlineSchema(Constraint):
    """The text is JSON that a schema describes: keys in the schema's order, at most one space where JSON allows space.
    A schema that refers to itself is unrolled three deep."""

    what: ClassVar[str] = "the JSON schema"

    @property
    def schema(self) -> str:
        """The schema itself, as JSON."""
        return self.text

    def pattern(self, described: str) -> str:
        """The regular expression of the texts, made from that of the schema."""
        return described

    def automaton(self, spellings: Mapping[int, bytes], vocab: int, ends: tuple[int, ...]) -> Automaton:
        what, text = f"{self.what} {self.text[:100]}", self.schema
        try:
            schema = parsed(text)
        except ValueError as e:
            raise UsageError(f"{what} is no JSON: {first_line(e)}") from None
        return compiled(what, self.pattern(schema_pattern(what, schema)), spellings, vocab, ends)


@dataclass(frozen=True)
class JsonSchema(InlineSchema):
    """The text is JSON that a schema in a file describes: keys in the schema's order, at most one space where JSON
    allows space. A schema that refers to itself is unrolled three deep."""

    @property
    def schema(self) -> str:
        return read_file("json", self.text)


def schema_pattern(what: str, schema: Any) -> str:
    """The regular expression of the texts that a JSON schema allows. Raises `UsageError` for what cannot be one."""
    try:
        return str(engine().json_schema.build_regex_from_schema(json.dumps(schema), None, RECURSION))
    except Exception as e:
        raise UsageError(f"{what}: {first_line(e)}") from None


_HOLE = re.compile(r"\{\{(\d+)\}\}")
MOST_HOLES = 1 << 20


@dataclass(frozen=True)
class Template(Constraint):
    """The text is that of a file except for its holes: `{{3}}` leaves three tokens open, and so do three of the model's
    mask tokens."""

    def canvas(self, encode: Callable[[str], list[int]], mask: str) -> list[int]:
        text = read_file("template", self.text).removesuffix("\n")
        if not mask:
            raise UsageError("this model has no mask token, so a template cannot leave anything open")
        holes = sum(int(n[:9]) for n in _HOLE.findall(text))  # of longer numbers the beginning is large enough
        if holes > MOST_HOLES:
            raise UsageError(
                f"the template {self.text} leaves {holes} tokens open, and no model has room for more than {MOST_HOLES}"
            )
        found = encode(_HOLE.sub(lambda m: mask * int(m[1]), text))
        if encode(mask)[0] not in found:
            raise UsageError(f"the template {self.text} has no hole; write {{{{N}}}} where N tokens are open")
        return found
