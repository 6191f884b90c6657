"""A table whose columns are steps: a cell is the one to its left plus or minus the number of its column, so a row is a
chain and the rows do not depend on each other."""

from __future__ import annotations

from random import Random

from decoders_bench.tasks.arithmetic import TOP, apply, draw_step
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import CAPITALS, LETTERS

ROWS = {"easy": (4, 6), "hard": (18, 20)}
COLUMNS = {"easy": (3, 4), "hard": (6, 6)}


class Table(Task):
    """Rows of labelled cells, ` a A 43 B 41 ; b A 15 B 13`, from the value before the first column. Hard answers take
    251 to 279 tokens. Every row can be written at the same time as the others, a cell only after the one to its
    left."""

    name = "table"
    length = {"easy": 64, "hard": 288}

    def problem(self, rng: Random, rung: str) -> Problem:
        steps, reached = [], [0]
        for _ in range(rng.randint(*COLUMNS[rung])):
            steps.append(draw_step(rng, 50 + reached[-1], False))
            reached.append(apply(steps[-1], reached[-1]))
        starts = [rng.randint(-min(reached), TOP - max(reached)) for _ in range(rng.randint(*ROWS[rung]))]
        return {"starts": starts, "steps": [list(s) for s in steps]}

    def prompt(self, problem: Problem, template: int) -> str:
        columns = "".join(f" {label} {op} {x}" for label, (op, x) in zip(CAPITALS, problem["steps"], strict=False))
        rows = "".join(f" {label} {x}" for label, x in zip(LETTERS, problem["starts"], strict=False))
        return f"Table:{columns} ;{rows}" if template == 0 else f"Rows:{rows} . Columns:{columns} ."

    def answer(self, problem: Problem) -> str:
        lines = []
        for label, value in zip(LETTERS, problem["starts"], strict=False):
            cells = []
            for column, (op, x) in zip(CAPITALS, problem["steps"], strict=False):
                value = apply((op, x), value)
                cells.append(f" {column} {value}")
            lines.append(f" {label}" + "".join(cells))
        return " ;".join(lines)

    def grade(self, problem: Problem, text: str) -> Grade:
        """`exact`: the last cell of every row is right; `work`: every cell is."""
        right = self.answer(problem)
        ends = [[line.split()[-1:] for line in x.split(";")] for x in (text, right)]
        return Grade(ends[0] == ends[1], text.split() == right.split())
