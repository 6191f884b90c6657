"""Time, step by step and region by region, without making the device wait: CUDA events there, a clock of the host
elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch

OUTSIDE = "host"
"""The region of a step that is in no other."""


class Stopwatch:
    """Milliseconds of the steps between calls of `tick`, and of the regions in them. A region inside another is taken
    out of it, so the regions of a step add up to it.

    On a CUDA device the marks are events in the stream: what is measured there is when the device gets to them, and the
    host waits for nothing until the times are read. Elsewhere `read` says what time it is, in seconds.
    """

    def __init__(self, device: torch.device, read: Callable[[], float] = perf_counter) -> None:
        self.device, self.read = device, read
        self.marks: list[list[tuple[Any, str]]] = []  # of each step: when, and the region that begins there
        self.open: list[str] = [OUTSIDE]
        self.begin()

    def now(self) -> Any:
        if self.device.type != "cuda":
            return self.read()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def begin(self) -> None:
        self.current = [(self.now(), OUTSIDE)]

    def enter(self, name: str) -> None:
        self.open.append(name)
        self.current.append((self.now(), name))

    def leave(self) -> None:
        self.open.pop()
        self.current.append((self.now(), self.open[-1]))

    @contextmanager
    def region(self, name: str) -> Iterator[None]:
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def tick(self) -> None:
        """The step ends here, and the next one begins."""
        end = self.now()
        self.marks.append([*self.current, (end, "")])
        self.current = [(end, OUTSIDE)]

    def between(self, a: Any, b: Any) -> float:
        return float(a.elapsed_time(b)) if self.device.type == "cuda" else 1e3 * (b - a)

    def settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def steps(self) -> list[float]:
        self.settle()
        return [self.between(marks[0][0], marks[-1][0]) for marks in self.marks]

    @property
    def regions(self) -> list[dict[str, float]]:
        """Of each step."""
        self.settle()
        out = []
        for marks in self.marks:
            spent: dict[str, float] = {}
            for (a, name), (b, _) in pairwise(marks):
                spent[name] = spent.get(name, 0.0) + self.between(a, b)
            out.append(spent)
        return out
