"""Translates requests of OpenAI's API for this plugin: sampling parameters that vLLM does not support for diffusion
models become options of the decoder, and a response format becomes a constraint.

`decoders serve` adds it to vLLM's server with vLLM's own option for middleware.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from decoders.core import UsageError

PATHS = "/v1/completions", "/v1/chat/completions"
IDLE = {"temperature": (), "top_p": (1,), "top_k": (0, -1), "min_p": (0,), "seed": ()}
"""The parameters that are passed to the decoder, and for each the values that have no effect."""

Scope, Receive, Send = Mapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]


def translated(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request, with the parameters for this plugin moved to `vllm_xargs`. Raises `UsageError` for
    parameters that have no meaning here, and for those that are set in both places."""
    rest, given = dict(body), dict(body.get("vllm_xargs") or {})
    said: dict[str, Any] = {}
    for name, idle in IDLE.items():
        value = rest.pop(name, None)
        if value is not None and (isinstance(value, bool) or value not in idle):
            said[name] = value
    constraint = constraint_of(rest.pop("response_format", None), rest.pop("structured_outputs", None))
    if constraint is not None:
        said["constraint"] = constraint
    for name in said:
        if name in given:
            raise UsageError(f"{name} stands in the request and in its vllm_xargs; leave one out")
    if (best_of := rest.pop("best_of", None)) not in (None, 1, rest.get("n")):
        raise UsageError(f"best_of={best_of!r} has no effect here: n samples are n answers, and none is left out")
    return rest | ({"vllm_xargs": given | said} if given or said else {})


def constraint_of(response_format: Any, structured: Any) -> str | None:
    """The constraint of a response format, or of vLLM's `structured_outputs`. Raises `UsageError` for an invalid
    one."""
    if response_format is None and structured is None:
        return None
    if response_format is not None and structured is not None:
        raise UsageError("response_format and structured_outputs are two ways to say what the text has to be; take one")
    if structured is not None:
        return constraint_written(structured)
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return f"json:{json.dumps({'type': 'object'})}"
    inner = response_format.get("json_schema") if kind == "json_schema" else None
    if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
        raise UsageError(
            'response_format must be {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema", '
            f'"json_schema": {{"schema": ...}}}}, not {json.dumps(response_format)[:100]}'
        )
    return f"json:{json.dumps(inner['schema'])}"


def constraint_written(structured: Any) -> str:
    """The constraint of vLLM's `structured_outputs`. Raises `UsageError` for an invalid one."""
    match {key: x for key, x in structured.items() if x is not None} if isinstance(structured, dict) else None:
        case {"regex": str(pattern), **more} if not more:
            return f"regex:{pattern}"
        case {"json": str(schema), **more} if not more:
            return f"json:{schema}"
        case {"json": dict(schema), **more} if not more:
            return f"json:{json.dumps(schema)}"
        case {"json_object": True, **more} if not more:
            return f"json:{json.dumps({'type': 'object'})}"
        case {"choice": [*texts], **more} if not more and texts and all(isinstance(t, str) for t in texts):
            return f"regex:{'|'.join(map(re.escape, texts))}"
    said = str(structured)[:100]
    raise UsageError(f"structured_outputs takes one of regex, json, json_object and choice, not {said}")


class Translated:
    """An ASGI application whose requests are `translated`."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).removeprefix(str(scope.get("root_path", "")))
        if scope["type"] != "http" or scope["method"] != "POST" or path not in PATHS:
            return await self.app(scope, receive, send)
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client has left
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        try:
            asked = json.loads(body)
            if isinstance(asked, dict) and isinstance(asked.get("vllm_xargs") or {}, dict):
                body = json.dumps(translated(asked)).encode()
        except UsageError as e:
            return await refuse(send, str(e))
        except (ValueError, RecursionError):
            pass  # not JSON: the server's own message is better
        await self.app(sized(scope, len(body)), replayed(body, receive), send)


def sized(scope: Scope, size: int) -> Scope:
    """The scope of a request, with another content length in bytes."""
    headers = [(name, x) for name, x in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(size).encode())]}


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns the body in one piece, and then further messages."""
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return parts.pop() if parts else await receive()

    return again


async def refuse(send: Send, line: str) -> None:
    """Send HTTP 400 in OpenAI's format."""
    error = {"message": line, "type": "BadRequestError", "param": None, "code": 400}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})
