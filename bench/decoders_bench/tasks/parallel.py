"""Lists again, one operation a task: the operations of ParallelBench (2510.04767) whose tokens depend strongly on one
another, so that tokens chosen in parallel from their marginals contradict each other. `shuffle` is in
`decoders_bench.tasks.lists`.

The embedded model was trained on none of these tasks. Copying, reversing and sorting are worded as in `list`, which it
knows, and share its split, so that no test item was trained on; `replace` is new to it.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar

from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.lists import Lists, draw_letters
from decoders_bench.tasks.words import LETTERS


class OneOperation(Lists):
    """The part of `list` that does one thing."""

    family = "list"
    do: ClassVar[str]

    def problem(self, rng: Random, rung: str) -> Problem:
        return {"do": self.do, "letters": draw_letters(rng, rung)}


class Copy(OneOperation):
    """Write the list down again: each token depends on the prompt alone."""

    name = "copy"
    do = "Copy"


class Reverse(OneOperation):
    """Write the list from its end to its beginning."""

    name = "reverse"
    do = "Reverse"


class Sort(OneOperation):
    """Write the list in alphabetical order."""

    name = "sort"
    do = "Sort"


class Replace(Task):
    """Easy: replace a letter that is named. Hard: replace any one of them, so that each token depends on all others:
    exactly one differs."""

    name = "replace"
    length = {"easy": 8, "hard": 16}

    def problem(self, rng: Random, rung: str) -> Problem:
        letters = draw_letters(rng, rung)
        new = rng.choice([x for x in LETTERS if x not in letters])
        return {"letters": letters, "new": new, "old": rng.choice(letters), "any": rung == "hard"}

    def asked(self, problem: Problem) -> Problem:
        return {k: x for k, x in problem.items() if k != "old"} if problem["any"] else problem

    def prompt(self, problem: Problem, template: int) -> str:
        old = "one" if problem["any"] else problem["old"]
        spelled = " ".join(problem["letters"])
        if template == 0:
            return f"Replace {old} by {problem['new']} : {spelled}"
        return f"List: {spelled} . Put {problem['new']} for {old} ."

    def answer(self, problem: Problem) -> str:
        return "".join(f" {problem['new'] if x == problem['old'] else x}" for x in problem["letters"])

    def grade(self, problem: Problem, text: str) -> Grade:
        words, letters = text.split(), problem["letters"]
        if len(words) != len(letters):
            return Grade(False)
        changed = [(x, w) for x, w in zip(letters, words, strict=True) if x != w]
        return Grade(
            len(changed) == 1
            and changed[0][1] == problem["new"]
            and (problem["any"] or changed[0][0] == problem["old"])
        )
