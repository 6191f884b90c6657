"""Lists of letters: tasks where the tokens of an answer depend strongly on one another."""

from __future__ import annotations

from random import Random

from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import LETTERS


def draw_letters(rng: Random, rung: str) -> list[str]:
    return rng.sample(LETTERS, rng.randint(5, 7) if rung == "easy" else rng.randint(9, 12))


def worded(verb: str, letters: list[str], template: int) -> str:
    spelled = " ".join(letters)
    return f"{verb}: {spelled}" if template == 0 else f"List: {spelled} {verb.lower()}?"


class Lists(Task):
    """Sort, reverse or copy a list of letters."""

    name = "list"
    length = {"easy": 8, "hard": 16}

    def problem(self, rng: Random, rung: str) -> Problem:
        return {"do": rng.choice(["Sort", "Reverse", "Copy"]), "letters": draw_letters(rng, rung)}

    def prompt(self, problem: Problem, template: int) -> str:
        return worded(problem["do"], problem["letters"], template)

    def answer(self, problem: Problem) -> str:
        letters = problem["letters"]
        done = {"Sort": sorted(letters), "Reverse": letters[::-1], "Copy": letters}[problem["do"]]
        return "".join(f" {x}" for x in done)

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(text.split() == self.answer(problem).split())


class Shuffle(Task):
    """Any order of the given letters is right, so tokens chosen in parallel from their marginals repeat and omit
    letters."""

    name = "shuffle"
    length = {"easy": 8, "hard": 16}

    def problem(self, rng: Random, rung: str) -> Problem:
        letters = draw_letters(rng, rung)
        return {"letters": letters, "one": rng.sample(letters, len(letters))}

    def asked(self, problem: Problem) -> Problem:
        return {"letters": problem["letters"]}

    def prompt(self, problem: Problem, template: int) -> str:
        return worded("Shuffle", problem["letters"], template)

    def answer(self, problem: Problem) -> str:
        return "".join(f" {x}" for x in problem["one"])

    def grade(self, problem: Problem, text: str) -> Grade:
        return Grade(sorted(text.split()) == sorted(problem["letters"]))
