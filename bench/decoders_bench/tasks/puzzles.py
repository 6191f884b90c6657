"""Small sudoku: the easiest cell is rarely the first one, so order of decoding matters."""

from __future__ import annotations

import re
from random import Random

from decoders_bench.tasks.base import Grade, Problem, Task

BOX = {"easy": (2, 2), "hard": (2, 3)}  # rows and columns of a box; a grid has their product on a side


def draw_grid(rng: Random, box: tuple[int, int]) -> list[int]:
    """A filled grid: the canonical one with digits, rows in a band, bands, columns in a stack and stacks permuted."""
    r, c = box
    n = r * c
    digits = rng.sample(range(1, n + 1), n)
    rows = [band * r + i for band in rng.sample(range(c), c) for i in rng.sample(range(r), r)]
    columns = [stack * c + j for stack in rng.sample(range(r), r) for j in rng.sample(range(c), c)]
    return [digits[(row % r * c + row // r + column) % n] for row in rows for column in columns]


def valid(cells: list[int], box: tuple[int, int]) -> bool:
    """Every row, column and box holds each digit once."""
    r, c = box
    n = r * c
    full = set(range(1, n + 1))
    if len(cells) != n * n:
        return False
    rows = [{cells[i * n + j] for j in range(n)} for i in range(n)]
    columns = [{cells[i * n + j] for i in range(n)} for j in range(n)]
    boxes = [
        {cells[(a * r + i) * n + b * c + j] for i in range(r) for j in range(c)} for a in range(c) for b in range(r)
    ]
    return all(unit == full for unit in rows + columns + boxes)


class Sudoku(Task):
    """Easy: 4 x 4 with 4 to 9 givens. Hard: 6 x 6 with 16 to 26 givens. Every grid that keeps the rules and the givens
    is right."""

    name = "sudoku"
    length = {"easy": 24, "hard": 40}

    def problem(self, rng: Random, rung: str) -> Problem:
        grid = draw_grid(rng, BOX[rung])
        given = set(rng.sample(range(len(grid)), rng.randint(4, 9) if rung == "easy" else rng.randint(16, 26)))
        return {"given": [x if i in given else 0 for i, x in enumerate(grid)], "grid": grid}

    def asked(self, problem: Problem) -> Problem:
        return {"given": problem["given"]}

    def prompt(self, problem: Problem, template: int) -> str:
        cells = [str(x) if x else "_" for x in problem["given"]]
        if template == 0:
            return "Sudoku: " + " ".join(cells)
        n = int(len(cells) ** 0.5)
        return "Grid: " + " / ".join(" ".join(cells[i : i + n]) for i in range(0, len(cells), n)) + " fill?"

    def answer(self, problem: Problem) -> str:
        return "".join(f" {x}" for x in problem["grid"])

    def grade(self, problem: Problem, text: str) -> Grade:
        given = problem["given"]
        words = text.split()
        if not all(re.fullmatch("[0-9]{1,2}", w) for w in words):
            return Grade(False)
        cells = [int(w) for w in words]
        box = BOX["easy" if len(given) == 16 else "hard"]
        return Grade(valid(cells, box) and all(g in (0, x) for g, x in zip(given, cells, strict=True)))
