"""What the terminal shows: tables, the canvas as it denoises, and text as it settles."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from decoders.core.canvas import Canvas
from decoders.core.events import Event, generated
from decoders.core.forward import Forward
from decoders.core.pred import Pred
from decoders.generator import Generator

if TYPE_CHECKING:
    from rich.text import Text

FRAME = 0.05  # seconds that a frame stands on a terminal, so that an eye can follow
STYLES = {"given": "dim", "committed": "bold green", "provisional": "italic yellow", "masked": "dim blue"}
MASKED, PROVISIONAL = "\u00b7", ("\u2039", "\u203a")


def is_terminal() -> bool:
    return sys.stdout.isatty()


def one_line(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; plain aligned columns, one line a row, where that is not a terminal."""
    if is_terminal():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(*headers)
        for row in rows:
            drawn.add_row(*map(Text, row))
        Console().print(drawn)
        return
    cells = [list(headers), *([one_line(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    for row in cells:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


class Watching:
    """A `watch` that shows one prompt's canvas after every forward: animated on a terminal, elsewhere a plain line a forward, in
    which every masked position is a dot and provisional text stands in single angle quotes. Stop tokens in a run are counted."""

    def __init__(self, generator: Generator, infill: bool) -> None:
        self.generator, self.infill, self.forwards = generator, infill, 0
        if is_terminal():
            from rich.live import Live

            self.live: Live | None = Live(auto_refresh=False, transient=True)
        else:
            self.live = None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        self.forwards += 1
        runs = list(self.runs(c))
        if self.live:
            self.live.update(self.drawn(runs), refresh=True)
            time.sleep(FRAME)
        else:
            marked = (text.join(PROVISIONAL) if state == "provisional" else text for state, text in runs)
            click.echo(f"{self.forwards:>4}  {one_line(''.join(marked))}")

    def runs(self, c: Canvas) -> Iterator[tuple[str, str]]:
        """Stretches of the row that are in one state, with their text. The prompt is shown where it has holes."""
        tokens, settled = generated(c, 0, self.generator.decoder.revises)
        states, at = [], 0
        for token, editable in zip(c.tokens[0].tolist(), c.editable[0].tolist(), strict=True):
            if not editable:
                states.append(("given", token))
            elif at < len(tokens):
                states.append(("committed" if at < settled else "masked" if tokens[at] is None else "provisional", token))
                at += 1
        shown = states[: int(c.limit[0])] if self.infill else [x for x in states if x[0] != "given"]
        decode, stop_ids = self.generator.loaded.tokenizer.decode, self.generator.model.stop_ids
        for (state, stop), group in groupby(shown, key=lambda x: (x[0], x[1] in stop_ids)):
            ids = [token for _, token in group]
            text = f"{decode(ids[:1])}*{len(ids)}" if stop and len(ids) > 1 else decode(ids)
            yield state, MASKED * len(ids) if state == "masked" else text

    def drawn(self, runs: list[tuple[str, str]]) -> Text:
        from rich.text import Text

        return Text.assemble((f"forward {self.forwards}\n", "dim"), *((text, STYLES[state]) for state, text in runs))


class Streaming:
    """An `on_event` that prints one prompt's text as it settles. What may yet be part of a stop string is held back, and so are
    the first bytes of a character."""

    def __init__(self, generator: Generator, stop: Sequence[str]) -> None:
        self.decode, self.stop = generator.loaded.tokenizer.decode, stop
        self.tokens: list[int] = []
        self.printed = 0

    def __call__(self, e: Event) -> None:
        if e.kind == "committed":
            self.tokens += [t for t in e.tokens if t is not None]
            text = self.decode(self.tokens).rstrip("\N{REPLACEMENT CHARACTER}")
            self.print(text[: self.sure(text)])

    def sure(self, text: str) -> int:
        """How much of the text stands left of every stop string, begun or whole."""
        found = [i for end in self.stop if (i := text.find(end)) >= 0]
        begun = [len(text) - n for end in self.stop for n in range(1, len(end)) if text.endswith(end[:n])]
        return min([*found, *begun, len(text)])

    def print(self, text: str) -> None:
        click.echo(text[self.printed :], nl=False)
        sys.stdout.flush()
        self.printed = max(self.printed, len(text))

    def finish(self, text: str) -> None:
        """Print what was held back, now that the whole text is known."""
        self.print(text)
        click.echo()
