"""The gate: admits requests as long as there is room."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from decoders.serve.refusals import RefusedError


class Gate:
    """`slots` texts are decoded at a time and `queue` may wait; beyond that a request is refused with 429."""

    def __init__(self, slots: int, queue: int) -> None:
        self.slots, self.room = slots, slots + queue
        self.open, self.pace = 0, 1.0
        """The number of admitted texts, and the recent time that one takes."""

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Admit so many texts. Raises `RefusedError`."""
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
            seconds = math.ceil(self.pace * max(self.open // self.slots, 1))
            raise RefusedError(429, f"{self.open} texts are in progress already; try again later", retry_after=seconds)
