"""Programs of many lines in a tiny language, judged by what they print.

A line is one statement: ` x = 5`, ` x += 3`, ` x -= 3` or ` print x`, where a number may also be a variable, or ` # 8`,
which promises what the next ` print` prints. Whatever keeps its promises and prints the numbers that are asked for is
right, so names and sums are the writer's choice and have to agree with each other over four lines.
"""

from __future__ import annotations

import re
from random import Random

from decoders_bench.tasks.arithmetic import TOP
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import LETTERS

PRINTED = {"easy": (4, 6), "hard": (18, 20)}
STATEMENT = re.compile(r" *([a-z]) *(=|\+=|-=) *([0-9]{1,9}|[a-z]) *")
PRINT = re.compile(r" *print +([a-z]) *")
PROMISE = re.compile(r" *# *([0-9]{1,9}) *")


class ProgramError(ValueError):
    """A line is no statement, reads a variable that has no value yet, or breaks a promise."""


def run(program: str) -> list[int]:
    """The numbers that a program prints, in its order. Raises `ProgramError`."""
    values: dict[str, int] = {}
    printed: list[int] = []
    promised: int | None = None

    def value(said: str) -> int:
        if said.isdigit():
            return int(said)
        if said not in values:
            raise ProgramError(f"{said} has no value")
        return values[said]

    for line in program.rstrip("\n").split("\n"):
        if found := PRINT.fullmatch(line):
            printed.append(value(found[1]))
            if promised not in (None, printed[-1]):
                raise ProgramError(f"{promised} was promised, {printed[-1]} is printed")
            promised = None
        elif found := STATEMENT.fullmatch(line):
            name, sign, x = found[1], found[2], value(found[3])
            values[name] = x if sign == "=" else value(name) + (x if sign == "+=" else -x)
        elif found := PROMISE.fullmatch(line):
            promised = int(found[1])
        else:
            raise ProgramError(f"no statement: {line!r}")
    return printed


def draw_lines(rng: Random, target: int) -> list[str]:
    """Four lines that print a number: the promise, a variable, a sum and `print`."""
    name, x = rng.choice(LETTERS), rng.randint(1, 9)
    plus = rng.random() < 0.5 if 9 <= target <= TOP - 9 else target >= 9
    before, sign = (target - x, "+=") if plus else (target + x, "-=")
    return [f" # {target}", f" {name} = {before}", f" {name} {sign} {x}", f" print {name}"]


class Program(Task):
    """Print the given numbers. Hard programs, as the embedded model is trained to write them, take 251 to 279
    tokens."""

    name = "program"
    length = {"easy": 88, "hard": 288}

    def problem(self, rng: Random, rung: str) -> Problem:
        targets = rng.sample(range(TOP + 1), rng.randint(*PRINTED[rung]))
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
