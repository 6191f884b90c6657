"""A control set: tasks that each break one law. `TASK_CONTROLS` maps each to the law that is meant for it."""

from __future__ import annotations

import random
from random import Random
from typing import Any

from decoders_bench.tasks import Grade, Problem, Task

LETTERS = "abcdefgh"


class Fair(Task):
    """The controls' control: the last letter of a list."""

    name = "last"
    length = {"easy": 4, "hard": 4}

    def problem(self, rng: Random, rung: str) -> Problem:
        return {"letters": rng.sample(LETTERS, 4 if rung == "easy" else 6)}

    def prompt(self, problem: Problem, template: int) -> str:
        letters = " ".join(problem["letters"])
        return f"Last of {letters}" if template == 0 else f"{letters} : last?"

    def answer(self, problem: Problem) -> str:
        return f" {problem['letters'][-1]}"

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(text.strip() == self.answer(problem).strip())


class NoLength(Fair):
    length = {"easy": 4}


class NoRungs(Fair):
    rungs = ()


class Tuples(Fair):
    """Its problems are other ones when they come back from JSON."""

    def problem(self, rng: Random, rung: str) -> Problem:
        return {"letters": tuple(rng.sample(LETTERS, 4))}


class Echo(Fair):
    """The prompt is the answer."""

    def prompt(self, problem: Problem, template: int) -> str:
        return self.answer(problem) + " " * template

    def problem(self, rng: Random, rung: str) -> Problem:
        return {"letters": [str(rng.randrange(10**6))]}


class OneWording(Fair):
    """Says that there are two."""

    def prompt(self, problem: Problem, template: int) -> str:
        return super().prompt(problem, 0)


class ForgetsRng(Fair):
    def problem(self, rng: Random, rung: str) -> Problem:
        return {"letters": random.sample(LETTERS, 4)}


class Fixed(Fair):
    """Draws the same whatever the seed."""

    def problem(self, rng: Random, rung: str) -> Problem:
        self.drawn = getattr(self, "drawn", 0) + 1
        return super().problem(Random(self.drawn % 997), rung)


class Untrimmed(Fair):
    """Takes its own answer, which begins with a space, for wrong."""

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(text == problem["letters"][-1])


class Raises(Fair):
    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(text.split()[-1] == problem["letters"][-1])


class TakesNothing(Fair):
    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(self.answer(problem).startswith(text.strip(), 1))


class TakesAnything(Fair):
    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(text.strip().isalpha() and len(text.strip()) == 1)


class TakesOthers(Fair):
    """Takes any letter for right but `p` and `q`."""

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(text.strip() in set(LETTERS))


class Hidden(Fair):
    """Holds one of several right answers, and says that it is asked."""

    def problem(self, rng: Random, rung: str) -> Problem:
        letters = sorted(rng.sample(LETTERS, 4))
        return {"letters": letters, "one": rng.sample(letters, 4)}

    def answer(self, problem: Problem) -> str:
        return "".join(f" {x}" for x in problem["one"])

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(sorted(text.split()) == problem["letters"])


class Ambiguous(Hidden):
    """Of which only one is taken."""

    def asked(self, problem: Problem) -> Problem:
        return {"letters": problem["letters"]}

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(text.split() == problem["one"])


class Long(Fair):
    length = {"easy": 4, "hard": 1}


class Sets(Fair):
    """Goes through a set of texts, whose order is another one in every process."""

    def problem(self, rng: Random, rung: str) -> Problem:
        return {"letters": rng.sample([*set(LETTERS)], 4)}


TASK_CONTROLS: dict[Any, str] = {
    NoLength: "written", NoRungs: "written", Tuples: "well_formed", Echo: "well_formed", OneWording: "worded",
    ForgetsRng: "repeats", Fixed: "repeats", Untrimmed: "right_is_right", Raises: "grades_anything",
    TakesNothing: "grades_anything", TakesAnything: "wrong_is_wrong", TakesOthers: "wrong_is_wrong",
    Hidden: "splits", Ambiguous: "splits", Long: "fits", Sets: "same_elsewhere",
}
