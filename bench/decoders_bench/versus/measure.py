"""The measurements of one twin, in each of the dimensions of the claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from decoders import Generator
from decoders.likelihood import likelihoods
from decoders_bench.common.models import loaded
from decoders_bench.nano.tokenizer import segmenter
from decoders_bench.versus import asks
from decoders_bench.versus.asks import Ask
from decoders_bench.versus.examples import CANVAS, SUFFIX, canaries, canvas, encoded, levels
from decoders_bench.versus.plan import BLOCK, TASKS, Kind, Plan, Twin

Way = tuple[str, int | None]
"""A decoder's spec, and its window."""
CANDIDATES: dict[Kind, tuple[Way, ...]] = {
    "ar": (("left_to_right", None), ("left_to_right:temperature=0.3", None), ("left_to_right:temperature=0.7", None)),
    "mdm": (("llada", None), ("threshold:tau=0.9", None), ("threshold", 1)),
    "block": (("llada", BLOCK), ("threshold:tau=0.9", BLOCK), ("threshold", 1)),
    "latent": (("ddim", None), ("renoise", None), ("codar", None)),
}
"""As many candidates for each kind: the most accurate one on validation items is used."""
SINGLE: dict[Kind, Way] = {
    "ar": ("left_to_right", None), "mdm": ("llada", None), "block": ("llada", BLOCK), "latent": ("ddim", None)
}
"""The greedy decoder of each kind that commits one position per forward pass. Latents have no such decoder; theirs has
32 forward passes, which are no fewer than the positions of any answer."""
DRAWN: dict[Kind, Way] = {
    "ar": ("left_to_right:temperature=1", None), "mdm": ("ancestral", None), "block": ("ancestral", BLOCK),
    "latent": ("ddpm", None),
}
"""The decoder with which each kind samples, at temperature 1."""
STEPS: dict[Kind, tuple[int, ...]] = {"mdm": (1, 2, 4, 8), "latent": (2, 4, 8)}
"""The numbers of forward passes that are compared, by kind; blocks need at least one for each block."""
DRAWS = 32
SAMPLES = 32
BATCH = 32


def made(run: str, way: Way, chosen: Sequence[Ask], infill: bool = False, seed: int = 0) -> list[Any]:
    """The results of prompts of equal length, decoded in batches."""
    g = Generator(loaded(run), way[0])
    lengths = {a.length for a in chosen}
    assert len(lengths) == 1
    return g(
        [a.prompt for a in chosen], length=lengths.pop() or None, block=way[1], batch=BATCH, infill=infill,
        seeds=[(seed << 32) + i for i in range(len(chosen))],
    )  # fmt: skip


def marks(right: Sequence[bool]) -> str:
    """A text with `1` for each right item."""
    return "".join("01"[x] for x in right)


def graded(run: str, way: Way, chosen: Sequence[Ask]) -> str:
    return marks([a.right(g.text) for a, g in zip(chosen, made(run, way, chosen), strict=True)])


def validation(run: str, twin: Twin, plan: Plan, n: int) -> dict[str, Any]:
    """The number of right items of each candidate."""
    asked = asks.tasks("validation", n, twin.seed)
    return {
        f"{way[0]}|{way[1]}": sum(graded(run, way, own).count("1") for own in asked.values())
        for way in CANDIDATES[twin.objective]
    }


def quality(run: str, twin: Twin, plan: Plan, n: int, best: Way) -> dict[str, Any]:
    return {name: graded(run, best, own) for name, own in asks.tasks("test", n, twin.seed).items()}


def likelihood(run: str, twin: Twin, plan: Plan, n: int) -> dict[str, Any]:
    """Nats of whole canvases, including their stop tokens. For `shuffle`, all right answers are equally likely, so the
    value of an ideal model is known."""
    model = loaded(run).model
    out: dict[str, Any] = {}
    for name in TASKS:
        own = asks.items(name, "test", n, twin.seed)
        size = canvas(own[0].task, own[0].rung)
        pairs = []
        for item in own:
            said = encoded(item.answer)
            pairs.append((encoded(item.prompt), said + [segmenter().end] * (size - len(said))))
        found = likelihoods(model, pairs, draws=DRAWS, batch=64, block=BLOCK if twin.objective == "block" else None)
        out[name] = {
            "nats": [round(-x.nats, 4) for x in found], "exact": all(x.exact for x in found),
        }
        if name == "shuffle/easy":
            out[name]["truth"] = [round(math.lgamma(len(x.problem["letters"]) + 1), 4) for x in own]
    return out


def control(run: str, twin: Twin, plan: Plan, n: int) -> dict[str, Any]:
    """Answers whose holes are filled in place, and answers to prompts that tell the text around the holes."""
    out, way = {}, SINGLE[twin.objective]
    for name in ("shuffle/easy", "sudoku/easy"):
        native, told = asks.infilling(name, n, twin.seed)
        filled = made(run, way, native, infill=True)
        out[f"{name}, holes"] = marks([a.right(g.text) for a, g in zip(native, filled, strict=True)])
        out[f"{name}, told"] = marks(
            [asks.keeps(a, g.text) for a, g in zip(told, made(run, way, told), strict=True)]
        )
    return out


def reasoning(run: str, twin: Twin, plan: Plan, n: int) -> dict[str, Any]:
    """The same sums with the steps first and with the answer first; how often an answer that precedes its steps was
    decided after the last step; and sums that are deeper than any in training."""
    way = SINGLE[twin.objective]
    first, ahead = asks.stories(n, twin.seed, (2,))
    deep, _ = asks.stories(n, twin.seed, asks.DEEP)
    found = made(run, way, ahead)
    late = [g.commit_steps[1] > g.commit_steps[-2] for g in found if len(g.commit_steps) > 4]
    return {
        "steps first": graded(run, way, first),
        "answer first": marks([a.right(g.text) for a, g in zip(ahead, found, strict=True)]),
        "deeper": graded(run, way, deep), "late": marks(late),
    }


def memorisation(run: str, twin: Twin, plan: Plan, n: int) -> dict[str, Any]:
    """Canaries: how many of their letters are recalled, and which are recalled completely, from their first letters; by
    the number of forward passes if it can be chosen. `half`: every second letter is shown, so there is context on both
    sides."""
    shown = levels(plan)
    own = canaries(twin.seed, shown)
    ways: dict[str, Way] = {"all": SINGLE[twin.objective]}
    if twin.objective in STEPS:
        ways |= {
            str(steps): (f"{SINGLE[twin.objective][0]}:steps={steps}", SINGLE[twin.objective][1])
            for steps in STEPS[twin.objective]
        }
    g = {name: Generator(loaded(run), way[0]) for name, way in ways.items()}
    out: dict[str, Any] = {"times": [times for _, _, times in own]}
    for name, way in ways.items():
        found = g[name]([prompt for prompt, _, _ in own], length=CANVAS, block=way[1], batch=BATCH)
        out[name] = digits(letters_right(said, x.text) for (_, said, _), x in zip(own, found, strict=True))
    halves = [prompt + half(said) for prompt, said, _ in own]
    filled = g["all"](halves, block=ways["all"][1], batch=BATCH, infill=True)
    out["half"] = digits(
        letters_right(said, x.text.removeprefix(prompt).replace(asks.STOP, ""))
        for (prompt, said, _), x in zip(own, filled, strict=True)
    )
    return out


def digits(counts: Iterable[int]) -> str:
    return "".join(map(str, counts))


def half(said: str) -> str:
    """The text with a hole for every second letter and for the rest of the canvas."""
    letters = said.split()
    return "".join(f" {x}" if i % 2 else asks.HOLE for i, x in enumerate(letters)) + asks.STOP * (CANVAS - SUFFIX)


def letters_right(said: str, text: str) -> int:
    return sum(a == b for a, b in zip(said.split(), text.split(), strict=False))


def diversity(run: str, twin: Twin, plan: Plan, n: int) -> dict[str, Any]:
    """Permutations of the same letters, sampled repeatedly at temperature 1: how many are right, and how many of those
    are different."""
    own = asks.plain(asks.items("shuffle/easy", "test", n, twin.seed))
    g, (_, block) = Generator(loaded(run), DRAWN[twin.objective][0]), DRAWN[twin.objective]
    found = g([a.prompt for a in own], length=own[0].length, block=block, n=SAMPLES, batch=BATCH, seed=twin.seed << 32)
    out: dict[str, Any] = {"right": [], "different": [], "expected": []}
    for i, a in enumerate(own):
        texts = [x.text for x in found[i * SAMPLES : (i + 1) * SAMPLES]]
        orders = math.factorial(len(a.item.problem["letters"]))
        fine = [t for t in texts if a.right(t)]
        out["right"].append(len(fine))
        out["different"].append(len(set(fine)))
        out["expected"].append(round(orders * (1 - (1 - 1 / orders) ** SAMPLES), 3))
    return out


Measure = Callable[..., Any]
DIMENSIONS: dict[str, tuple[Measure, int]] = {
    "validation": (validation, 12), "quality": (quality, 32), "likelihood": (likelihood, 12),
    "control": (control, 24), "reasoning": (reasoning, 32), "memorisation": (memorisation, 0),
    "diversity": (diversity, 8),
}
"""The dimensions, and the number of items of each task for each."""


def dimensions(twin: Twin) -> list[str]:
    """The dimensions that are measured for a twin with its chosen decoder. Latents have none that could be called their
    likelihood: the bound of a rounder and a bound of the density of latents are not one of the text."""
    return [x for x in DIMENSIONS if x != "validation" and (x, twin.kind) != ("likelihood", "latent")]
