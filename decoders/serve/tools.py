"""Calls of functions: the tools of a chat as a constraint on its answer, and an answer as OpenAI's call."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decoders.constraints.grammar import InlineSchema
from decoders.serve.fields import Fields
from decoders.serve.refusals import RefusedError

SHOWN = 'You answer by calling a function: {"name": its name, "arguments": its arguments}. The functions, as JSON: '


@dataclass(frozen=True)
class Tools:
    """The functions of which the answer is to call one, by name: what is said of each in the request."""

    functions: dict[str, Mapping[str, Any]]

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
        return InlineSchema(json.dumps(calls[0] if len(calls) == 1 else {"anyOf": calls}))

    @property
    def message(self) -> dict[str, str]:
        """What the model is told of them."""
        return {"role": "system", "content": SHOWN + json.dumps(list(self.functions.values()), ensure_ascii=False)}


def read_tools(f: Fields) -> Tools | None:
    """The tools of a request of which one has to be called; none, where none may be. That a model should choose
    between a call and an answer of its own cannot be constrained, and is refused. Raises `RefusedError`."""
    functions = dict(function(Fields(x, f"tools[{i}]")) for i, x in enumerate(f.items("tools")))
    f.flag("parallel_tool_calls")
    choice = f.any("tool_choice")
    if isinstance(choice, dict):
        chosen = Fields(choice, "tool_choice")
        named = chosen.inner("function")
        if chosen.text("type") != "function" or named is None:
            raise RefusedError(400, 'tool_choice must be none, required, or {"type": "function", ...}', "tool_choice")
        name = named.needed("name")
        named.end()
        chosen.end()
        if name not in functions:
            raise RefusedError(400, f"tool_choice names {name!r}, and tools has no such function", "tool_choice")
        return Tools({name: functions[name]})
    if choice == "none" or (choice is None and not functions):
        return None
    if choice != "required" or not functions:
        raise RefusedError(
            400, "with tools, tool_choice has to be none, required or a function; auto is not supported", "tool_choice"
        )
    return Tools(functions)


def function(f: Fields) -> tuple[str, Mapping[str, Any]]:
    """The name of a tool, and what is said of it."""
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


def call(text: str) -> list[dict[str, Any]] | None:
    """An answer as a call; none, if it was cut short."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    said = {"name": found["name"], "arguments": json.dumps(found["arguments"], ensure_ascii=False)}
    return [{"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": said}]
