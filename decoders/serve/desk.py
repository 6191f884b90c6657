"""The desk: admits requests as long as there is room, passes their prompts to the engine, and follows them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product

from decoders.decide import Decisions
from decoders.decide.decider import Decider
from decoders.decide.reader import Pending
from decoders.engine import Draft
from decoders.generator import Generator, wrapped
from decoders.serve.asks import Ask
from decoders.serve.decisions import Asking
from decoders.serve.edits import likeliest
from decoders.serve.gate import Gate
from decoders.serve.holes import Place, canvases
from decoders.serve.metrics import Metrics
from decoders.stream import Stream
from decoders.text.records import Generation


@dataclass
class Job:
    """A text that is being decoded, on one canvas, or on several of which one will be chosen."""

    ways: list[tuple[Stream, Place]]
    sample: int
    """Its number among the samples of its prompt."""
    began: float = field(default_factory=time.monotonic)
    first: float | None = None
    """Seconds to the first token that was final."""

    @property
    def tokens(self) -> int:
        """Those of the prompt."""
        return self.ways[0][1].tokens

    async def drafts(self) -> AsyncIterator[Draft]:
        """The drafts until it has ended; none while no canvas is chosen."""
        for stream, _ in self.ways:
            async for draft in stream.news():
                if len(self.ways) > 1:
                    continue
                if self.first is None and draft.settled:
                    self.first = time.monotonic() - self.began
                yield draft

    async def made(self, metrics: Metrics) -> Generation:
        """What becomes of it."""
        async for _ in self.drafts():
            pass
        return self.ended(metrics)

    def ended(self, metrics: Metrics) -> Generation:
        """Its result, after its last draft; the metrics are updated."""
        whole, found = time.monotonic() - self.began, list[Generation]()
        for stream, place in self.ways:
            made = stream.result()
            metrics.ended(made, whole if self.first is None else self.first, whole)
            found.append(place.only(made))
        return found[0] if len(found) == 1 else likeliest(found)

    def cancel(self) -> None:
        for stream, _ in self.ways:
            stream.cancel()


class Desk(Gate):
    """`queue`: how many texts may wait for a slot; beyond that a request is refused with 429."""

    def __init__(self, generator: Generator, queue: int, metrics: Metrics) -> None:
        super().__init__(generator.slots, queue)
        self.generator, self.metrics = generator, metrics

    @asynccontextmanager
    async def jobs(self, ask: Ask) -> AsyncIterator[list[Job]]:
        """The texts of a request; those that have not ended when the caller leaves are cancelled. Raises
        `RefusedError`, or `UsageError`."""
        begun, gone = list[Job](), threading.Event()
        with self.taken(ask.rows):
            try:
                await asyncio.to_thread(self.begin, ask, begun, gone)
                yield begun
            finally:
                gone.set()
                for job in tuple(begun):
                    job.cancel()

    async def decided(self, asked: Asking) -> Decisions:
        """The answers to questions; they are cancelled when the caller leaves. Together they take no more room than the
        texts for which there are slots, because each is one forward. Raises `RefusedError`, or `UsageError`."""
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

    def begin(self, ask: Ask, begun: list[Job], gone: threading.Event) -> None:
        """Pass all texts of a request to the engine, in a thread beside the event loop, because reading a schema can
        take seconds. The client may be gone before that is done."""
        until = None if ask.timeout is None else time.monotonic() + ask.timeout
        for prompt, sample in product(ask.prompts, range(ask.n)):
            job = Job([], sample)
            begun.append(job)
            for text, how, place in canvases(self.generator, ask, prompt):
                stream = self.generator.submit(text, seed=wrapped(ask.seed + sample), deadline=until, **how)
                job.ways.append((stream, place.found(stream.request.prompt)))
                if gone.is_set():
                    stream.cancel()
