"""Lessons: shorter problems than any rung has, in which a rule that the rungs show seldom decides most of the tokens.
Only the embedded model is trained on them."""

from __future__ import annotations

from random import Random

from decoders_bench.tasks.base import Problem, Task
from decoders_bench.tasks.brackets import Nest
from decoders_bench.tasks.edits import POOL, WIDTH, Edit
from decoders_bench.tasks.words import NAMES


class FirstEdits(Edit):
    """One to three lines, of which up to all words but two are put for others, and the last two are a renamed name."""

    rungs = ("first",)
    length = {"first": 24}

    def problem(self, rng: Random, rung: str) -> Problem:
        n = rng.randint(1, 3) * WIDTH
        drawn = rng.sample(POOL, 2 * n)
        words, (old, new) = drawn[:n], rng.sample(NAMES, 2)
        order = rng.sample(range(n), n)
        put = order[2 : 3 + rng.randrange(n - 2)]
        puts = {words[i]: drawn[n + i] for i in put}
        for i in order[:2]:
            words[i] = old
        return {"words": words, "puts": puts, "renamed": {old: new}}


class FirstBrackets(Nest):
    """Two to four brackets."""

    rungs = ("first",)
    length = {"first": 40}
    depth = {"first": (2, 4)}


LESSONS: dict[str, Task] = {"edit/first": FirstEdits(), "nest/first": FirstBrackets()}
