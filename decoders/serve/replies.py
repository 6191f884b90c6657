"""Requests in, replies out: bodies, disconnects, and server-sent events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from decoders.core import UsageError
from decoders.files import parsed
from decoders.serve.refusals import RefusedError, refusal

LOG = logging.getLogger("decoders.serve")
T = TypeVar("T")


class GoneError(Exception):
    """The client went away."""


async def body_of(request: Request, limit: int) -> Any:
    """The JSON body of a request, of at most `limit` bytes. Raises `RefusedError`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, "send JSON, with the header Content-Type: application/json")
    read = await bytes_of(request, limit)
    try:
        return parsed(read)
    except ValueError as e:
        raise RefusedError(400, str(e)) from None


async def bytes_of(request: Request, limit: int) -> bytes:
    """The body of a request, of at most `limit` bytes. Raises `RefusedError`."""
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > limit:
            raise RefusedError(413, f"the body has more than the {limit} bytes that this server takes")
    return bytes(read)


async def leaves(receive: Receive) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def attended(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is cancelled when the client goes away; then `GoneError`."""
    task, gone = asyncio.create_task(work), asyncio.create_task(leaves(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise GoneError
        return task.result()
    finally:
        task.cancel(), gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


class Events(Response):
    """Server-sent events, of which the first is known, so that an error of the request is reported by its status."""

    media_type = "text/event-stream"

    def __init__(self, first: dict[str, Any], rest: AsyncGenerator[dict[str, Any], None]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.first, self.rest = first, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await attended(receive, self.sent(scope, send))
        finally:
            await self.rest.aclose()

    async def sent(self, scope: Scope, send: Send) -> None:
        async def say(data: str, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": more})

        await say(json.dumps(self.first))
        try:
            async for event in self.rest:
                await say(json.dumps(event))
        except Exception as e:
            noted(scope, e)
            await say(json.dumps(refusal(e).body), more=False)
        else:
            await say("[DONE]", more=False)


async def events(receive: Receive, source: AsyncGenerator[dict[str, Any], None]) -> Events:
    """A reply of events, once there is one. Raises what the source does before that."""
    try:
        return Events(await attended(receive, anext(source)), source)
    except BaseException:
        await source.aclose()
        raise


class Json(JSONResponse):
    """JSON in ASCII: a message may quote half of a character that a client sent."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode()


def noted(scope: Scope, e: Exception) -> None:
    """Log the kind and the place of an error, if it is the server's own."""
    line = scope["log"]
    line["error"] = type(e).__name__
    if not isinstance(e, RefusedError | UsageError):
        LOG.error("failed", exc_info=e, extra={"said": {"id": line["id"]}})


def refused(e: Exception, path: str) -> Json:
    r = refusal(e)
    return Json(*r.told(path), r.headers)
