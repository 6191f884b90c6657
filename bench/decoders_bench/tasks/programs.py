"""Programs of many lines in a tiny language, judged by what they print.

A line is one statement: ` x = 5`, ` x += 3`, ` x -= 3` or ` print x`, where a number may also be a variable. Whatever
prints the numbers that are asked for is right, so names and sums are the writer's choice and have to agree with each
other over three lines.
"""

from __future__ import annotations

import re
from random import Random

from decoders_bench.tasks.arithmetic import TOP
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import LETTERS

PRINTED = {"easy": (5, 7), "hard": (22, 26)}
STATEMENT = re.compile(r" *([a-z]) *(=|\+=|-=) *([0-9]{1,9}|[a-z]) *")
PRINT = re.compile(r" *print +([a-z]) *")


class ProgramError(ValueError):
    """A line is no statement, or reads a variable that has no value yet."""


def run(program: str) -> list[int]:
    """The numbers that a program prints, in its order. Raises `ProgramError`."""
    values: dict[str, int] = {}
    printed = []

    def value(said: str) -> int:
        if said.isdigit():
            return int(said)
        if said not in values:
            raise ProgramError(f"{said} has no value")
        return values[said]

    for line in program.rstrip("\n").split("\n"):
        if found := PRINT.fullmatch(line):
            printed.append(value(found[1]))
        elif found := STATEMENT.fullmatch(line):
            name, sign, x = found[1], found[2], value(found[3])
            values[name] = x if sign == "=" else value(name) + (x if sign == "+=" else -x)
        else:
            raise ProgramError(f"no statement: {line!r}")
    return printed


def draw_lines(rng: Random, target: int) -> list[str]:
    """Three lines that print a number: a variable, a sum and `print`."""
    name, x = rng.choice(LETTERS), rng.randint(1, 9)
    plus = rng.random() < 0.5 if 9 <= target <= TOP - 9 else target >= 9
    before, sign = (target - x, "+=") if plus else (target + x, "-=")
    return [f" {name} = {before}", f" {name} {sign} {x}", f" print {name}"]


class Program(Task):
    """Print the given numbers. Hard programs, as the embedded model is trained to write them, take 241 to 285
    tokens."""

    name = "program"
    length = {"easy": 80, "hard": 288}

    def problem(self, rng: Random, rung: str) -> Problem:
        targets = [rng.randint(0, TOP) for _ in range(rng.randint(*PRINTED[rung]))]
        return {"targets": targets, "one": [line for t in targets for line in draw_lines(rng, t)]}

    def asked(self, problem: Problem) -> Problem:
        return {"targets": problem["targets"]}

    def prompt(self, problem: Problem, template: int) -> str:
        if template == 0:
            return "Program:" + "".join(f" {t}" for t in problem["targets"])
        return "Code:" + " ,".join(f" print {t}" for t in problem["targets"]) + " ."

    def answer(self, problem: Problem) -> str:
        return "\n".join(problem["one"])

    def grade(self, problem: Problem, text: str) -> Grade:
        try:
            return Grade(run(text) == problem["targets"])
        except ProgramError:
            return Grade(False)

    def said(self, text: str) -> str | None:
        try:
            return " ".join(map(str, run(text)))
        except ProgramError:
            return None
