"""A bracketed expression, opened to its full depth and closed with the value of each bracket: what closes a bracket
depends on what opened it, up to 280 tokens before. The kinds of brackets are the writer's choice, so that two that are
chosen apart from each other need not match."""

from __future__ import annotations

import re
from random import Random
from typing import ClassVar

from decoders_bench.tasks.arithmetic import LABELS, Step, apply, draw_chain
from decoders_bench.tasks.base import Grade, Problem, Task

CLOSING = {"(": ")", "[": "]", "{": "}"}


def spelled(labels: str, steps: list[Step], kinds: str, inner: int) -> str:
    """` a ( + 5 b [ - 3 40 b ] = 37 a ) = 42`: steps and brackets from the outermost to the innermost."""
    opened = [f" {label} {kind} {op} {x}" for kind, label, (op, x) in zip(kinds, labels, steps, strict=True)]
    value, closed = inner, []
    for kind, label, step in zip(reversed(kinds), reversed(labels), reversed(steps), strict=True):
        value = apply(step, value)
        closed.append(f" {label} {CLOSING[kind]} = {value}")
    return "".join(opened) + f" {inner}" + "".join(closed)


class Nest(Task):
    """Open every bracket in the order of the prompt, write the innermost value, and close them from the inside: hard
    answers take 241 to 289 tokens."""

    name = "nest"
    length = {"easy": 88, "hard": 296}
    depth: ClassVar[dict[str, tuple[int, int]]] = {"easy": (7, 10), "hard": (30, 36)}
    """The least and the largest number of brackets, per rung."""

    def problem(self, rng: Random, rung: str) -> Problem:
        n = rng.randint(*self.depth[rung])
        inner, steps = draw_chain(rng, n, False)
        kinds = "".join(rng.choice(list(CLOSING)) for _ in range(n))
        return {"inner": inner, "steps": [list(s) for s in reversed(steps)], "kinds": kinds}

    def asked(self, problem: Problem) -> Problem:
        return {k: x for k, x in problem.items() if k != "kinds"}

    def prompt(self, problem: Problem, template: int) -> str:
        told = "".join(f" {label} {op} {x}" for label, (op, x) in zip(LABELS, problem["steps"], strict=False))
        if template == 0:
            return f"Nest: {problem['inner']} ;{told}"
        return f"Brackets:{told} around {problem['inner']} ."

    def answer(self, problem: Problem) -> str:
        steps = problem["steps"]
        return spelled(LABELS[: len(steps)], [(op, x) for op, x in steps], problem["kinds"], problem["inner"])

    def grade(self, problem: Problem, text: str) -> Grade:
        """`exact`: the last value is right; `work`: every bracket is there, matches, and has its value."""
        right = self.answer(problem)
        kinds = "".join(re.findall(r"[(\[{]", text))
        whole = len(kinds) == len(problem["steps"]) and self.answer({**problem, "kinds": kinds}).split() == text.split()
        return Grade(text.rpartition(" = ")[2].strip() == right.rpartition(" = ")[2], whole)

    def said(self, text: str) -> str | None:
        _, mark, final = text.rpartition(" = ")
        return final.strip() if mark else None
