"""JSON records with many fields: facts about many people, and a balance that runs from one record to the next."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from decoders.files import parsed
from decoders_bench.tasks.arithmetic import apply, draw_chain
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import CITIES, JOBS, NAMES

PEOPLE = {"easy": (5, 7), "hard": (20, 24)}


class Records(Task):
    """A list of `{"name", "age", "job", "city", "left"}`; hard ones take 201 to 241 tokens. The facts depend on the
    prompt alone, and `left` on the record before."""

    name = "records"
    length = {"easy": 72, "hard": 248}

    def problem(self, rng: Random, rung: str) -> Problem:
        n = rng.randint(*PEOPLE[rung])
        start, steps = draw_chain(rng, n, False)
        people = [[name, rng.randint(18, 99), rng.choice(JOBS), rng.choice(CITIES)] for name in rng.sample(NAMES, n)]
        return {"start": start, "steps": [list(s) for s in steps], "people": people}

    def prompt(self, problem: Problem, template: int) -> str:
        told = zip(problem["people"], problem["steps"], strict=True)
        if template == 0:
            rows = [f" {name} {age} {job} {city} {op} {x}" for (name, age, job, city), (op, x) in told]
            return f"Records: {problem['start']} ;" + " ;".join(rows)
        rows = [f" {op} {x} : the {job} {name} , {age} , {city}" for (name, age, job, city), (op, x) in told]
        return f"People: {problem['start']} ." + " .".join(rows) + " . List."

    def rows(self, problem: Problem) -> list[dict[str, Any]]:
        left, out = problem["start"], []
        for (name, age, job, city), (op, x) in zip(problem["people"], problem["steps"], strict=True):
            left = apply((op, x), left)
            out.append({"name": name, "age": age, "job": job, "city": city, "left": left})
        return out

    def answer(self, problem: Problem) -> str:
        return json.dumps(self.rows(problem))

    def grade(self, problem: Problem, text: str) -> Grade:
        try:
            return Grade(parsed(text) == self.rows(problem))
        except ValueError:
            return Grade(False)
