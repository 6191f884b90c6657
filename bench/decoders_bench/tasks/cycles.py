"""A long chain of sums whose steps repeat: each line needs the balance of the line before it, and a step that the
prompt names once and that occurs many lines before."""

from __future__ import annotations

from random import Random

from decoders_bench.tasks.arithmetic import LABELS, TOP, Ledger, Step, apply
from decoders_bench.tasks.base import Problem

LINES = {"easy": (12, 16), "hard": (44, 52)}


def held(start: int, steps: list[Step]) -> bool:
    """Whether every balance is between 0 and 99."""
    value = start
    for step in steps:
        value = apply(step, value)
        if not 0 <= value <= TOP:
            return False
    return True


class Cycle(Ledger):
    """A ledger of three to six steps, no two by the same number, that are repeated up to a label: ` a + 3 = 48 ; b - 5
    = 43`. Hard answers take 263 to 311 tokens."""

    name = "cycle"
    length = {"easy": 96, "hard": 312}

    def problem(self, rng: Random, rung: str) -> Problem:
        n = rng.randint(*LINES[rung])
        while True:
            start = rng.randint(2, TOP - 2)
            once = [(rng.choice("+-"), x) for x in rng.sample(range(1, 10), rng.randint(3, 6))]
            steps = (once * n)[:n]
            if held(start, steps):
                return {"start": start, "steps": [list(s) for s in steps], "period": len(once)}

    def prompt(self, problem: Problem, template: int) -> str:
        once = " ;".join(f" {op} {x}" for op, x in problem["steps"][: problem["period"]])
        last = LABELS[len(problem["steps"]) - 1]
        if template == 0:
            return f"Cycle: {problem['start']} ;{once} ; {last}"
        return f"Repeat:{once} . From {problem['start']} : a .. {last} ."
