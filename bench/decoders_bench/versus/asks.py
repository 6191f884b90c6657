"""The items on which the twins are tested: each seed has its own, so that differences between seeds reflect both causes
of variation, the training and the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from decoders_bench.tasks import GENERATED, Item, Split, split_of
from decoders_bench.tasks.arithmetic import AnswerFirst, Chain, draw_story
from decoders_bench.versus.examples import canvas, filling, shown_part
from decoders_bench.versus.plan import TASKS

DEEP, DEEP_CANVAS = (4, 5), 32
"""The numbers of steps of sums that are deeper than any in training, and the positions that they take."""
HOLE, STOP = "<|mask|>", "<|end|>"


@dataclass(frozen=True)
class Ask:
    """A prompt, and the grading of its answer."""

    item: Item
    prompt: str
    length: int
    """Positions after the prompt; 0 if the prompt itself contains the holes."""
    head: str = ""
    """The text before the answer in a prompt with holes."""

    def right(self, text: str) -> bool:
        """Whether the generated text is right; for a prompt with holes, the text is the whole row."""
        answer = text.removeprefix(self.head).partition(STOP)[0]
        return GENERATED[self.item.task].grade(self.item.problem, answer).exact


def items(name: str, split: Split, n: int, seed: int) -> list[Item]:
    """Items of a task, with its wordings in turn."""
    task, rung = name.split("/")
    own = GENERATED[task]
    each = [own.items(rung, split, n, seed, t) for t in range(own.templates)]
    return [each[i % own.templates][i] for i in range(n)]


def plain(chosen: Sequence[Item]) -> list[Ask]:
    return [Ask(x, x.prompt, canvas(x.task, x.rung)) for x in chosen]


def tasks(split: Split, n: int, seed: int) -> dict[str, list[Ask]]:
    """The items of every task."""
    return {name: plain(items(name, split, n, seed)) for name in TASKS}


def infilling(name: str, n: int, seed: int) -> tuple[list[Ask], list[Ask]]:
    """Answers with holes, to be filled in place; and the same items with the known parts told in the prompt, for a
    model that cannot see the right side of a hole."""
    rng, native, told = Random(f"versus/{name}/{seed}/holes"), list[Ask](), list[Ask]()
    for item in items(name, "test", n, seed):
        shown = shown_part(item, rng)
        words = zip(item.answer.split(), shown, strict=True)
        size = canvas(item.task, item.rung)
        holes = "".join(f" {word}" if known else HOLE for word, known in words)
        native.append(Ask(item, item.prompt + holes + STOP * (size - len(shown)), 0, item.prompt))
        told.append(Ask(item, filling(item, shown), size))
    return native, told


def keeps(ask: Ask, text: str) -> bool:
    """Whether the answer to a prompt that tells a part of it is right and contains that part."""
    asked = ask.prompt.rpartition(" fill")[2].split()
    said = text.split()
    return (
        ask.right(text) and len(said) == len(asked)
        and all(a in ("_", b) for a, b in zip(asked, said, strict=True))
    )


def stories(n: int, seed: int, steps: tuple[int, ...]) -> tuple[list[Ask], list[Ask]]:
    """The same sums in two wordings: the steps written first, and the answer written first."""
    rng, first, last = Random(f"versus/{steps}/{seed}/stories"), list[Ask](), list[Ask]()
    chain, ahead = Chain(), AnswerFirst()
    size = DEEP_CANVAS if max(steps) >= min(DEEP) else canvas("chain", "easy")
    while len(first) < n:
        problem = draw_story(rng, rng.choice(steps), False)
        if all(split_of(task, problem) == "test" for task in (chain, ahead)):
            wording = len(first) % 2
            first.append(Ask(chain.item(problem, "easy", wording), chain.prompt(problem, wording), size))
            last.append(Ask(ahead.item(problem, "easy", wording), ahead.prompt(problem, wording), size))
    return first, last
