"""The application: its paths and their handlers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from decoders import specs
from decoders.core import UsageError
from decoders.decide import Decisions
from decoders.generator import Generator
from decoders.serve.asks import Ask, Kind, read
from decoders.serve.decisions import Asking
from decoders.serve.desk import Desk, Job
from decoders.serve.forms import Form, usage
from decoders.serve.front import Front
from decoders.serve.metrics import Metrics
from decoders.serve.names import SEPARATOR
from decoders.serve.openai_decisions import openai_answers, read_openai
from decoders.serve.page import PAGE, POLICY
from decoders.serve.refusals import SYSTEM_ONE, RefusedError
from decoders.serve.replies import Json, attended, body_of, events, noted, refused
from decoders.serve.streams import chunks
from decoders.serve.system_one import read_system_one, system_one_answers
from decoders.settings import settings
from decoders.text.records import Generation

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class App:
    """A server of one model. `queue`: texts that may wait; `body`: bytes of the largest body; `key`: the API key of
    clients; `local`: only requests to a local host name are answered; `deadline`: the most seconds that an answer may
    take."""

    generator: Generator
    name: str
    queue: int = 256
    body: int = 4 << 20
    key: str | None = None
    local: bool = False
    deadline: float | None = None

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.generator.service)
        self.desk = Desk(self.generator, self.queue, self.metrics)
        self.started = int(time.time())

    @property
    def asgi(self) -> ASGIApp:
        """The application with its middleware."""
        return Front(self.inner, self.metrics.requests, self.key, self.paths, self.body, self.local)

    @property
    def inner(self) -> Starlette:
        """The application without middleware."""
        return Starlette(routes=self.routes, exception_handlers=dict.fromkeys(TOLD, told))

    @property
    def paths(self) -> list[str]:
        return [r.path for r in self.routes]

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/", self.page), Route("/health", self.health), Route("/ready", self.ready),
            Route("/metrics", self.numbers), Route("/v1/models", self.models),
            *(Route(kind.value, partial(self.answered, kind), methods=["POST"]) for kind in Kind),
            Route("/v1/decisions", self.decisions, methods=["POST"]),
            Route(SYSTEM_ONE, self.system_one, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"})

    async def health(self, request: Request) -> Response:
        if not self.generator.service.thread.is_alive():
            raise RefusedError(503, "the engine has stopped")
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        if self.generator.service.closing or self.desk.open >= self.desk.room:
            raise RefusedError(503, "the server is full, or stopping", retry_after=1)
        return PlainTextResponse("ready\n")

    async def numbers(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type=EXPOSITION)

    async def models(self, request: Request) -> Response:
        """The model, and the model with each decoder that can run it, for clients that can only choose a model."""
        names = await asyncio.to_thread(lambda: self.decoders)
        known = {self.name: self.generator.decoder_spec, **{f"{self.name}{SEPARATOR}{d}": d for d in names}}
        common = {"object": "model", "created": self.started, "owned_by": "decoders", "mask": self.generator.mask}
        common |= {"max_model_len": self.generator.loaded.positions}
        data = [{"id": name, "decoder": decoder, **common} for name, decoder in known.items()]
        described = [{"name": x["id"], "description": x["decoder"], "release_date": ""} for x in data]
        return Json({"object": "list", "data": data, "models": described})  # the latter in System One's form

    @cached_property
    def decoders(self) -> tuple[str, ...]:
        """The names of the decoders that run on the model as they are."""
        return tuple(name for name in specs.table("strategies") if self.runs(name))

    def runs(self, name: str) -> bool:
        loaded = self.generator.loaded
        try:
            settings(name).on(loaded.model, loaded.never, loaded.block)
        except UsageError:
            return False
        return name != "after_reasoning"  # a request cannot name a reasoner for it

    async def answered(self, kind: Kind, request: Request) -> Response:
        """The answer to a request at one of the paths for texts."""
        body = await body_of(request, self.body)
        ask = read(body, self.name, kind, self.deadline)
        form = Form(body.get("model") or self.name, kind, self.generator.loaded.tokenizer.decode)
        line = request.scope["log"]
        line |= {"texts": ask.count, "decoder": ask.how["decoder"] or self.generator.decoder_spec}
        if ask.stream:
            return await events(request.receive, chunks(self.desk, ask, form))
        jobs, made = await attended(request.receive, self.made(ask))
        line |= {"usage": usage(jobs, made)}
        return Json(form.whole(jobs, made, ask.tools is not None))

    async def decisions(self, request: Request) -> Response:
        return await self.decided(request, read_openai, openai_answers)

    async def system_one(self, request: Request) -> Response:
        return await self.decided(request, read_system_one, system_one_answers)

    async def decided(
        self, request: Request, read: Callable[[Any, str], Asking], form: Callable[[Asking, Decisions], dict[str, Any]]
    ) -> Response:
        asked = read(await body_of(request, self.body), self.name)
        line = request.scope["log"]
        line |= {"questions": len(asked.questions)}
        made = await attended(request.receive, self.desk.decided(asked))
        for answer in made.answers.values():
            self.metrics.answers.labels(answer.question.kind).inc()
        line |= {"usage": {"input_tokens": made.tokens, "forwards": made.rows}}
        return Json(form(asked, made))

    async def made(self, ask: Ask) -> tuple[list[Job], list[Generation]]:
        async with self.desk.jobs(ask) as jobs:
            return jobs, await asyncio.gather(*(job.made(self.metrics) for job in jobs))


TOLD: tuple[type[Exception], ...] = (HTTPException, RefusedError, UsageError, Exception)


async def told(request: Request, e: Exception) -> Response:
    """The answer to a request that failed. Starlette itself refuses unknown paths and other methods."""
    if isinstance(e, HTTPException):
        unknown = e.status_code == 404
        what = f"there is no {request.url.path!r} here" if unknown else f"{request.method} is not for this path"
        e = RefusedError(e.status_code, what)
    noted(request.scope, e)
    return refused(e, request.url.path)
