"""Events: what a row has settled and what it has in mind, for streaming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from decoders.core.canvas import Canvas


@dataclass(frozen=True)
class Event:
    """News of one row.

    `committed`: `tokens` follow the tokens of the row's earlier committed events; they are final and have no gap.
    `provisional`: all of the row after the committed part as it stands now, None where nothing is decided; the next one
    replaces it.
    """

    row: int
    kind: Literal["committed", "provisional"]
    start: int
    """Index of the first of `tokens` among the row's generated tokens."""
    tokens: tuple[int | None, ...]


class Narrator:
    """Turns canvases into events. Reads the host; used only where somebody listens."""

    def __init__(self, listener: Callable[[Event], None], revises: bool, rows: int) -> None:
        """`rows`: how many there are; a canvas may have more."""
        self.listener, self.revises, self.rows = listener, revises, rows
        self.told: dict[int, int] = {}
        self.mind: dict[int, tuple[int | None, ...]] = {}

    def __call__(self, c: Canvas) -> None:
        for row in range(self.rows):
            tokens, settled = generated(c, row, self.revises)
            told = self.told.get(row, 0)
            if settled > told:
                self.listener(Event(row, "committed", told, tuple(tokens[told:settled])))
                self.told[row] = settled
            rest = tuple(tokens[settled:])
            if rest != self.mind.get(row, ()):
                self.listener(Event(row, "provisional", settled, rest))
            self.mind[row] = rest


def generated(c: Canvas, row: int, revises: bool) -> tuple[list[int | None], int]:
    """The row's generated tokens up to and without its first settled stop token, None where open, and how many are
    settled: those left of the first open one, and for a strategy that revises only those in windows it has left."""
    here = c.editable[row]
    tokens: list[int | None] = c.tokens[row][here].tolist()
    open_ = c.open[row][here].tolist()
    settled = open_.index(True) if True in open_ else len(tokens)
    if revises and bool(c.live[row]):
        settled = min(settled, int((here & (c.column < c.start[row])).sum()))
    tokens = [None if o else t for t, o in zip(tokens, open_, strict=True)]
    stop = next((i for i, t in enumerate(tokens[:settled]) if t in c.stop_ids), None)
    return (tokens, settled) if stop is None else (tokens[:stop], stop)
