"""Output on a terminal: tables, the canvas after each forward, and settled text."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import click

from decoders.cli.terminal import is_terminal, one_line
from decoders.core import Canvas, Event, Forward, Pred, generated
from decoders.generator import Generator
from decoders.text.stopping import sure

if TYPE_CHECKING:
    from rich.text import Text

FRAME = 0.05  # seconds that a frame is shown on a terminal
STYLES = {"given": "dim", "committed": "bold", "provisional": "italic", "masked": "dim blue"}
PHASES = ("green", "magenta", "cyan", "yellow", "red")
"""The colours of tokens committed in each phase; `PROVISIONAL_COLOUR` for tokens that may still change, if there is one
phase."""
PROVISIONAL_COLOUR = "yellow"
MASKED, PROVISIONAL = "\u00b7", ("\u2039", "\u203a")


class Run(NamedTuple):
    """Adjacent positions of a row in one state, committed in one phase."""

    state: str
    phase: int
    text: str


class Watching:
    """A `watch` that shows one prompt's canvas after every forward: animated on a terminal, otherwise a plain line per
    forward, in which every masked position is a dot and provisional text is in single angle quotes. Adjacent stop
    tokens are shown once, with their number.

    For a decoder with several kinds of forwards, each line begins with the phase of the forward; on a terminal each
    phase and the tokens that were committed in it have its colour."""

    def __init__(self, generator: Generator, infill: bool) -> None:
        self.generator, self.infill, self.forwards = generator, infill, 0
        self.phases = generator.decoder.phases
        self.phase_of: dict[int, int] = {}
        """Column to the phase in which it was committed."""
        if is_terminal():
            from rich.live import Live

            self.live: Live | None = Live(auto_refresh=False, transient=True)
        else:
            self.live = None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        self.forwards += 1
        phase = int(f.phase[0])
        fresh = (c.committed_at[0] == int(c.clock[0]) - 1).nonzero().flatten().tolist()
        self.phase_of |= dict.fromkeys(fresh, phase)
        runs = list(self.runs(c))
        if self.live:
            self.live.update(self.drawn(runs, phase), refresh=True)
            time.sleep(FRAME)
        else:
            marked = (r.text.join(PROVISIONAL) if r.state == "provisional" else r.text for r in runs)
            word = f"{self.phases[phase]:<{max(map(len, self.phases))}}  " if self.phases else ""
            click.echo(f"{self.forwards:>4}  {word}{one_line(''.join(marked))}")

    def runs(self, c: Canvas) -> Iterator[Run]:
        """The row in runs. The prompt is shown if it has holes."""
        tokens, settled = generated(c, 0, self.generator.decoder.revises)
        states, at = [], 0
        for column, (token, editable) in enumerate(zip(c.tokens[0].tolist(), c.editable[0].tolist(), strict=True)):
            if not editable:
                states.append(("given", 0, token))
            elif at < len(tokens):
                state = "committed" if at < settled else "masked" if tokens[at] is None else "provisional"
                states.append((state, 0 if state == "masked" else self.phase_of.get(column, 0), token))
                at += 1
        shown = states[: int(c.limit[0])] if self.infill else [x for x in states if x[0] != "given"]
        decode, stop_ids = self.generator.loaded.tokenizer.decode, self.generator.model.stop_ids
        for (state, phase, stop), group in groupby(shown, key=lambda x: (x[0], x[1], x[2] in stop_ids)):
            ids = [token for *_, token in group]
            text = f"{decode(ids[:1])}*{len(ids)}" if stop and len(ids) > 1 else decode(ids)
            yield Run(state, phase, MASKED * len(ids) if state == "masked" else text)

    def drawn(self, runs: list[Run], phase: int) -> Text:
        from rich.text import Text

        word = ((f" {self.phases[phase]}", self.colour(phase)),) if self.phases else ()
        return Text.assemble((f"forward {self.forwards}", "dim"), *word, "\n", *((r.text, self.style(r)) for r in runs))

    def style(self, r: Run) -> str:
        if r.state not in ("committed", "provisional"):
            return STYLES[r.state]
        alone = r.state == "provisional" and not self.phases
        return f"{STYLES[r.state]} {PROVISIONAL_COLOUR if alone else self.colour(r.phase)}"

    def colour(self, phase: int) -> str:
        return PHASES[phase % len(PHASES)]


class Streaming:
    """An `on_event` that prints one prompt's text as it settles. Text that may become part of a stop string is held
    back, and so are the first bytes of an incomplete character."""

    def __init__(self, generator: Generator, stop: Sequence[str]) -> None:
        self.decode, self.stop = generator.loaded.tokenizer.decode, stop
        self.tokens: list[int] = []
        self.printed = 0

    def __call__(self, e: Event) -> None:
        if e.kind == "committed":
            self.tokens += [t for t in e.tokens if t is not None]
            text = self.decode(self.tokens).rstrip("\N{REPLACEMENT CHARACTER}")
            self.print(text[: sure(text, self.stop)])

    def print(self, text: str) -> None:
        click.echo(text[self.printed :], nl=False)
        sys.stdout.flush()
        self.printed = max(self.printed, len(text))

    def finish(self, text: str) -> None:
        """Print the text that was held back, now that the whole text is known."""
        self.print(text)
        click.echo()
