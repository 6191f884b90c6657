"""Middleware for all routes: the id of a request, its API key, its line in the log, and an answer in every case."""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decoders.serve.refusals import RefusedError
from decoders.serve.replies import LOG, GoneError, refused

GONE = 499
LOCAL = "127.0.0.1", "localhost", "[::1]"
_PORT = re.compile(r":\d*$")
_ID = re.compile(r"[\w.:-]{1,64}")


class Front:
    """Wraps the application. With a `key`, everything below `/v1` needs it. A `local` server answers only requests to a
    local host name, which stops web pages whose own host name resolves to this machine (DNS rebinding). Bodies are
    never logged, nor are the messages of refusals, which may quote them."""

    def __init__(
        self, app: ASGIApp, requests: Counter, key: str | None, routes: Sequence[str], limit: int, local: bool
    ) -> None:
        self.app, self.requests, self.key, self.routes, self.limit = app, requests, key, routes, limit
        self.local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers, began = Headers(scope=scope), time.monotonic()
        asked = headers.get("x-request-id", "")
        scope["log"] = line = {"id": asked if _ID.fullmatch(asked) else secrets.token_hex(8)}
        status: int | None = None

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = line["id"]
            await send(message)

        try:
            self.check(scope["path"], headers)
            await self.app(scope, receive, answer)
        except GoneError:
            status = GONE
        except RefusedError as e:
            await refused(e, scope["path"])(scope, receive, answer)
        except Exception as e:  # Starlette has answered it and raises it again
            line["error"] = type(e).__name__
        finally:
            self.note(scope, line, status or GONE, time.monotonic() - began)

    def check(self, path: str, headers: Headers) -> None:
        """Raises `RefusedError`."""
        if self.local and _PORT.sub("", headers.get("host", "")).lower() not in LOCAL:
            raise RefusedError(403, "this server is for its own machine only: use 127.0.0.1 or localhost")
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self.key and path.startswith("/v1") and not hmac.compare_digest(given.encode(), self.key.encode()):
            raise RefusedError(401, "the API key is missing or wrong: send it as Authorization: Bearer KEY")
        size = headers.get("content-length", "0")
        if not size.isdecimal() or int(size) > self.limit:
            raise RefusedError(413, f"the body has more than the {self.limit} bytes that this server takes")

    def note(self, scope: Scope, line: dict[str, Any], status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self.routes else "other"
        self.requests.labels(route, status).inc()
        said = {"method": scope["method"], "route": route, "status": status, "seconds": round(seconds, 4)}
        level = logging.DEBUG if route in ("/health", "/ready", "/metrics") else logging.INFO
        LOG.log(level, "request", extra={"said": line | said})


class Lines(logging.Formatter):
    """A log of JSON objects, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        said = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        said |= getattr(record, "said", {})
        return json.dumps(said | ({"trace": self.formatException(record.exc_info)} if record.exc_info else {}))
