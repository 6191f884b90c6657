"""Output during a run: `--stream`, `--watch` and `--trace`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from decoders.cli.show import Streaming, Watching
from decoders.cli.tell import show_reasoning
from decoders.cli.trace import TraceFile, Written
from decoders.core import Canvas, Event, Forward, Pred, UsageError
from decoders.text.records import Generation

if TYPE_CHECKING:
    from decoders.generator import Generator
    from decoders.job import Batch, Result


class Audience:
    """The listeners of a run, new for each batch: the settled text of one prompt, its canvas after each forward, and
    the trace."""

    def __init__(
        self, generator: Generator, how: dict[str, Any], stream: bool, watching: bool, trace: Written | None
    ) -> None:
        self.generator, self.how, self.stream, self.watching, self.trace = generator, how, stream, watching, trace
        self.shown = ExitStack()
        self.streaming: Streaming | None = None
        self.watches: list[Callable[[Forward, Pred, Canvas], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shown.close()

    def batch(self, size: int) -> int:
        """The number of prompts that are decoded together: only one can be shown at a time."""
        return 1 if self.stream or self.watching else size

    @property
    def listeners(self) -> dict[str, Any]:
        """Arguments of a run. There is no `watch` unless forwards are shown, because it takes time."""
        watch = self.watch if self.watching or self.trace else None
        return {"on_batch": self.begin, "on_event": self.hear if self.stream else None, "watch": watch}

    def begin(self, batch: Batch) -> None:
        self.shown.close()
        self.watches = [TraceFile(self.trace, batch.prompts, self.generator.decoder)] if self.trace else []
        if self.watching:
            self.watches.append(self.shown.enter_context(Watching(self.generator, self.how["infill"])))
        self.streaming = Streaming(self.generator, self.how["stop"]) if self.stream else None
        if self.stream or self.watching:
            show_reasoning(batch.reasonings[0])

    def hear(self, e: Event) -> None:
        if self.streaming:
            self.streaming(e)

    def watch(self, f: Forward, p: Pred, c: Canvas) -> None:
        for w in self.watches:
            w(f, p, c)

    def heard(self, results: Iterable[Result]) -> Iterator[Result]:
        """The results as they arrive, each after its output is complete."""
        for index, made in results:
            self.finish(made)
            yield index, made

    def finish(self, made: Generation | UsageError) -> None:
        """Show the part of a text that was held back, now that all of it is known."""
        self.shown.close()
        if self.streaming and isinstance(made, Generation):
            self.streaming.finish(made.text)
