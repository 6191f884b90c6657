"""A regular language over token ids, as tables that decide whether a canvas with open positions can be completed.

S states, K classes of tokens that no state distinguishes, V tokens. State 0 is dead: no text is accepted from it. A set
of states is a row of booleans, and a canvas is a word with gaps: a decided position moves each state by its token, an
open one by every token. A canvas can be completed if and only if some state that is reachable from the left can reach
an accepting one to the right. (DINGO, Suresh et al. 2025, 2505.23061, uses the same sets for the likeliest completion
of a block.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decoders.stats.random import scramble

DEAD, OVER = 0, 1
"""The dead state, and the state after the end of the text, where any token may follow."""
ROUNDS = 256
ENTRIES = 1 << 26
"""The largest number of booleans that one operation may create."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """Which texts are allowed; deterministic, and complete with a dead state. Compared by identity."""

    group: Tensor  # (V,) long  the class of each token
    move: Tensor  # (S, K) long  the next state
    edges: Tensor  # (2, E) long  pairs of states that some token connects, except to the dead one
    accepting: Tensor  # (S,) bool
    start: int
    text: str = ""
    """The constraint as it was written, for messages."""

    def to(self, device: torch.device) -> Automaton:
        """The automaton on a device."""
        if self.group.device == device:
            return self
        group, move, edges, accepting = (x.to(device) for x in (self.group, self.move, self.edges, self.accepting))
        return Automaton(group, move, edges, accepting, self.start, self.text)

    def after(self, states: Tensor, token: Tensor) -> Tensor:
        """(B, S) bool: the states that `states (B, S)` reach by `token (B,)`."""
        to = self.move[:, self.group[token]].T  # (B, S)
        return torch.zeros_like(states).scatter_reduce(1, to, states, "amax")

    def after_any(self, states: Tensor) -> Tensor:
        """(B, S) bool: the states that they reach by any allowed token."""
        source, target = self.edges
        return torch.zeros_like(states).scatter_reduce(1, target.expand(len(states), -1), states[:, source], "amax")

    def before(self, states: Tensor, token: Tensor) -> Tensor:
        """(B, S) bool: the states from which `token (B,)` leads into `states (B, S)`."""
        return states.gather(1, self.move[:, self.group[token]].T)

    def before_any(self, states: Tensor) -> Tensor:
        """(B, S) bool: the states from which some allowed token leads into them."""
        source, target = self.edges
        return torch.zeros_like(states).scatter_reduce(1, source.expand(len(states), -1), states[:, target], "amax")

    def allowed(self, left: Tensor, right: Tensor) -> Tensor:
        """(N, V) bool: the tokens that lead from one of the states `left (N, S)` to one of `right (N, S)`."""
        most = max(1, ENTRIES // max(1, left.numel()))  # classes at a time
        found = [
            (right[:, to.flatten()].unflatten(1, to.shape) & left[..., None]).any(1)
            for to in self.move.split(most, dim=1)
        ]
        return torch.cat(found, 1)[:, self.group]

    def reach(self, most: int) -> Tensor:
        """(most + 1, S) bool: the states from which an accepting one can be reached by exactly so many tokens."""
        rows = [self.accepting[None]]
        for _ in range(most):
            rows.append(self.before_any(rows[-1]))
        return torch.cat(rows)

    def shortest(self, most: int) -> int | None:
        """The fewest tokens of an allowed text, if at most `most`."""
        lengths = self.reach(most)[:, self.start].nonzero().flatten()
        return int(lengths[0]) if len(lengths) else None


def build(
    start: int, final: Sequence[int], transitions: Mapping[int, Mapping[int, int]], vocab: int, ends: Sequence[int],
    text: str = ""
) -> Automaton:
    """The automaton of `transitions`, state to token to state, for texts that a stop token of `ends` may follow. After
    it any token may follow, because those are no part of the text. Equivalent states and tokens are merged."""
    number = {
        s: i
        for i, s in enumerate(
            sorted({start, *final, *transitions, *(t for m in transitions.values() for t in m.values())}), 2
        )
    }
    move = torch.zeros(len(number) + 2, vocab, dtype=torch.int32)
    for s, by in transitions.items():
        allowed = {t: to for t, to in by.items() if t < vocab and t not in ends}
        move[number[s], list(allowed)] = torch.tensor([number[to] for to in allowed.values()], dtype=torch.int32)
    accepting = torch.zeros(len(move), dtype=torch.bool)
    accepting[[OVER, *(number[s] for s in final)]] = True
    move[OVER] = OVER
    if ends:
        move[accepting.nonzero(), torch.tensor(list(ends))] = OVER
    columns, group = move.unique(dim=1, return_inverse=True)
    return minimal(group, columns.long(), accepting, number[start], text)


def minimal(group: Tensor, move: Tensor, accepting: Tensor, start: int, text: str) -> Automaton:
    """The smallest automaton of the same language: states are distinguished by the lengths of the texts they accept,
    then by the states they lead to, until nothing more is distinguished (Moore 1956). The dead state stays number 0.

    Lengths alone distinguish all states of a counted repetition, which would otherwise take as many rounds as it
    counts. If the rounds are not enough, some equivalent states stay: the language is the same."""
    part = torch.stack([accepting.long(), *lengths(move, accepting)], 1).unique(dim=0, return_inverse=True)[1]
    salt = scramble(torch.arange(1, move.shape[1] + 1))
    count = rounds = 0
    while (found := int(part.max()) + 1) != count:
        count, rounds = found, rounds + 1
        if rounds > ROUNDS:
            part, count = torch.arange(len(move)), len(move)
            break
        # a 64-bit hash of the states that each letter leads to
        signature = part + scramble(scramble(part)[move] + salt).sum(1) * 2
        part = torch.stack([part, signature], 1).unique(dim=0, return_inverse=True)[1]
    first = torch.full((count,), len(part)).scatter_reduce(0, part, torch.arange(len(part)), "amin")
    kept, order = first.sort()  # by the first state of each part, so that the dead state's is number 0
    part = order.argsort()[part]
    columns, merged = part[move[kept]].unique(dim=1, return_inverse=True)
    return Automaton(merged[group], columns, edges_of(columns), accepting[kept], int(part[start]), text)


def edges_of(move: Tensor) -> Tensor:
    """(2, E) long: `Automaton.edges` of its moves."""
    source = torch.arange(len(move))[:, None].expand_as(move)
    edges: Tensor = torch.stack([source, move], -1)[move != DEAD].unique(dim=0)
    return edges.T


def lengths(move: Tensor, accepting: Tensor) -> tuple[Tensor, Tensor]:
    """(S,) and (S,) long: the number of tokens of the shortest text that is accepted from each state, -1 if there is
    none, and of the longest, -1 if it is unbounded. Tokens after the end of a text, in state `OVER`, do not count."""
    S = len(move)
    pairs = (torch.arange(S)[:, None] * S + move).unique()
    sources, targets = (pairs // S).tolist(), (pairs % S).tolist()
    before: list[list[int]] = [[] for _ in range(S)]
    for s, t in zip(sources, targets, strict=True):
        if OVER not in (s, t) and t != DEAD:
            before[t].append(s)
    shortest = [0 if a else -1 for a in accepting.tolist()]
    queue = deque(s for s, n in enumerate(shortest) if n == 0 and s != OVER)
    while queue:
        t = queue.popleft()
        for s in before[t]:
            if shortest[s] < 0:
                shortest[s] = shortest[t] + 1
                queue.append(s)
    left = [0] * S  # moves to states that accept some text and whose longest is not known yet
    for t, found in enumerate(before):
        for s in found if shortest[t] >= 0 else ():
            left[s] += 1
    longest, reached = [-1] * S, [0] * S
    queue = deque(s for s in range(S) if shortest[s] >= 0 and left[s] == 0)
    while queue:
        t = queue.popleft()
        longest[t] = reached[t]
        for s in before[t]:
            reached[s] = max(reached[s], reached[t] + 1)
            left[s] -= 1
            if left[s] == 0:
                queue.append(s)
    return torch.tensor(shortest), torch.tensor(longest)
