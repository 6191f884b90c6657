"""Questions with labels: holes in the answers of tasks whose right content is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from decoders import Generator, UsageError
from decoders.decide import Reading
from decoders.decide.decider import Decider
from decoders.decide.reader import Pending
from decoders_bench.tasks import GENERATED, Item

NUMBERS = tuple(f" {i}" for i in range(100))
TASKS = "sudoku", "list", "shuffle", "chain", "answer_first"
AT_ONCE = 64
"""The number of rows that are evaluated concurrently."""


@dataclass(frozen=True)
class Case:
    """One hole."""

    item: int
    probabilities: tuple[float, ...]
    truth: int
    """The number of the right label."""
    mass: float
    """The total probability of all labels, before normalisation."""


def labels_of(item: Item) -> tuple[str, ...]:
    """The labels that can be in the holes of an answer: the digits of a grid, the letters of a list, or the numbers in
    sums. Raises `UsageError` for a task with other answers."""
    if item.task not in (*TASKS, "ledger"):
        raise UsageError(f"an answer of {item.task} has no labels to choose from; those of {', '.join(TASKS)} have")
    if item.task == "sudoku":
        return tuple(f" {i + 1}" for i in range(int(len(item.problem["given"]) ** 0.5)))
    return tuple(f" {x}" for x in item.problem["letters"]) if "letters" in item.problem else NUMBERS


def places(generator: Generator, item: Item) -> tuple[list[int], dict[int, int]]:
    """The token ids of an answer, and for each position of a label the label's number. Given cells of a grid are not
    included. Raises `UsageError` if a label is not one token."""
    answer, ids = generator.ids(item.answer), [generator.ids(label) for label in labels_of(item)]
    if any(len(x) != 1 for x in ids):
        raise UsageError(f"the labels of {item.task} are not one token each to {generator.loaded.name}")
    number = {x[0]: i for i, x in enumerate(ids)}
    found = {at: number[token] for at, token in enumerate(answer) if token in number}
    given = item.problem.get("given", [])
    return answer, {at: truth for at, truth in found.items() if not (at < len(given) and given[at])}


def asked(
    generator: Generator, item: Item, half: bool, seed: int
) -> tuple[Pending[list[Reading]], dict[int, int]]:
    """The pending reading of an item, and the holes that are questions: the number of each, with its right label. The
    whole answer is open or, with `half`, each label with probability 1/2 and nothing else."""
    answer, truths = places(generator, item)
    decider, labels = Decider(generator), labels_of(item)
    if not half:
        return decider.read(item.prompt, labels, max(GENERATED[item.task].length[item.rung], len(answer))), truths
    rng = Random(f"{seed}/{item.prompt}")
    hidden = [at for at in truths if rng.random() < 0.5] or [rng.choice([*truths])]
    mask, decode = generator.model.mask_id, generator.loaded.tokenizer.decode
    shown = [mask if at in hidden else token for at, token in enumerate(answer)]
    text = item.prompt + decode([t for t in shown if t is not None])
    return decider.read(text, labels), {i: truths[at] for i, at in enumerate(hidden)}


def cases(generator: Generator, items: Sequence[Item], half: bool, seed: int) -> Iterator[Case]:
    """Every question of every item, with the model's probabilities."""
    for first in range(0, len(items), AT_ONCE):
        some = [asked(generator, item, half, seed) for item in items[first : first + AT_ONCE]]
        for i, (pending, holes) in enumerate(some, first):
            read = pending.result()
            for hole, truth in holes.items():
                yield Case(i, read[hole].probabilities, truth, read[hole].mass)
