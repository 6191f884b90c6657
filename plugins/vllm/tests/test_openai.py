"""What clients of OpenAI's API send, as a request of ours, without a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from decoders_vllm.openai import Translated, translated
from decoders_vllm.requests import request_of
from decoders_vllm.served import Served
from engines import NANO

import decoders

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": 1.0, "seed": 7}, {"temperature": 1.0, "seed": 7}),
        ({"top_p": 0.9, "top_k": 5, "min_p": 0.1}, {"top_p": 0.9, "top_k": 5, "min_p": 0.1}),
        ({"top_p": 1, "top_k": -1, "min_p": 0.0, "temperature": None, "seed": None, "best_of": 1}, None),
        ({"vllm_xargs": {"decoder": "sdar"}, "seed": 3}, {"decoder": "sdar", "seed": 3}),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, {"constraint": 'json:{"type": "object"}'}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            {"constraint": f"json:{json.dumps(SCHEMA)}"},
        ),
        ({"structured_outputs": {"regex": "a+", "json": None}}, {"constraint": "regex:a+"}),
        ({"structured_outputs": {"json": SCHEMA}}, {"constraint": f"json:{json.dumps(SCHEMA)}"}),
        ({"structured_outputs": {"choice": ["a.b", "c"]}}, {"constraint": r"regex:a\.b|c"}),
    ],
    ids=str,
)
def test_goes_to_the_decoder(said: dict[str, Any], given: dict[str, Any] | None) -> None:
    body = translated({"model": "nano", "prompt": "x", "n": 2, **said})
    assert body == {"model": "nano", "prompt": "x", "n": 2, **({"vllm_xargs": given} if given else {})}


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"seed": 1, "vllm_xargs": {"seed": 2}}, "seed stands in the request and in its vllm_xargs"),
        ({"best_of": 3}, "best_of=3 has no effect"),
        ({"response_format": {"type": "json_schema"}}, "response_format must be"),
        ({"response_format": "json"}, "response_format must be"),
        ({"response_format": {"type": "text"}, "structured_outputs": {"regex": "a"}}, "take one"),
        ({"structured_outputs": {"grammar": "a"}}, "structured_outputs takes one of"),
        ({"structured_outputs": {"regex": "a", "json": SCHEMA}}, "structured_outputs takes one of"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(said: dict[str, Any], line: str) -> None:
    with pytest.raises(decoders.UsageError, match=line) as e:
        translated({"prompt": "x", **said})
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"temperature": -1}, "temperature must be at least 0"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"temperature": 0.5, "vllm_xargs": {"decoder": "llada2"}}, "llada2 has no option 'temperature'"),
        ({"seed": 1.5}, "seed must be an integer"), ({"seed": True}, "seed must be an integer"),
        ({"top_p": 7}, "top_p must be between 0 and 1"),
    ],
    ids=str,
)
def test_values_are_the_decoders_business(said: dict[str, Any], line: str) -> None:
    args = translated({"prompt": "x", **said})["vllm_xargs"]
    with pytest.raises(decoders.UsageError, match=line):
        request_of(Served.of(NANO, 756), args, 16, False)


def through(body: bytes, path: str = "/v1/completions", method: str = "POST") -> tuple[list[Any], list[Any]]:
    """What an application behind the middleware hears, and what the client does."""
    heard: list[Any] = []
    sent: list[Any] = []
    halves = [body[: len(body) // 2], body[len(body) // 2 :]]
    parts = [{"type": "http.request", "body": x, "more_body": i == 0} for i, x in enumerate(halves)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = dict(scope["headers"]).get(b"content-length")
        message = await receive()
        while message.get("more_body"):
            message["body"] += (following := await receive())["body"]
            message["more_body"] = following["more_body"]
        heard.extend([message["body"], size, (await receive())["type"]])

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-length", str(len(body)).encode())]}
    asyncio.run(Translated(app)(scope, receive, send))
    return heard, sent


def test_a_request_on_its_way() -> None:
    body = json.dumps({"prompt": "x", "temperature": 0.5}).encode()
    (found, size, then), sent = through(body)
    assert json.loads(found) == {"prompt": "x", "vllm_xargs": {"temperature": 0.5}}
    assert (size, then, sent) == (str(len(found)).encode(), "http.disconnect", [])
    assert through(body, "/v1/embeddings")[0][0] == body
    for strange in (b"{", b"[1]", b'{"vllm_xargs": 3, "seed": 1}', b"[" * 100000):
        assert through(strange)[0][0] == strange


def test_a_refused_request_is_answered_in_openais_form() -> None:
    heard, (start, content) = through(json.dumps({"best_of": 2}).encode())
    assert (heard, start["status"]) == ([], 400)
    assert "best_of=2" in json.loads(content["body"])["error"]["message"]
