"""Questions with labels: holes in the answers of tasks, of which what stands there is known."""

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
"""Rows that are on their way together."""


@dataclass(frozen=True)
class Case:
    """One hole."""

    item: int
    probabilities: tuple[float, ...]
    truth: int
    """The number of the label that stands there."""
    mass: float
    """The probability of all labels, before they are made to sum to 1."""


def labels_of(item: Item) -> tuple[str, ...]:
    """What may stand in the holes of an answer: the digits of a grid, the letters of a list, or the numbers that sums
    are made of. Raises `UsageError` for a task whose answers are more than that."""
    if item.task not in (*TASKS, "ledger"):
        raise UsageError(f"an answer of {item.task} has no labels to choose from; those of {', '.join(TASKS)} have")
    if item.task == "sudoku":
        return tuple(f" {i + 1}" for i in range(int(len(item.problem["given"]) ** 0.5)))
    return tuple(f" {x}" for x in item.problem["letters"]) if "letters" in item.problem else NUMBERS


def places(generator: Generator, item: Item) -> tuple[list[int], dict[int, int]]:
    """The token ids of an answer, and for each position that holds a label the label's number. Cells of a grid that are
    given are no question. Raises `UsageError` where a label is not one token."""
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
    """The reading of an item on its way, and which of its holes are questions: the number of each, with its truth. All
    of the answer is open, or, with `half`, each label with even odds and nothing else."""
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
    """Every question of every item, with what the model makes of it."""
    for first in range(0, len(items), AT_ONCE):
        some = [asked(generator, item, half, seed) for item in items[first : first + AT_ONCE]]
        for i, (pending, holes) in enumerate(some, first):
            read = pending.result()
            for hole, truth in holes.items():
                yield Case(i, read[hole].probabilities, truth, read[hole].mass)
