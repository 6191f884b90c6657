"""Many prompts decoded by the engine, compared with static batches, whose rows stay together until the last has
ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from decoders import Generator
from decoders.engine import Engine
from decoders.job import Item, Job
from decoders.text.records import Generation, or_raise
from decoders_bench.common.models import loaded
from decoders_bench.common.outcome import CLOCKS, Clock
from decoders_bench.tasks import TASKS, items

RUNGS = (
    "chain/easy", "chain/hard", "answer_first/hard", "extract/easy", "extract/hard", "sudoku/hard", "list/easy",
    "list/hard", "shuffle/hard", "ledger/easy",
)



@dataclass(frozen=True)
class Throughput:
    """One decoder with one number of concurrent rows. Tokens are generated ones, without prompts and padding."""

    decoder: str
    model: str
    batch: int
    prompts: int
    tokens: int
    forwards: int
    """Forward passes summed over prompts; each prompt counts those in which it took part."""
    engine_seconds: float
    fixed_seconds: float
    engine_occupied: float
    """The share of the rows in forward passes that decoded a prompt."""
    fixed_occupied: float
    """The same share for static batches."""
    same: bool
    """Whether all texts are the same both ways."""

    @property
    def ratio(self) -> float:
        return self.fixed_seconds / self.engine_seconds


def prompts_of(count: int, seed: int) -> list[str]:
    """An equal number of prompts of each rung, in random order."""
    each = -(-count // len(RUNGS))
    found = []
    for rung in RUNGS:
        task, level = rung.split("/")
        found += [x.prompt for x in items(TASKS[task], level, "test", each, seed)]
    Random(seed).shuffle(found)
    return found[:count]


def items_of(spec: str, model: str, count: int, length: int, seed: int) -> tuple[Job, list[Item]]:
    """The job that decodes the prompts, and the prompts that fit."""
    job = Generator(loaded(model), spec).job(length=length)
    rows = [job.encoded(Item(i, p, seed + i, None), None) for i, p in enumerate(prompts_of(count, seed))]
    return job, [x for x in rows if isinstance(x, Item)]


def measure(
    spec: str, model: str, batch: int, count: int, length: int, seed: int, repeats: int, clock: Clock
) -> Throughput:
    """Both ways in turn, `repeats` times; the medians."""
    job, given = items_of(spec, model, count, length, seed)
    read, times = CLOCKS[clock], {"engine": list[float](), "fixed": list[float]()}
    list(job.flowing(given[:batch], batch))  # the first forwards of a process are slow
    for _ in range(repeats):
        began = read()
        fixed = [g for i in range(0, len(given), batch) for _, g in job.answered(given[i : i + batch])]
        times["fixed"].append(read() - began)
        began = read()
        flowed, occupied = engined(job, given, batch)
        times["engine"].append(read() - began)
    made = [or_raise(g) for g in fixed]
    steps = sum(max(g.nfe for g in made[i : i + batch]) * len(made[i : i + batch]) for i in range(0, len(made), batch))
    forwards = sum(g.nfe for g in made)
    return Throughput(
        spec, model, batch, len(given), sum(g.generated_tokens for g in made), forwards, median(times["engine"]),
        median(times["fixed"]), occupied, forwards / steps, [g.text for g in made] == [g.text for g in flowed],
    )


def engined(job: Job, given: Sequence[Item], batch: int) -> tuple[list[Generation], float]:
    """The results of the items, in their order, and the share of slots in use."""
    engines = list[Engine]()
    found = {i: or_raise(g) for i, g in job.flowing(given, batch, engines.append)}
    return [found[x.index] for x in given], engines[0].occupied / engines[0].offered
