"""Structured extraction: a sentence about a person, to JSON with fixed keys."""

from __future__ import annotations

import json
from random import Random

from decoders.files import parsed
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import CAPITALS, CITIES, JOBS, NAMES


class Extract(Task):
    """Copy the facts of a sentence to the keys name, age, job, city; hard: also a badge of 6 to 10 letters and a
    room."""

    name = "extract"
    templates = 3
    length = {"easy": 16, "hard": 32}

    def problem(self, rng: Random, rung: str) -> Problem:
        facts: Problem = {
            "name": rng.choice(NAMES),
            "age": rng.randint(18, 99),
            "job": rng.choice(JOBS),
            "city": rng.choice(CITIES),
        }
        if rung == "hard":
            facts |= {
                "badge": " ".join(rng.choice(CAPITALS) for _ in range(rng.randint(6, 10))),
                "room": rng.randint(0, 99),
            }
        return facts

    def prompt(self, problem: Problem, template: int) -> str:
        f = problem
        extra = f" Badge {f['badge']} , room {f['room']}." if "badge" in f else ""
        text = (
            f" {f['name']} aged {f['age']} is a {f['job']} from {f['city']}.{extra}",
            f" The {f['job']} {f['name']} is {f['age']} and lives in {f['city']}.{extra}",
            f"{extra} From {f['city']} : {f['name']} , {f['age']} , {f['job']}.",
        )[template]
        return "Extract:" + text

    def answer(self, problem: Problem) -> str:
        return json.dumps(problem)

    def grade(self, problem: Problem, text: str) -> Grade:
        try:
            return Grade(parsed(text) == problem)
        except ValueError:
            return Grade(False)
