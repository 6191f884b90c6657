"""What a task is: seeded problems, prompts in several templates, an exact grader, and a split that cannot leak.

A problem is plain JSON data, apart from its wording. A hash of the question decides whether it belongs to training,
validation or test, so the same problem in another template, or drawn with another seed, always lands in the same split.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

Split = Literal["train", "validation", "test"]
Problem = dict[str, Any]


@dataclass(frozen=True)
class Grade:
    """The grade of an answer.

    `exact`: the final answer is right. `work`: the written steps are right and agree with the answer; None if a task
    has no written steps.
    """

    exact: bool
    work: bool | None = None


@dataclass(frozen=True)
class Item:
    """One prompt of one problem, with what is needed to grade an answer to it."""

    task: str
    rung: str
    template: int
    prompt: str
    answer: str
    problem: Problem


class Gradable(ABC):
    """A source of gradable items: the interface that `decoders bench quality` needs, and the base class of the entry
    points `decoders.tasks`. Most are a `Task`, whose problems are drawn; those of `decoders_bench.tasks.files` read
    them."""

    name: str
    rungs: tuple[str, ...] = ("easy", "hard")
    templates: int = 2
    """The number of wordings of a problem."""
    length: dict[str, int]
    """Canvas length per rung, in tokens of the model for which the task is meant."""
    reads_file: ClassVar[bool] = False
    """It is made with the path of a file of problems: `name:FILE`."""
    runs_code: ClassVar[bool] = False
    """Grading runs code that the model wrote (`decoders_bench.tasks.sandbox`)."""

    @abstractmethod
    def items(self, rung: str, split: Split, n: int, seed: int = 0, template: int | None = None) -> list[Item]:
        """The first `n` items of a split, the same for the same arguments on every machine; another template words the
        same problems differently. Raises `UsageError` if there are fewer."""

    @abstractmethod
    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade any text; it never raises, even for a malformed one."""

    def said(self, text: str) -> str | None:
        """The final answer in a text, as it is shown; None if there is none."""
        return text.strip()


class Task(Gradable):
    """Problems that are drawn at random, on several rungs of difficulty. The `length` of each rung is for the embedded
    model: every answer and one stop token fit."""

    family: ClassVar[str] = ""
    """The task whose problems these are, if this task words them differently or uses a part of them; it has the same
    split."""

    @abstractmethod
    def problem(self, rng: Random, rung: str) -> Problem:
        """Draw a problem; all randomness comes from `rng`."""

    def asked(self, problem: Problem) -> Problem:
        """The part of a problem that its prompt shows; override it if a problem also contains one of several right
        answers."""
        return problem

    @abstractmethod
    def prompt(self, problem: Problem, template: int) -> str:
        """Word the problem; `template` counts from 0."""

    @abstractmethod
    def answer(self, problem: Problem) -> str:
        """One right answer, as the embedded model is trained to write it."""

    def items(self, rung: str, split: Split, n: int, seed: int = 0, template: int | None = None) -> list[Item]:
        return items(self, rung, split, n, seed, template)

    def item(self, problem: Problem, rung: str, template: int) -> Item:
        return Item(self.name, rung, template, self.prompt(problem, template), self.answer(problem), problem)


def split_of(task: Task, problem: Problem) -> Split:
    """One problem in ten is for test, one in ten for validation, the others are for training."""
    data = json.dumps([task.family or task.name, task.asked(problem)], sort_keys=True).encode()
    bucket = int.from_bytes(hashlib.sha256(data).digest()[:8], "big") % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def stream(task: Task, rung: str, split: Split, rng: Random, template: int | None = None) -> Iterator[Item]:
    """Endless items of one split; without `template` each takes a random one."""
    if rung not in task.rungs:
        raise ValueError(f"task {task.name} has no rung {rung!r}; it has {', '.join(task.rungs)}")
    if template is not None and not 0 <= template < task.templates:
        raise ValueError(f"task {task.name} has templates 0 to {task.templates - 1}, not {template}")
    while True:
        problem = task.problem(rng, rung)
        if split_of(task, problem) == split:
            yield task.item(problem, rung, rng.randrange(task.templates) if template is None else template)


def items(task: Task, rung: str, split: Split, n: int, seed: int = 0, template: int | None = None) -> list[Item]:
    """The first `n` items of a split, no prompt twice; the same for the same arguments, on every machine."""
    out: dict[str, Item] = {}
    for tries, item in enumerate(stream(task, rung, split, Random(f"{task.name}/{rung}/{split}/{seed}"), template)):
        out.setdefault(item.prompt, item)
        if len(out) == n:
            break
        if tries > 100 * n + 10_000:
            raise ValueError(f"task {task.name}, rung {rung}, split {split}: fewer than {n} distinct prompts")
    return list(out.values())
