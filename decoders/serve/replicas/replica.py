"""A replica: a model, its engine, and the application without its middleware."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ray import serve
from starlette.types import ASGIApp, Message, Scope

from decoders.core import UsageError
from decoders.serve.app import App
from decoders.serve.front import Lines
from decoders.serve.replies import LOG
from decoders.serve.setup import Setup

GRACE = 60
FULL: Message = {"type": "http.response.start", "status": 429, "headers": []}
END = "decoders.end"
"""The type of the last message of an answer, which contains its line of the log."""


@dataclass(frozen=True)
class Asked:
    """A request that is sent to a replica."""

    id: str
    texts: int
    """An estimate of the number of texts that it requests, by which a replica is chosen."""
    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def scope(self) -> Scope:
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": self.method,
            "path": self.path, "raw_path": self.path.encode(), "query_string": b"", "root_path": "",
            "headers": self.headers, "log": {"id": self.id},
        }


@dataclass(frozen=True)
class About:
    """Facts about a replica for the ingress; `error`: why it has no model."""

    error: str | None = None
    name: str = ""
    paths: tuple[str, ...] = ()


class Replica:
    """The class that Ray Serve runs several times. If the model cannot be loaded, `about` reports it in one line; for
    this purpose a replica without a model lives for `GRACE` seconds."""

    def __init__(self, setup: Setup) -> None:
        self.started = time.monotonic()
        self.log = Kept()
        LOG.handlers, LOG.propagate = [self.log], False
        try:
            self.app: App | UsageError = setup.app()
        except UsageError as e:
            self.app = e

    def about(self) -> About:
        if isinstance(self.app, UsageError):
            return About(error=str(self.app))
        return About(None, self.app.name, tuple(self.app.paths))

    async def answer(self, asked: Asked) -> AsyncGenerator[list[Message], None]:
        """The messages of an answer, in batches of those that arrived since the last. Leaving early frees the slots."""
        if isinstance(self.app, UsageError):
            yield [FULL]  # another replica may have a model
            return
        scope = asked.scope
        async with aclosing(conversation(self.app.inner, scope, asked.body)) as messages:
            async for some in messages:
                yield some
        yield [{"type": END, "line": scope["log"], "lines": self.log.taken()}]

    async def numbers(self) -> tuple[str, str]:
        """The id of this replica, and its metrics as text."""
        text = "" if isinstance(self.app, UsageError) else self.app.metrics.text().decode()
        return serve.get_replica_context().replica_id.unique_id, text

    def check_health(self) -> None:
        """Ray Serve replaces a replica for which this raises."""
        if isinstance(self.app, UsageError):
            if time.monotonic() > self.started + GRACE:
                raise self.app
        elif not self.app.generator.service.thread.is_alive():
            raise RuntimeError("the engine has stopped")


async def conversation(app: ASGIApp, scope: Scope, body: bytes) -> AsyncGenerator[list[Message], None]:
    """The messages of the application for a request. Errors that it raises have been answered and logged already."""
    said: asyncio.Queue[Message | None] = asyncio.Queue()
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not asked:
            await asyncio.Event().wait()  # a client that leaves shows as a cancellation
        return asked.pop()

    async def send(message: Message) -> None:
        said.put_nowait(message)

    task = asyncio.ensure_future(app(scope, receive, send))
    task.add_done_callback(lambda _: said.put_nowait(None))
    try:
        more = True
        while more:
            some = [await said.get(), *(said.get_nowait() for _ in range(said.qsize()))]
            more = None not in some
            if messages := [m for m in some if m is not None]:
                yield messages
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Kept(logging.Handler):
    """Keeps lines of the log until they are sent with an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(Lines())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def taken(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines
