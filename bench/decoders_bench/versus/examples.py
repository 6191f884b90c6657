"""The streams of training examples: each seed has one, which all its twins see in the same order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from random import Random

from decoders_bench.nano.batches import Example
from decoders_bench.nano.tokenizer import segmenter
from decoders_bench.tasks import GENERATED, Item, stream
from decoders_bench.tasks.words import LETTERS
from decoders_bench.versus.plan import CANARIES, REPETITIONS, TASKS, Plan, repeated

FILLED = ("shuffle", "sudoku")
"""Tasks with examples that show a part of the answer in the prompt."""
SHARE = 0.25
"""The share of their examples that do so."""
PREFIX, SUFFIX = 4, 8
"""The numbers of letters of a canary in the prompt and in the answer."""
CANVAS = 16
"""Positions of the answer of a canary."""



@cache
def word(text: str) -> list[int]:
    """The tokens of a word with its leading space."""
    return segmenter().encode(text)


def encoded(text: str) -> list[int]:
    """The tokens of a text, encoded word by word: only pieces with a quotation mark span a space."""
    if '"' in text:
        return segmenter().encode(text)
    return [token for part in re.split("(?= )", text) for token in word(part)]


def example(prompt: str, answer: str, size: int) -> Example:
    """An example in tokens; its answer ends with a stop token."""
    return Example(encoded(prompt), [*encoded(answer), segmenter().end], size)


def canvas(task: str, rung: str) -> int:
    """Positions after the prompt, the same in training and in the measurements."""
    return GENERATED[task].length[rung]


def of_item(item: Item) -> Example:
    return example(item.prompt, item.answer, canvas(item.task, item.rung))


def shown_part(item: Item, rng: Random) -> list[bool]:
    """Which words of an answer are shown: its second half, or a random half."""
    n = len(item.answer.split())
    if item.task == "shuffle":
        return [i >= n - n // 2 for i in range(n)]
    chosen = set(rng.sample(range(n), n // 2))
    return [i in chosen for i in range(n)]


def filling(item: Item, shown: list[bool]) -> str:
    """The prompt for a model that cannot see the right side of a hole: it tells the answer with ` _` for each hole."""
    words = item.answer.split()
    return f"{item.prompt} fill" + "".join(
        f" {word if known else '_'}" for word, known in zip(words, shown, strict=True)
    )


def mixed(rng: Random) -> Iterator[Example]:
    """An endless stream of examples of the training split."""
    names, weights = list(TASKS), list(TASKS.values())
    streams = {name: stream(GENERATED[name.split("/")[0]], name.split("/")[1], "train", rng) for name in names}
    while True:
        item = next(streams[rng.choices(names, weights)[0]])
        if item.task in FILLED and rng.random() < SHARE:
            prompt = filling(item, shown_part(item, rng))
            yield example(prompt, item.answer, canvas(item.task, item.rung))
        else:
            yield of_item(item)


@cache
def pool(regime: str, seed: int) -> list[Example]:
    """All examples of a regime with a fixed number of them."""
    return list(islice(mixed(Random(f"versus/{seed}/pool")), repeated(regime) or 0))


def levels(plan: Plan) -> tuple[int, ...]:
    """How often canaries are shown: the levels up to which canaries are at most a tenth of all examples."""
    most = plan.steps * plan.examples // (10 * CANARIES)
    return tuple(
        times for i, times in enumerate(REPETITIONS) if times <= plan.steps and sum(REPETITIONS[: i + 1]) <= most
    )


@cache
def canaries(seed: int, shown: tuple[int, ...]) -> list[tuple[str, str, int]]:
    """The prompt and the answer of each canary, and how often it is shown: first the shown ones, then as many that
    never are."""
    rng = Random(f"versus/{seed}/canaries")
    times = [n for n in shown for _ in range(CANARIES)]

    def letters(n: int) -> str:
        return "".join(f" {rng.choice(LETTERS)}" for _ in range(n))

    return [("Code:" + letters(PREFIX), letters(SUFFIX), n) for n in [*times, *(0 for _ in times)]]


@cache
def planted(plan: Plan, seed: int) -> dict[int, list[Example]]:
    """The canaries of each step."""
    rng, out = Random(f"versus/{seed}/planted"), dict[int, list[Example]]()
    for prompt, said, times in canaries(seed, levels(plan)):
        for step in rng.sample(range(plan.steps), times):
            out.setdefault(step, []).append(example(prompt, said, CANVAS))
    return out


def of_step(plan: Plan, regime: str, seed: int, step: int) -> list[Example]:
    """The examples that all twins of a seed see in a step."""
    rng, out = Random(f"versus/{regime}/{seed}/{step}"), planted(plan, seed).get(step, [])[: plan.examples]
    left = plan.examples - len(out)
    if repeated(regime):
        return out + rng.choices(pool(regime, seed), k=left)
    return out + list(islice(mixed(rng), left))
