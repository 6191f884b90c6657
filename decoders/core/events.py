"""Events: the final and the provisional tokens of a row, for streaming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from decoders.core.canvas import Canvas


@dataclass(frozen=True)
class Event:
    """A change in one row.

    `committed`: `tokens` follow the tokens of the row's earlier committed events; they are final and have no gap.
    `provisional`: the present tokens of the row after the committed part, None at open positions; the next such event
    replaces it.
    """

    row: int
    kind: Literal["committed", "provisional"]
    start: int
    """Index of the first of `tokens` among the row's generated tokens."""
    tokens: tuple[int | None, ...]


class Teller:
    """Reports the changes of one row to a listener, from its generated tokens and how many of them are settled."""

    def __init__(self, listener: Callable[[Event], None], row: int) -> None:
        self.listener, self.row = listener, row
        self.told = 0
        self.mind: tuple[int | None, ...] = ()

    def __call__(self, tokens: Sequence[int | None], settled: int) -> None:
        if settled > self.told:
            self.listener(Event(self.row, "committed", self.told, tuple(tokens[self.told : settled])))
            self.told = settled
        rest = tuple(tokens[settled:])
        if rest != self.mind:
            self.listener(Event(self.row, "provisional", settled, rest))
        self.mind = rest


class Narrator:
    """Turns canvases into events. It synchronises with the host, so it is used only if there is a listener."""

    def __init__(self, listener: Callable[[Event], None], revises: bool, rows: int) -> None:
        """`rows`: the number of rows; a canvas may have more."""
        self.revises, self.tellers = revises, [Teller(listener, row) for row in range(rows)]

    def __call__(self, c: Canvas) -> None:
        for tell in self.tellers:
            tell(*generated(c, tell.row, self.revises))


def generated(c: Canvas, row: int, revises: bool) -> tuple[list[int | None], int]:
    """The row's generated tokens up to and without its first settled stop token, None where open, and how many are
    settled: those left of the first open one, and for a strategy that revises only those in windows it has left. In a
    row that has ended, any stop token ends them, even one with open positions to its left."""
    here = c.editable[row]
    tokens: list[int | None] = c.tokens[row][here].tolist()
    open_ = c.open[row][here].tolist()
    settled = open_.index(True) if True in open_ else len(tokens)
    if revises and bool(c.live[row]):
        settled = min(settled, int((here & (c.column < c.start[row])).sum()))
    tokens = [None if o else t for t, o in zip(tokens, open_, strict=True)]
    until = settled if bool(c.live[row]) else len(tokens)
    stop = next((i for i, t in enumerate(tokens[:until]) if t in c.stop_ids), None)
    return (tokens, settled) if stop is None else (tokens[:stop], min(settled, stop))


def commit_steps(c: Canvas, row: int, count: int) -> tuple[int, ...]:
    """For the first `count` of the row's decided tokens, left to right, the forward that committed each, counted from
    0."""
    here = c.editable[row] & ~c.open[row]
    return tuple(c.committed_at[row][here].tolist()[:count])
