"""The ingress: the one process that clients talk to, in front of the replicas."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from prometheus_client import CollectorRegistry, Counter, generate_latest
from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decoders.files import parsed
from decoders.serve.app import EXPOSITION, TOLD, told
from decoders.serve.front import Front
from decoders.serve.gate import Gate
from decoders.serve.metrics import requests
from decoders.serve.refusals import RefusedError
from decoders.serve.replicas.replica import END, About, Asked
from decoders.serve.replicas.sums import labelled
from decoders.serve.replies import attended, bytes_of
from decoders.serve.setup import Setup

TRIES = 3
"""A request is given up after so many replicas died while they worked on it, because it may be the cause."""
PAUSE = 0.2
"""Seconds after which an admitted request asks again for a place, if replicas are full because one of them died."""
PATIENCE = 5.0
"""Seconds that replicas have for reporting their state."""


class FullError(Exception):
    """A replica has no room for a request."""


class Ingress:
    """Passes requests to replicas, and restarts a request whose replica died before any part of its answer was sent.

    `replicas`: their number; `setup`: that of each; `key` and `local` as in `App`."""

    def __init__(
        self, handle: DeploymentHandle[Any], about: About, replicas: int, setup: Setup, key: str | None, local: bool
    ) -> None:
        self.handle, self.about, self.body, self.key, self.local = handle, about, setup.body, key, local
        self.gate = Gate(replicas * setup.slots, replicas * setup.queue)
        self.registry = CollectorRegistry()
        self.requests = requests(self.registry)
        self.again = Counter(
            "decoders_retried_total", "Requests that were begun again since their replica died.", registry=self.registry
        )

    @property
    def asgi(self) -> ASGIApp:
        routes = [
            Route("/health", self.health), Route("/ready", self.ready), Route("/metrics", self.numbers),
            Mount("/", app=self.relay),
        ]
        inner = Starlette(routes=routes, exception_handlers=dict.fromkeys(TOLD, told))
        return Front(inner, self.requests, self.key, self.about.paths, self.body, self.local)

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        if self.gate.open >= self.gate.room:
            raise RefusedError(503, "the server is full", retry_after=1)
        if not await self.counted():
            raise RefusedError(503, "no replica is running", retry_after=1)
        return PlainTextResponse("ready\n")

    async def numbers(self, request: Request) -> Response:
        text = generate_latest(self.registry) + labelled(await self.counted())
        return Response(text, media_type=EXPOSITION)

    async def counted(self) -> dict[str, str]:
        """The metrics of those replicas that answer, by their ids."""
        asked = self.handle.broadcast("numbers").results_async(timeout_s=PATIENCE, return_exceptions=True)
        try:
            found = await asked
        except TimeoutError:
            return {}
        return dict(x for x in found if not isinstance(x, BaseException))

    async def relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every other request to a replica."""
        request = Request(scope, receive)
        body = await bytes_of(request, self.body)
        texts = texts_of(body)
        asked = Asked(scope["log"]["id"], texts, request.method, scope["path"], scope["headers"], body)
        with self.gate.taken(texts):
            await attended(receive, self.answered(asked, scope["log"], send))

    async def answered(self, asked: Asked, line: dict[str, Any], send: Send) -> None:
        """Raises `RefusedError` if replica after replica dies."""
        deaths = 0
        while deaths < TRIES:
            answer = Answer(send, line)
            try:
                return await answer.sent(self.said(asked))
            except FullError:
                await asyncio.sleep(PAUSE)
            except RayError as e:
                if isinstance(e, RayTaskError | TaskCancelledError):
                    raise
                if answer.begun:
                    return await answer.broken()
                deaths += 1
                self.again.inc()
        raise RefusedError(503, f"{TRIES} replicas died while they worked on this request")

    async def said(self, asked: Asked) -> AsyncGenerator[list[Message], None]:
        """The messages of a replica. Leaving early ends its work."""
        response: Any = self.handle.answer.options(stream=True).remote(asked)
        try:
            async for some in response:
                yield some
        finally:
            response.cancel()


class Answer:
    """An answer that is being sent to the client. Its head and its end are held back until more arrives: so an answer
    that is not a stream is sent as a whole or not at all, and the line of the log is known before the client can
    leave."""

    def __init__(self, send: Send, line: dict[str, Any]) -> None:
        self.send, self.line = send, line
        self.held: list[Message] = []
        self.begun = False

    async def sent(self, messages: AsyncGenerator[list[Message], None]) -> None:
        """Raises `FullError`, and what the source does."""
        async with aclosing(messages):
            async for some in messages:
                for message in some:
                    await self.take(message)
        await self.pass_on()

    async def take(self, message: Message) -> None:
        if message["type"] == END:
            self.line |= message["line"]
            for text in message["lines"]:
                print(text, file=sys.stderr, flush=True)
        elif message.get("status") == 429:
            raise FullError
        else:
            self.held.append(message)
            if message.get("more_body"):
                await self.pass_on()

    async def pass_on(self) -> None:
        held, self.held, self.begun = self.held, [], True
        for message in held:
            await self.send(message)

    async def broken(self) -> None:
        """End a stream whose replica died: sent text cannot be taken back, and another replica cannot continue from
        there."""
        self.held, self.line["error"] = [], "ReplicaLost"
        e = RefusedError(502, "the replica that wrote this died; ask again", code="replica_lost")
        await self.send({"type": "http.response.body", "body": f"data: {json.dumps(e.body)}\n\n".encode()})


def texts_of(body: bytes) -> int:
    """An estimate of the number of texts that a body requests; the replica checks the body."""
    try:
        found = parsed(body)
    except ValueError:
        return 1
    if not isinstance(found, dict):
        return 1
    prompt, n = found.get("prompt"), found.get("n")
    prompts = len(prompt) if isinstance(prompt, list) else 1
    return max(prompts, 1) * (n if isinstance(n, int) and n > 0 else 1)
