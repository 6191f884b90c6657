"""The desk: lets requests in as long as there is room, hands their prompts to the engine, and follows them."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import product

from decoders.decide import Decisions
from decoders.decide.decider import Decider
from decoders.decide.reader import Pending
from decoders.engine import Draft
from decoders.generator import Generator, wrapped
from decoders.serve.asks import Ask
from decoders.serve.decisions import Asking
from decoders.serve.holes import Place, between
from decoders.serve.metrics import Metrics
from decoders.serve.refusals import RefusedError
from decoders.stream import Stream
from decoders.text.records import Generation


@dataclass
class Job:
    """A text on its way."""

    stream: Stream
    place: Place
    sample: int
    """Which of those of its prompt."""
    began: float = field(default_factory=time.monotonic)
    first: float | None = None
    """Seconds to the first token that was final."""

    async def drafts(self) -> AsyncIterator[Draft]:
        async for draft in self.stream.news():
            if self.first is None and draft.settled:
                self.first = time.monotonic() - self.began
            yield draft

    async def made(self, metrics: Metrics) -> Generation:
        """What becomes of it."""
        async for _ in self.drafts():
            pass
        return self.ended(metrics)

    def ended(self, metrics: Metrics) -> Generation:
        """What became of it, after its last draft; the metrics are told."""
        made, whole = self.stream.result(), time.monotonic() - self.began
        metrics.ended(made, whole if self.first is None else self.first, whole)
        return self.place.only(made)


class Desk:
    """`queue`: how many texts may wait for a slot; beyond that a request is refused with 429."""

    def __init__(self, generator: Generator, queue: int, metrics: Metrics) -> None:
        self.generator, self.metrics = generator, metrics
        self.room = generator.slots + queue
        self.open, self.pace = 0, 1.0
        """Texts that are on their way, and how long one takes, lately."""

    @asynccontextmanager
    async def jobs(self, ask: Ask) -> AsyncIterator[list[Job]]:
        """The texts of a request; those that have not ended when the caller leaves are cancelled. Raises
        `RefusedError`, or `UsageError`."""
        begun, gone = list[Job](), threading.Event()
        with self.taken(ask.count):
            try:
                await asyncio.to_thread(self.begin, ask, begun, gone)
                yield begun
            finally:
                gone.set()
                for job in tuple(begun):
                    job.stream.cancel()

    async def decided(self, asked: Asking) -> Decisions:
        """The answers to questions; they are cancelled when the caller leaves. Together they take no more room than the
        texts that there are slots for, as each is one forward. Raises `RefusedError`, or `UsageError`."""
        begun, gone = list[Pending[Decisions]](), threading.Event()

        def begin() -> None:
            begun.append(Decider(self.generator).submit(asked.state, asked.questions))
            if gone.is_set():
                begun[0].cancel()

        with self.taken(min(len(asked.questions), self.generator.slots)):
            try:
                await asyncio.to_thread(begin)
                return await asyncio.wrap_future(begun[0].future)
            finally:
                gone.set()
                for pending in tuple(begun):
                    pending.cancel()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Room for so many texts. Raises `RefusedError` where there is none."""
        self.check(count)
        self.open += count
        since = time.monotonic()
        try:
            yield
            self.pace += 0.1 * (time.monotonic() - since - self.pace)
        finally:
            self.open -= count

    def check(self, count: int) -> None:
        if count > self.room:
            raise RefusedError(400, f"{count} texts are more than the {self.room} that this server holds", "n")
        if self.open + count > self.room:
            seconds = math.ceil(self.pace * max(self.open // self.generator.slots, 1))
            raise RefusedError(429, f"{self.open} texts are on their way already; try again later", retry_after=seconds)

    def begin(self, ask: Ask, begun: list[Job], gone: threading.Event) -> None:
        """Hand all texts of a request to the engine, in a thread beside the event loop: to read a schema can take
        seconds. Whoever asked may be gone before that is done."""
        for prompt, sample in product(ask.prompts, range(ask.n)):
            text, how, place = between(self.generator, ask, prompt)
            stream = self.generator.submit(text, seed=wrapped(ask.seed + sample), **how)
            job = Job(stream, place.found(stream.request.prompt), sample)
            begun.append(job)
            if gone.is_set():
                job.stream.cancel()
