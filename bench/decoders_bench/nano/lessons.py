"""Lessons: shorter problems than any rung has, in which a rule that the rungs show seldom decides most of the tokens.
Only the embedded model is trained on them."""

from __future__ import annotations

from random import Random

from decoders_bench.tasks.base import Problem, Task
from decoders_bench.tasks.brackets import Nest
from decoders_bench.tasks.edits import POOL, WIDTH, Edit
from decoders_bench.tasks.lists import Lists
from decoders_bench.tasks.words import LETTERS


class FirstEdits(Edit):
    """One to three lines, of which up to all words but two are put for others, and the last two are a renamed name."""

    rungs = ("first",)
    length = {"first": 32}

    def problem(self, rng: Random, rung: str) -> Problem:
        n = rng.randint(1, 3) * WIDTH
        puts = rng.randint(1, n - 2)
        drawn = rng.sample(POOL, n + puts)
        return self.edited(rng, drawn[:n], drawn[n:], 2)


class FirstBrackets(Nest):
    """Two to four brackets."""

    rungs = ("first",)
    length = {"first": 40}
    depth = {"first": (2, 4)}


class FirstLists(Lists):
    """Two to four letters."""

    rungs = ("first",)
    length = {"first": 8}

    def problem(self, rng: Random, rung: str) -> Problem:
        return {**super().problem(rng, "easy"), "letters": rng.sample(LETTERS, rng.randint(2, 4))}


LESSONS: dict[str, Task] = {"edit/first": FirstEdits(), "nest/first": FirstBrackets(), "list/first": FirstLists()}
