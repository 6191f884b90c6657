"""The texts that a merge can have: the lines of an original, in which pieces of an update replace some runs of
lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch

from decoders.constraints.automaton import DEAD, OVER, Automaton, edges_of
from decoders.constraints.base import Constraint
from decoders.constraints.expression import LARGEST
from decoders.core import UsageError


class Place(NamedTuple):
    """Before part `part` of the text (runs of the original and pieces take turns), where the lines of the original
    before `line` are used or dropped. `kept`: a run has begun, and lines are no longer dropped."""

    part: int
    line: int
    kept: bool


class Room(NamedTuple):
    """Where a piece may stand: the last run ends at a line from `first` to `last`, and the next begins at one from
    `least` to `most`. `takes`: the piece replaces the lines between them."""

    first: int
    last: int
    least: int
    most: int
    takes: bool


@dataclass(frozen=True)
class Merge(Constraint):
    """The whole pieces in their order, and between them runs of lines of the original, in their order.

    A piece replaces the lines between two runs, and has to contain one of them: a line that is unique in the original
    marks its place if it also occurs in a piece. It is not kept beside that piece; and if it is the piece's first or
    last line, the lines before or after it stay. A piece without such a line replaces nothing. The first piece begins
    the text and replaces all lines before it, unless the text `opens` with a run; likewise the last piece ends the
    text, unless it `closes` with a run. Every line of the text ends with a line feed, and has the tokens that `encode`
    gives."""

    original: tuple[str, ...]
    pieces: tuple[tuple[str, ...], ...]
    opens: bool
    closes: bool
    encode: Callable[[str], Sequence[int]] = field(compare=False)

    def tokens(self, *lines: str) -> list[int]:
        return [t for line in lines for t in self.encode(line + "\n")]

    @property
    def longest(self) -> int:
        """Tokens of the longest text, in which nothing is replaced."""
        return len(self.tokens(*self.original, *(line for piece in self.pieces for line in piece)))

    def automaton(self, spellings: Mapping[int, bytes], vocab: int, ends: tuple[int, ...]) -> Automaton:
        """Raises `UsageError` for a merge that is too large."""
        graph = Graph(self.text)
        for x, y in self.leads():
            graph.path(x, [], y)
        for tokens, x, y in (*self.runs(), *self.placed()):
            graph.path(x, tokens, y)
        start = Place(0, 0, kept=True) if self.opens else Place(1, 0, kept=False)
        accepting = {Place(2 * len(self.pieces), len(self.original), kept=True)}
        return graph.automaton(start, accepting, vocab, ends)

    def room(self, piece: Sequence[str]) -> Room:
        """The place of a piece, from the lines that it shares with the original, except for blank ones."""
        count, alone = len(self.original), [x for x in piece if x.strip() and self.original.count(x) == 1]
        shared = [i for i, x in enumerate(self.original) if x in alone]
        if not shared:
            return Room(0, count, 0, count, takes=False)
        low, high = shared[0], shared[-1]
        exact = self.original[low] == piece[0], self.original[high] == piece[-1]
        return Room(low if exact[0] else 0, low, high + 1, high + 1 if exact[1] else count, takes=True)

    def leads(self) -> Iterator[tuple[Place, Place]]:
        """Moves that write nothing: a line is dropped, or a run begins or ends."""
        count, last = len(self.original), 2 * len(self.pieces)
        for part in range(2, last + 1, 2):
            room = self.room(self.pieces[part // 2 - 1])
            for i in range(count):
                yield Place(part, i, kept=False), Place(part, i + 1, kept=False)
            for i in range(room.least, room.most + 1) if self.closes or part < last else [count]:
                yield Place(part, i, kept=False), Place(part, i, kept=True)
        for part in range(0, last, 2):
            for i in range(count + 1):
                yield Place(part, i, kept=True), Place(part + 1, i, kept=False)

    def runs(self) -> Iterator[tuple[list[int], Place, Place]]:
        """A line of the original that stays."""
        for i, tokens in enumerate(self.tokens(line) for line in self.original):
            for part in range(0, 2 * len(self.pieces) + 1, 2):
                yield tokens, Place(part, i, kept=True), Place(part, i + 1, kept=True)

    def placed(self) -> Iterator[tuple[list[int], Place, Place]]:
        """A piece, after which lines are dropped or not."""
        for k, piece in enumerate(self.pieces):
            room, tokens, end = self.room(piece), self.tokens(*piece), k == len(self.pieces) - 1
            kept = not room.takes and (self.closes or not end)
            for i in range(room.first, room.last + 1) if k or self.opens else [0]:
                yield tokens, Place(2 * k + 1, i, kept=False), Place(2 * k + 2, i, kept)


Node = Place | int


@dataclass
class Graph:
    """Paths of tokens between places, and the texts along them; `text` names the constraint in messages. Raises
    `UsageError` if the automaton would have too many states."""

    text: str
    silent: dict[Node, list[Node]] = field(default_factory=dict)
    edges: dict[Node, list[tuple[int, Node]]] = field(default_factory=dict)
    made: int = 0

    def path(self, at: Node, tokens: Sequence[int], to: Node) -> None:
        """`tokens` lead from one place to another."""
        if not tokens:
            self.silent.setdefault(at, []).append(to)
            return
        between = range(self.made, self.made + len(tokens) - 1)
        self.made += len(between)
        self.check(self.made)
        for token, (x, y) in zip(tokens, pairwise([at, *between, to]), strict=True):
            self.edges.setdefault(x, []).append((token, y))

    def check(self, states: int) -> None:
        if states > LARGEST:
            raise UsageError(f"{self.text} has more than {LARGEST} states; ask about a smaller part of the code")

    def closed(self, nodes: frozenset[Node]) -> frozenset[Node]:
        """The places, with those that can be reached without writing."""
        found, new = set(nodes), list(nodes)
        while new:
            more = [y for x in new for y in self.silent.get(x, ()) if y not in found]
            found.update(more)
            new = more
        return frozenset(found)

    def automaton(self, start: Node, accepting: set[Place], vocab: int, ends: Sequence[int]) -> Automaton:
        """The automaton; its states are sets of places that the same tokens lead to."""
        first = self.closed(frozenset([start]))
        number, queue, moves = {first: OVER + 1}, [first], list[tuple[int, int, int]]()
        for nodes in queue:
            by = dict[int, set[Node]]()
            for token, reached in (edge for x in nodes for edge in self.edges.get(x, ())):
                by.setdefault(token, set()).add(reached)
            for token, several in by.items():
                to = self.closed(frozenset(several))
                if to not in number:
                    number[to] = len(number) + OVER + 1
                    queue.append(to)
                moves.append((number[nodes], token, number[to]))
            self.check(len(number))
        over = [number[x] for x in queue if x & accepting]
        return tables(moves, over, len(number) + OVER + 1, vocab, ends, self.text)


def tables(
    moves: Sequence[tuple[int, int, int]], final: Sequence[int], states: int, vocab: int, ends: Sequence[int], text: str
) -> Automaton:
    """The automaton of moves `(state, token, state)`; other tokens are not allowed."""
    used = sorted({t for _, t, _ in moves} - set(ends))
    kind = {token: i for i, token in enumerate(used, 2)}
    group = torch.zeros(vocab, dtype=torch.long)
    group[list(ends)], group[used] = 1, torch.arange(2, len(used) + 2)
    move = torch.full((states, len(used) + 2), DEAD)
    for x, token, y in moves:
        if token in kind:
            move[x, kind[token]] = y
    move[OVER], accepting = OVER, torch.zeros(states, dtype=torch.bool)
    accepting[[OVER, *final]] = True
    if ends:
        move[list(final), 1] = OVER
    return Automaton(group, move, edges_of(move), accepting, OVER + 1, text)
