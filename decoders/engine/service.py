"""Service: an engine in its own thread, for callers in other threads and in event loops."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from decoders.core import UsageError
from decoders.engine.engine import Engine
from decoders.engine.request import CancelledError, Request

Done = Callable[[Request], None]
"""A callback for a request that has ended; it runs in the engine's thread, so it has to be quick."""


class Service:
    """Runs an engine as long as there is work, and waits for more. Only its thread uses the model.

    `limit`: how many requests may wait for a slot; None: any number."""

    def __init__(self, engine: Engine, limit: int | None = None) -> None:
        self.engine, self.limit = engine, limit
        self.inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.open: dict[Request, Done] = {}
        self.lock = threading.Lock()
        self.closing = self.stopped = False
        self.thread = threading.Thread(target=self.work, name="decoders-engine", daemon=True)
        self.thread.start()

    @property
    def waiting(self) -> int:
        """The approximate number of requests without a slot."""
        return max(len(self.open) - self.engine.slots, 0)

    @property
    def full(self) -> bool:
        return self.limit is not None and self.waiting >= self.limit

    def submit(self, r: Request, done: Done) -> None:
        """Queue a request; `done` is called at its end, also if it is refused. Raises `UsageError` when the service is
        closing or its queue is full."""
        with self.lock:
            if self.closing:
                raise UsageError("the engine is closing and takes no more requests")
            if self.full:
                raise UsageError(f"{self.waiting} requests wait already; try again later")
            self.open[r] = done
        self.inbox.put(r)

    def cancel(self, r: Request) -> None:
        """End a request before the next forward; nothing, if it has ended."""
        self.engine.cancel(r)
        self.inbox.put(None)

    def close(self, drain: bool = True) -> None:
        """Take no more requests; end when the present ones have ended, or at once with all of them cancelled."""
        with self.lock:
            self.closing = True
            rest = [] if drain else list(self.open)
            self.stopped = not drain
        for r in rest:
            self.engine.cancel(r)
        self.inbox.put(None)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; whether it has."""
        self.thread.join(timeout)
        return not self.thread.is_alive()

    # --- in the thread

    def work(self) -> None:
        while not (self.closing and not self.open and self.inbox.empty()):
            self.take()
            for r in self.engine.step():
                self.ended(r)

    def take(self) -> None:
        """The new requests; waits for one if there is nothing else to do."""
        wait = self.engine.idle and not self.engine.leaving
        while True:
            try:
                found = self.inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            if found:
                self.enter(found)

    def enter(self, r: Request) -> None:
        try:
            if self.stopped:
                raise CancelledError("the engine was stopped")
            self.engine.submit(r)
        except UsageError as e:
            r.error, r.ended = e, True
            self.ended(r)

    def ended(self, r: Request) -> None:
        with self.lock:
            done = self.open.pop(r, None)
        if done:
            done(r)
