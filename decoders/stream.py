"""A prompt that is being decoded: drafts of its text, and the result at the end."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from decoders.engine import Draft, Request, Service
from decoders.job import Item, Job, outcome
from decoders.text.records import Generation, or_raise


@dataclass(frozen=True)
class Partial:
    """A text after a forward."""

    text: str
    """Its settled part, from the left."""
    pieces: tuple[str | None, ...]
    """The provisional token of each position right of it; None at open positions."""
    step: int
    """Forwards so far."""


class Stream:
    """A prompt that is being decoded: iterate over it, with `for` or `async for`, for its drafts (`Partial`), and ask
    it for its `result`. An iteration that is left early does not end it; `cancel` does."""

    def __init__(self, service: Service, job: Job, item: Item, deadline: float | None = None) -> None:
        self.service, self.decode = service, job.encoding.loaded.tokenizer.decode
        self.future: Future[Generation] = Future()
        self.future.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it for the engine
        self.drafts: queue.SimpleQueue[Draft | None] = queue.SimpleQueue()
        self.listeners: list[Callable[[], None]] = []
        self.request = job.request(item, hear=self.hear, deadline=deadline)
        service.submit(self.request, self.done)

    def cancel(self) -> None:
        """End it before the next forward; its result is then a `CancelledError`."""
        self.service.cancel(self.request)

    def result(self, timeout: float | None = None) -> Generation:
        """The result of the prompt, as soon as it is finished. Raises `UsageError`, or `TimeoutError`."""
        return self.future.result(timeout)

    def __await__(self) -> Iterator[None]:
        return asyncio.wrap_future(self.future).__await__()

    def __iter__(self) -> Iterator[Partial]:
        while (draft := self.drafts.get()) is not None:
            yield self.partial(draft)
        self.future.result()

    async def __aiter__(self) -> AsyncIterator[Partial]:
        async for draft in self.news():
            yield self.partial(draft)

    async def news(self) -> AsyncIterator[Draft]:
        """The drafts as token ids."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the event loop was closed, so nobody listens
                loop.call_soon_threadsafe(news.set)

        self.listeners.append(wake)
        try:
            while True:
                news.clear()
                while not self.drafts.empty():
                    draft = self.drafts.get_nowait()
                    if draft is None:
                        await asyncio.wrap_future(self.future)
                        return
                    yield draft
                await news.wait()
        finally:
            self.listeners.remove(wake)

    def partial(self, draft: Draft) -> Partial:
        settled = [t for t in draft.tokens[: draft.settled] if t is not None]
        pieces = tuple(None if t is None else self.decode([t]) for t in draft.tokens[draft.settled :])
        return Partial(self.decode(settled).rstrip("\N{REPLACEMENT CHARACTER}"), pieces, draft.step)

    # --- in the engine's thread

    def hear(self, draft: Draft | None) -> None:
        self.drafts.put(draft)
        for tell in tuple(self.listeners):
            tell()

    def done(self, r: Request) -> None:
        try:
            self.future.set_result(or_raise(outcome(r)))
        except Exception as e:
            self.future.set_exception(e)
        self.hear(None)
