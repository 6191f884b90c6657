"""Copying with edits: a text of labelled lines is written again with some words put for others, and one or two words
renamed everywhere to a word of one's own choice, which has to be the same in every place."""

from __future__ import annotations

from random import Random

from decoders_bench.tasks.arithmetic import LABELS
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import CITIES, JOBS, NAMES, THINGS

POOL = [*CITIES, *JOBS, *THINGS, *map(str, range(100))]
LINES = {"easy": (6, 8), "hard": (18, 22)}
WIDTH = 4


class Edit(Task):
    """Lines ` a : pens Oslo 12 baker ;`. `puts` names each new word; each of the `renamed` names becomes any name that
    the text does not contain. Hard texts take 125 to 153 tokens, and so do their prompts."""

    name = "edit"
    length = {"easy": 56, "hard": 160}

    def problem(self, rng: Random, rung: str) -> Problem:
        n = rng.randint(*LINES[rung]) * WIDTH
        hard = rung == "hard"
        drawn = rng.sample(POOL, n + 5)
        words = drawn[:n]
        puts = dict(zip(rng.sample(words, 5 if hard else 2), drawn[n:], strict=False))
        names = rng.sample(NAMES, 4)
        renamed = dict(zip(names[: 2 if hard else 1], names[2:], strict=False))
        places = rng.sample([i for i, w in enumerate(words) if w not in puts], (4 if hard else 3) * len(renamed))
        for i, place in enumerate(places):
            words[place] = names[i % len(renamed)]
        return {"words": words, "puts": puts, "renamed": renamed}

    def asked(self, problem: Problem) -> Problem:
        return {**problem, "renamed": sorted(problem["renamed"])}

    def lines(self, words: list[str]) -> str:
        rows = [" ".join(words[i : i + WIDTH]) for i in range(0, len(words), WIDTH)]
        return " ;".join(f" {label} : {row}" for label, row in zip(LABELS, rows, strict=False))

    def prompt(self, problem: Problem, template: int) -> str:
        text, renamed = self.lines(problem["words"]), " ,".join(f" {x}" for x in problem["renamed"])
        if template == 0:
            puts = " ,".join(f" {old} > {new}" for old, new in problem["puts"].items())
            return f"Edit:{puts} . Rename{renamed} .{text}"
        puts = " ,".join(f" {new} for {old}" for old, new in problem["puts"].items())
        return f"Text:{text} . Put{puts} . Rename{renamed} ."

    def answer(self, problem: Problem) -> str:
        new = {**problem["puts"], **problem["renamed"]}
        return self.lines([new.get(w, w) for w in problem["words"]])

    def grade(self, problem: Problem, text: str) -> Grade:
        said = [w for line in text.split(" ;") for w in line.split()[2:]]
        words = problem["words"]
        if len(said) != len(words):
            return Grade(False)
        chosen = {old: said[words.index(old)] for old in problem["renamed"]}
        fresh = len(set(chosen.values())) == len(chosen) and all(
            x in NAMES and x not in words for x in chosen.values()
        )
        return Grade(fresh and text.split() == self.answer({**problem, "renamed": chosen}).split())
