"""Progress of many rows: a bar on a terminal, and otherwise occasional lines."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from decoders.text.records import Generation

EVERY = 10.0
"""Seconds between two lines, at least."""


class Progress:
    """The progress over `total` rows, of which `done` are finished at the start. It goes to stderr."""

    def __init__(self, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self.bar = Bar(*columns, console=console, disable=not console.is_terminal)
        self.lines = not console.is_terminal
        self.total, self.done, self.first = total, done, done
        self.tokens = self.forwards = 0
        self.began = self.told = time.monotonic()
        self.task = self.bar.add_task(self.state, total=total, completed=done)

    @property
    def state(self) -> str:
        rate = f", {self.tokens / self.forwards:.2f} tokens per forward" if self.forwards else ""
        return f"{self.done}/{self.total} rows, {self.tokens} tokens{rate}"

    def advance(self, made: Generation | None) -> None:
        """One more row; None: it could not be decoded."""
        self.done += 1
        if made:
            self.tokens, self.forwards = self.tokens + made.generated_tokens, self.forwards + made.nfe
        self.bar.update(self.task, advance=1, description=self.state)
        now = time.monotonic()
        if self.lines and now - self.told >= EVERY:
            self.told = now
            left = (now - self.began) / (self.done - self.first) * (self.total - self.done)
            click.echo(f"{self.state}, about {duration(left)} left", err=True)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
