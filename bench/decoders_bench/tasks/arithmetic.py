"""Sums in several steps, with the steps written out: after the question, after the answer, and over hundreds of tokens.

Every number is between 0 and 99. One step is easy; five to eight steps with doubling and halving are meant to be too
many to do in the head, so that an answer committed before its written steps is mostly wrong.
"""

from __future__ import annotations

import re
from random import Random

from decoders.files import parsed
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import CAPITALS, GAIN, LETTERS, LOSE, NAMES, THINGS

Step = tuple[str, int]  # operator and number: ("+", 7), ("-", 3), ("*", 2), ("/", 2)
LABELS = LETTERS + CAPITALS
TOP = 99


def apply(step: Step, value: int) -> int:
    op, x = step
    return {"+": value + x, "-": value - x, "*": value * x, "/": value // x}[op]


def draw_step(rng: Random, value: int, scale: bool) -> Step:
    """A step that stays between 0 and 99; `scale` also allows doubling and halving."""
    if scale and rng.random() < 0.3:
        if value % 2 == 0 and value and rng.random() < 0.5:
            return "/", 2
        if 2 <= value <= TOP // 2:
            return "*", 2
    plus = rng.random() < 0.5 if 9 <= value <= TOP - 9 else value < 9
    return "+" if plus else "-", rng.randint(1, 9)


def draw_chain(rng: Random, n: int, scale: bool) -> tuple[int, list[Step]]:
    start = value = rng.randint(2, 60)
    steps = []
    for _ in range(n):
        steps.append(draw_step(rng, value, scale))
        value = apply(steps[-1], value)
    return start, steps


def written(start: int, steps: list[Step]) -> tuple[str, int]:
    """The steps written out, ` 45 + 7 = 52 ; 52 * 2 = ...`, and the final value."""
    value, lines = start, []
    for op, x in steps:
        after = apply((op, x), value)
        lines.append(f" {value} {op} {x} = {after}")
        value = after
    return " ;".join(lines), value


def agrees(work: str, final: str) -> bool:
    """Every written step is right, starts from the result before it, and the last one is the final answer."""
    value: int | None = None
    for line in work.split(" ;"):
        m = re.fullmatch(r" ([0-9]{1,18}) ([-+*/]) ([0-9]{1,18}) = ([0-9]{1,18})", line)
        if not m or (value is not None and int(m[1]) != value) or (m[2] == "/" and int(m[3]) == 0):
            return False
        value = int(m[4])
        if apply((m[2], int(m[3])), int(m[1])) != value:
            return False
    return value is not None and final.strip() == str(value)


def told(problem: Problem) -> list[str]:
    """Each step as a clause: `buys 7`, `doubles`."""
    scale = {"*": "doubles", "/": "halves"}
    return [scale.get(op) or f"{verb} {x}" for (op, x), verb in zip(problem["steps"], problem["verbs"], strict=True)]


def draw_story(rng: Random, n: int, scale: bool) -> Problem:
    start, steps = draw_chain(rng, n, scale)
    verbs = [rng.choice(GAIN if op == "+" else LOSE) for op, _ in steps]
    return {
        "name": rng.choice(NAMES), "thing": rng.choice(THINGS), "start": start, "steps": [list(s) for s in steps],
        "verbs": verbs,
    }


def story(problem: Problem, template: int) -> str:
    name, thing, start = problem["name"], problem["thing"], problem["start"]
    if template == 0:
        return (
            f" {name} has {start} {thing}." + "".join(f" {name} {clause}." for clause in told(problem)) + " How many?"
        )
    return f" {name} starts with {start} {thing}:" + ",".join(f" {clause}" for clause in told(problem)) + ". Total?"


class Chain(Task):
    """A word problem; the steps are written first, then the answer: ` 45 + 7 = 52 ; 52 - 3 = 49 # 49`."""

    name = "chain"
    length = {"easy": 24, "hard": 56}

    def problem(self, rng: Random, rung: str) -> Problem:
        return draw_story(rng, rng.randint(2, 3) if rung == "easy" else rng.randint(5, 8), rung == "hard")

    def prompt(self, problem: Problem, template: int) -> str:
        return "Q:" + story(problem, template)

    def answer(self, problem: Problem) -> str:
        work, final = written(problem["start"], problem["steps"])
        return f"{work} # {final}"

    def grade(self, problem: Problem, text: str) -> Grade:
        final = written(problem["start"], problem["steps"])[1]
        work, _, said = text.rpartition(" # ")
        return Grade(said.strip() == str(final), agrees(work, said))

    def said(self, text: str) -> str | None:
        _, mark, final = text.rpartition(" # ")
        return final.strip() if mark else None


class AnswerFirst(Task):
    """The problems of `chain`, answered in JSON that names the answer before the steps, so that the order of decoding
    matters."""

    name = "answer_first"
    length = {"easy": 24, "hard": 48}

    def problem(self, rng: Random, rung: str) -> Problem:
        return draw_story(rng, 2 if rung == "easy" else rng.randint(4, 6), rung == "hard")

    def prompt(self, problem: Problem, template: int) -> str:
        return "JSON:" + story(problem, template)

    def answer(self, problem: Problem) -> str:
        work, final = written(problem["start"], problem["steps"])
        return f'{{"answer": {final}, "work": "{work}"}}'

    def grade(self, problem: Problem, text: str) -> Grade:
        final = written(problem["start"], problem["steps"])[1]
        try:
            said = parsed(text)
            answer, work = said["answer"], said["work"]
        except (ValueError, TypeError, KeyError):
            return Grade(False, False)
        return Grade(type(answer) is int and answer == final, isinstance(work, str) and agrees(work, str(answer)))

    def said(self, text: str) -> str | None:
        found = re.search(r'"answer": (-?\d+)', text)
        return found[1] if found else None


class Ledger(Task):
    """A running balance, one labelled line a booking: ` a + 3 = 48 ; b - 5 = 43`. Hard answers take 240 to 288
    tokens."""

    name = "ledger"
    length = {"easy": 64, "hard": 296}

    def problem(self, rng: Random, rung: str) -> Problem:
        start, steps = draw_chain(rng, rng.randint(4, 10) if rung == "easy" else rng.randint(40, 48), False)
        return {"start": start, "steps": [list(s) for s in steps]}

    def prompt(self, problem: Problem, template: int) -> str:
        booked = [f" {label} {op} {x}" for label, (op, x) in zip(LABELS, problem["steps"], strict=False)]
        if template == 0:
            return f"Ledger: {problem['start']} ;" + " ;".join(booked)
        return f"Balance: {problem['start']} ." + " .".join(booked) + " . Totals?"

    def answer(self, problem: Problem) -> str:
        value, lines = problem["start"], []
        for label, (op, x) in zip(LABELS, problem["steps"], strict=False):
            value = apply((op, x), value)
            lines.append(f" {label} {op} {x} = {value}")
        return " ;".join(lines)

    def grade(self, problem: Problem, text: str) -> Grade:
        """`exact`: the last balance is right; `work`: every line is."""
        right = self.answer(problem)
        return Grade(text.rpartition(" = ")[2].strip() == right.rpartition(" = ")[2], text.strip() == right.strip())

    def said(self, text: str) -> str | None:
        _, mark, final = text.rpartition(" = ")
        return final.strip() if mark else None
