"""The positions that every forward changed: for a batch while it is decoded, and for one text afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from decoders.core import Canvas, Decoder, Forward, Pred, State, view

T = TypeVar("T")
KINDS = "committed", "edited", "reopened"
Watch = Callable[[Forward, Pred, Canvas], None]


class Changes:
    """The changes of each forward on the canvases of a batch."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.before: Canvas | None = None

    def rows(self, f: Forward, c: Canvas) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows that took part in a forward after which the canvas is `c`, each with what was `committed`, `edited`
        and `reopened` in it: lists of `{"position", "token", "confidence"}`, where a reopened position has the token
        and confidence that it had before. Also the "phase" if the decoder has several kinds of forwards, and the
        "outcome" of committed positions if the decoder reports outcomes."""
        old = self.before
        committed, edited, reopened = moved(old, f, c)
        changed = {
            "committed": (committed, c),
            "edited": (edited, c),
            "reopened": (reopened, c if old is None else old),
        }
        took_part = c.clock > (0 if old is None else old.clock)
        phases, outcomes, how = self.decoder.phases, self.decoder.outcomes, ways(self.decoder, f, c)
        self.before = c
        for b in took_part.nonzero().flatten().tolist():
            row: dict[str, Any] = {"phase": phases[int(f.phase[b])]} if phases else {}
            row |= {kind: changes(where[b], source, b) for kind, (where, source) in changed.items()}
            for change in row["committed"] if outcomes else ():
                change["outcome"] = outcomes[how[b][change["position"]]]
            yield b, row


def ways(decoder: Decoder, f: Forward, c: Canvas) -> list[list[int]]:
    """For every column, the decoder's outcome of the last step's commitments."""
    outcome: list[list[int]] = torch.zeros_like(c.tokens).scatter(1, f.at, decoder.outcome(behind(f, c))).tolist()
    return outcome


def behind(f: Forward, c: Canvas) -> State:
    """The state of a forward's windows after it, from the canvas `c`, whose rows may already have left them; its memo
    is the present one."""
    shown = {name: getattr(c, name).gather(1, f.at) for name in ("tokens", "open", "confidence", "committed_at")}
    return replace(view(c), **shown, editable=c.editable.gather(1, f.at), position=f.at)


def moved(old: Canvas | None, f: Forward, c: Canvas) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L) bool each: the columns that the forward `f` committed, edited and reopened, from the canvas before it,
    None if it is the first, and the one after it. For a decoder that `moves_text` these are all columns whose content
    changed, given ones too."""
    # the first forward shows the whole canvas before it: there is no decided token yet that a query could hide
    was, tokens = (c.editable if f.open is None else f.open, f.tokens) if old is None else (old.open, old.tokens)
    return was & ~c.open, ~was & ~c.open & (c.tokens != tokens), ~was & c.open


def changes(where: Tensor, source: Canvas, row: int) -> list[dict[str, Any]]:
    at = where.nonzero().flatten()
    columns = zip(at.tolist(), source.tokens[row, at].tolist(), source.confidence[row, at].tolist(), strict=True)
    return [{"position": i, "token": token, "confidence": confidence} for i, token, confidence in columns]


class Settled(NamedTuple):
    """The present token at a position."""

    text: str
    confidence: float
    """Its confidence when the strategy committed it."""
    step: int
    """The forward that committed it, counted from 0."""


@dataclass(frozen=True)
class Trace:
    """The history of a text, forward by forward: `Generation.trace`, if it was requested."""

    positions: tuple[int, ...]
    """The positions that were to be decided, left to right, counted from the start of the prompt."""
    steps: tuple[Mapping[str, Any], ...]
    """For each forward, the positions that were `committed`, `edited` and `reopened`, as `--trace` writes them."""
    pieces: Mapping[int, str] = field(repr=False)
    """The text of each token in them."""

    def canvases(self) -> list[list[Settled | None]]:
        """For each forward, the token at each of the `positions` after it; None at open positions."""
        place = {position: i for i, position in enumerate(self.positions)}
        now: list[Settled | None] = [None] * len(place)
        out = []
        for n, step in enumerate(self.steps):
            for x in step["reopened"]:
                now[place[x["position"]]] = None
            for x in (*step["committed"], *step["edited"]):
                now[place[x["position"]]] = Settled(self.pieces[x["token"]], x["confidence"], n)
            out.append(list(now))
        return out


class Tracing:
    """A listener that collects the traces of a run's texts."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self.decode = decode
        self.decoder: Decoder | None = None
        self.rows: dict[int, int] = {}
        """Index of a prompt to its row in the batch."""
        self.steps: list[list[dict[str, Any]]] = []
        self.changes: Changes | None = None

    def begin(self, prompts: Sequence[int]) -> None:
        """A batch begins."""
        assert self.decoder is not None
        self.rows, self.steps = {index: b for b, index in enumerate(prompts)}, [[] for _ in prompts]
        self.changes = Changes(self.decoder)

    def watch(self, f: Forward, p: Pred, c: Canvas) -> None:
        assert self.changes is not None
        for b, row in self.changes.rows(f, c):
            self.steps[b].append(row)

    def traced(self, results: Iterable[tuple[int, T]], put: Callable[[T, Trace], T]) -> Iterator[tuple[int, T]]:
        """The results of the run, each with its trace, which `put` adds; they are yielded before the next batch begins.
        A result that was in no batch has no trace."""
        for index, made in results:
            yield index, put(made, self.of(self.rows[index])) if index in self.rows else made

    def of(self, row: int) -> Trace:
        steps, c = self.steps[row], self.changes.before if self.changes else None
        if c is None:  # no forward was run
            return Trace((), (), {})
        here = c.editable[row] & (c.column < c.limit[row])
        tokens = {x["token"] for step in steps for kind in KINDS for x in step[kind]}
        changed = {x["position"] for step in steps for kind in KINDS for x in step[kind]}
        positions = tuple(sorted(changed.union(here.nonzero().flatten().tolist())))  # holes may have moved
        return Trace(positions, tuple(steps), {t: self.decode([t]) for t in sorted(tokens)})


def both(first: Watch | None, second: Watch) -> Watch:
    """Two observers as one."""
    if first is None:
        return second

    def watch(f: Forward, p: Pred, c: Canvas) -> None:
        first(f, p, c)
        second(f, p, c)

    return watch
