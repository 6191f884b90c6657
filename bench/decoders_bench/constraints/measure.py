"""The two measurements: validity on random schemas, and the time per forward pass on `nano` with and without a
constraint, in one run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median

from decoders import Generator, UsageError, decode, get
from decoders.constraints.automaton import Automaton
from decoders.constraints.constrained import Constrained
from decoders_bench.constraints.schemas import draw, random_schema, toy, valid, written

PROMPT = "Extract: Anna is 31 years old."
DECODERS = ("threshold:tau=0.5", "llada", "llada2")


@dataclass(frozen=True)
class Validity:
    """The texts of one decoder under random schemas."""

    decoder: str
    schemas: int
    valid: int
    states: float
    """Mean number of states of the automata."""
    tokens: float
    forwards: float
    """Mean per text."""


@dataclass(frozen=True)
class Overhead:
    """Milliseconds per forward pass of one decoder on `nano`, for one row; medians over schemas."""

    decoder: str
    length: int
    schemas: int
    states: float
    free_ms: float
    constrained_ms: float
    ratio: float
    """The median over schemas of the ratio to the same run without the constraint."""


def validity(decoders: Sequence[str], count: int, seed: int, notify: Callable[[], None]) -> list[Validity]:
    """The same schemas for every decoder, on a model with random predictions; each canvas is a little longer than the
    schema's shortest text."""
    rng = Random(seed)
    drawn = []
    for _ in range(count):
        drawn.append((*draw(rng), rng.randint(0, 12)))
    out = []
    for spec in decoders:
        found: list[tuple[bool, int, int]] = []
        for i, (schema, automaton, shortest, more) in enumerate(drawn):
            length = shortest + more
            row = decode(toy(), Constrained(get(spec), automaton, length), [[1, 2]], length=length, seed=i)[0]
            found.append((valid(written(row.tokens), schema), len(row.tokens), row.nfe))
            notify()
        states = sum(len(a.accepting) for _, a, _, _ in drawn) / count
        right, tokens, forwards = (sum(column) for column in zip(*found, strict=True))
        out.append(Validity(spec, count, right, states, tokens / count, forwards / count))
    return out


def overhead(decoders: Sequence[str], count: int, length: int, seed: int, notify: Callable[[], None]) -> list[Overhead]:
    """The CPU time of one thread, which other processes of the machine hardly affect; each pair of runs follows a
    warm-up."""
    loaded = Generator("nano").loaded
    out = []
    for spec in decoders:
        rng, free = Random(seed), Generator(loaded, spec)
        found: list[tuple[int, float, float, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            while len(found) < count:
                path = Path(folder) / "schema.json"
                path.write_text(json.dumps(random_schema(rng, 2)))
                bound = Generator(loaded, spec, constraint=f"json:{path}")
                automaton = fitting(bound, length)
                if automaton is None:
                    continue
                times = [per_forward(g, length) for g in (bound, free, bound, free)][2:]
                found.append((len(automaton.accepting), times[1], times[0], times[0] / times[1]))
                notify()
        states, free_ms, constrained_ms, ratio = (median(column) for column in zip(*found, strict=True))
        out.append(Overhead(spec, length, count, states, free_ms, constrained_ms, ratio))
    return out


def fitting(generator: Generator, length: int) -> Automaton | None:
    """The automaton of the generator's constraint, if it allows a text with this number of tokens."""
    try:
        return generator.constraint.automaton(length) if generator.constraint else None
    except UsageError:
        return None


def per_forward(generator: Generator, length: int) -> float:
    """Milliseconds per forward pass."""
    began = time.process_time()
    made = generator(PROMPT, length=length)[0]
    return 1000 * (time.process_time() - began) / made.nfe
