"""Calls of functions: the tools of a chat as a constraint on its answer, and an answer as OpenAI's call."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from decoders.constraints.grammar import InlineSchema
from decoders.serve.fields import Fields
from decoders.serve.refusals import RefusedError

SHOWN = 'You answer by calling a function: {"name": its name, "arguments": its arguments}. The functions, as JSON: '
OFFERED = (
    'You may answer by calling a function: {"name": its name, "arguments": its arguments}; any other answer is plain '
    "text. The functions, as JSON: "
)
NO_CALL = r"(?:\s*[^\s{](?:.|\n)*)?"
"""Texts that are not calls: all that do not begin with a brace."""
_HEAD = re.compile(r'\{\s?"name"\s?:\s?("(?:[^"\\]|\\.)*")\s?,\s?"arguments"\s?:\s?')


class CallOrText(InlineSchema):
    """The text is JSON that a schema describes, or does not begin like an object."""

    def pattern(self, described: str) -> str:
        return f"(?:{described})|{NO_CALL}"


@dataclass(frozen=True)
class Tools:
    """The functions of which the answer calls one, by name, with the description of each from the request. `offered`:
    the answer may also be a text."""

    functions: dict[str, Mapping[str, Any]]
    offered: bool = False

    @property
    def constraint(self) -> InlineSchema:
        """The answer is a call of one of them."""
        calls = [
            {
                "type": "object", "properties": {"name": {"const": name}, "arguments": f["parameters"]},
                "required": ["name", "arguments"], "additionalProperties": False,
            }
            for name, f in self.functions.items()
        ]
        schema = json.dumps(calls[0] if len(calls) == 1 else {"anyOf": calls})
        return CallOrText(schema) if self.offered else InlineSchema(schema)

    @property
    def message(self) -> dict[str, str]:
        """The description of the functions for the model."""
        told = json.dumps(list(self.functions.values()), ensure_ascii=False)
        return {"role": "system", "content": (OFFERED if self.offered else SHOWN) + told}


def read_tools(f: Fields) -> Tools | None:
    """The tools of a request of which one has to be, or may be, called; None if none may. Raises `RefusedError`."""
    functions = dict(function(Fields(x, f"tools[{i}]")) for i, x in enumerate(f.items("tools")))
    f.flag("parallel_tool_calls")
    choice = f.any("tool_choice")
    if isinstance(choice, dict):
        chosen = Fields(choice, "tool_choice")
        named = chosen.inner("function")
        if chosen.text("type") != "function" or named is None:
            raise RefusedError(400, f"tool_choice must be {CHOICES}", "tool_choice")
        name = named.needed("name")
        named.end()
        chosen.end()
        if name not in functions:
            raise RefusedError(400, f"tool_choice names {name!r}, and tools has no such function", "tool_choice")
        return Tools({name: functions[name]})
    if choice not in (None, "none", "auto", "required"):
        raise RefusedError(400, f"tool_choice must be {CHOICES}", "tool_choice")
    if choice not in (None, "none") and not functions:
        raise RefusedError(400, f"tool_choice is {choice}, and there are no tools", "tool_choice")
    return None if choice == "none" or not functions else Tools(functions, offered=choice != "required")


CHOICES = 'none, auto, required, or {"type": "function", ...}'


def function(f: Fields) -> tuple[str, Mapping[str, Any]]:
    """The name of a tool, and its description."""
    inner = f.inner("function")
    if f.text("type") != "function" or inner is None:
        raise RefusedError(400, f"{f.at} must be a function", f.at)
    f.end()
    name, said = inner.needed("name"), inner.text("description")
    parameters = inner.any("parameters") or {"type": "object", "properties": {}, "additionalProperties": False}
    if not isinstance(parameters, dict):
        raise RefusedError(400, f"{inner.at}.parameters must be a JSON schema", inner.name("parameters"))
    inner.flag("strict")
    inner.end()
    return name, {"name": name, **({"description": said} if said else {}), "parameters": parameters}


def said(f: Fields) -> str:
    """A call in a message, in the form in which the model writes calls."""
    f.text("id")
    inner = f.inner("function")
    if f.text("type", "function") != "function" or inner is None:
        raise RefusedError(400, f"{f.at} must be a call of a function", f.at)
    f.end()
    name, arguments = inner.needed("name"), inner.needed("arguments")
    inner.end()
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments}}}'


@dataclass
class Calling:
    """A call while it is written: its name as soon as that is known, and its arguments piece by piece, as in the
    text."""

    id: str = ""
    sent: int = 0

    def __call__(self, text: str, ended: bool = False) -> Iterator[dict[str, Any]]:
        """The new part of a growing text, in OpenAI's form. The brace that ends the call is not part of its
        arguments."""
        head = _HEAD.match(text)
        if head is None:
            return
        if not self.id:
            self.id = f"call_{secrets.token_hex(12)}"
            named = {"name": json.loads(head[1]), "arguments": ""}
            yield {"index": 0, "id": self.id, "type": "function", "function": named}
        said = text[head.end() :]
        said = said.rstrip().removesuffix("}").rstrip() if ended else said.rstrip("} \n")
        if len(said) > self.sent:
            yield {"index": 0, "function": {"arguments": said[self.sent :]}}
            self.sent = len(said)


def is_call(text: str) -> bool:
    """Whether a text is a call, and not one that was cut short, or something else."""
    if not _HEAD.match(text):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def call(text: str) -> list[dict[str, Any]] | None:
    """An answer as a call; None if it is not a call."""
    if not is_call(text):
        return None
    first, *rest = Calling()(text, ended=True)
    said = first["function"] | (rest[0]["function"] if rest else {})
    return [{"id": first["id"], "type": "function", "function": said}]
