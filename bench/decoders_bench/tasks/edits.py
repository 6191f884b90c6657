"""Copying with edits: a text of labelled lines is written again with the words at some places put for others, and a
name renamed to one of one's own choice, which is said first and has to be the same in every place."""

from __future__ import annotations

from random import Random

from decoders_bench.tasks.arithmetic import LABELS
from decoders_bench.tasks.base import Grade, Problem, Task
from decoders_bench.tasks.words import CITIES, JOBS, NAMES, THINGS

POOL = [*CITIES, *JOBS, *THINGS, *map(str, range(100))]
LINES = {"easy": (6, 8), "hard": (18, 22)}
COLUMNS = "ABCD"
WIDTH = len(COLUMNS)
PUTS = {"easy": 3, "hard": 8}


def place_of(i: int) -> str:
    """The place of a word as a prompt names it: the label of its line and the letter of its column."""
    return f"{LABELS[i // WIDTH]} {COLUMNS[i % WIDTH]}"


class Edit(Task):
    """` Ada > Zoe ; a : pens Oslo 12 baker ; b : ...`. `puts` has the new word of each place; a name in three or four
    places becomes any name that the text does not contain, which `renamed` gives. Hard texts take 130 to 158 tokens;
    their prompts, up to 199."""

    name = "edit"
    length = {"easy": 64, "hard": 160}

    def problem(self, rng: Random, rung: str) -> Problem:
        n = rng.randint(*LINES[rung]) * WIDTH
        drawn = rng.sample(POOL, n + PUTS[rung])
        return self.edited(rng, drawn[:n], drawn[n:], 4 if rung == "hard" else 3)

    def edited(self, rng: Random, words: list[str], new: list[str], same: int) -> Problem:
        """These words with the `new` ones to be put at random places, and a name to be renamed at `same` others."""
        old, other = rng.sample(NAMES, 2)
        places = rng.sample(range(len(words)), same + len(new))
        for i in places[:same]:
            words[i] = old
        return {
            "words": words,
            "puts": {place_of(i): word for i, word in zip(places[same:], new, strict=True)},
            "renamed": {old: other},
        }

    def asked(self, problem: Problem) -> Problem:
        return {**problem, "renamed": sorted(problem["renamed"])}

    def lines(self, words: list[str]) -> str:
        rows = [" ".join(words[i : i + WIDTH]) for i in range(0, len(words), WIDTH)]
        return " ;".join(f" {label} : {row}" for label, row in zip(LABELS, rows, strict=False))

    def prompt(self, problem: Problem, template: int) -> str:
        text = self.lines(problem["words"])
        puts = " ,".join(f" {place} > {new}" for place, new in problem["puts"].items())
        rename = f". Rename {' '.join(problem['renamed'])} ."
        return f"Edit:{puts} {rename}{text}" if template == 0 else f"Text:{text} . Put{puts} {rename}"

    def answer(self, problem: Problem) -> str:
        puts, ((old, new),) = problem["puts"], problem["renamed"].items()
        words = [puts.get(place_of(i), new if w == old else w) for i, w in enumerate(problem["words"])]
        return f" {old} > {new} ;{self.lines(words)}"

    def grade(self, problem: Problem, text: str) -> Grade:
        (old,), said = problem["renamed"], text.split()
        new = said[2] if len(said) > 2 else ""
        fresh = new in NAMES and new not in problem["words"]
        return Grade(fresh and said == self.answer({**problem, "renamed": {old: new}}).split())
