"""A run from start to end: training, checkpoints, measurements. Finished parts are not repeated, so the same command
continues an interrupted run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from decoders.core import UsageError
from decoders_bench.common.results import hardware
from decoders_bench.common.workers import heard_from_others, spread
from decoders_bench.versus import measure
from decoders_bench.versus.checkpoints import write
from decoders_bench.versus.costs import costs, swept
from decoders_bench.versus.measure import BATCH
from decoders_bench.versus.packing import Batch
from decoders_bench.versus.plan import Kind, Plan, Twin
from decoders_bench.versus.train import TRAINED, Run, drawn, export, go, plain, state_file, weights_of

PLAN, RESULTS, MEASURED = "plan.json", "results.json", "measured"
SAVE = 50
"""Steps between two saved states of the training."""
CHOOSING = 2
"""The number of seeds on whose validation items decoders are chosen."""
REPEATS = 3
"""The number of turns in which all settings are timed."""
Told = Callable[[str, int, int], object]
"""It is called with a stage, the finished amount and the total."""


def plan_of(found: dict[str, Any]) -> Plan:
    own: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in found.items()}
    return Plan(**own)


def kept(out: Path) -> dict[str, Any] | None:
    """The plan of a run and the share of items that it measures; None if the run has not begun."""
    for name in (PLAN, TRAINED):
        if (out / name).exists():
            found = json.loads((out / name).read_text())
            return {"plan": found["plan"], "share": found.get("share", 1.0)}
    return None


def begin(out: Path, wanted: Plan, share: float, given: set[str]) -> tuple[Plan, float]:
    """The plan of the run in `out`, which is written if the run is new; `given`: the options that the user set. Raises
    `UsageError` if the run has another plan."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; -o names a directory")
    found = kept(out)
    if found is None:
        if out.exists() and any(x.name != "lock" for x in out.iterdir()):
            raise UsageError(f"{out} holds something else; take another directory")
        out.mkdir(parents=True, exist_ok=True)
        found = {"plan": plain(wanted), "share": share}
    plan = plan_of(found["plan"])
    differ = [f.name for f in fields(Plan) if f.name in given and getattr(plan, f.name) != getattr(wanted, f.name)]
    if differ:
        raise UsageError(f"{out} holds a run with another {', '.join(differ)}; give the same or another directory")
    put(out / PLAN, found)
    return plan, found["share"]


def put(path: Path, found: Any) -> None:
    """Write a file atomically: it is complete, or missing."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(found, separators=(",", ":")) + "\n")
    os.replace(new, path)


@dataclass(frozen=True)
class Part:
    """The training of all twins, or of the twins of one stream."""

    plan: Plan
    out: Path
    device: str
    stream: int | None
    heard: Callable[[int | None, int], object]
    """It is called with the stream and the number of its finished steps."""


def train_part(part: Part) -> None:
    """Train the twins of one part. On a CPU it uses one thread: with matrices this small, several would wait for each
    other."""
    torch.set_num_threads(1)
    run = Run(part.plan, part.out, part.device, part.stream)
    part.heard(part.stream, run.step)

    def draw(step: int) -> Batch:
        return drawn(part.plan, step, run.streams)

    def notify(run: Run) -> None:
        part.heard(part.stream, run.step)

    go(run, draw, notify, SAVE)


def train(plan: Plan, out: Path, device: str, workers: int, told: Told) -> None:
    """Train all twins. An accelerator trains them together. A CPU trains each stream by itself, which is as fast there;
    several processes can share the streams, and the weights do not depend on their number."""
    whole = device != "cpu" or state_file(out, None).exists()
    streams = [None] if whole else list(range(len(plan.streams)))
    done = dict.fromkeys(streams, 0)

    def heard(stream: int | None, step: int) -> None:
        done[stream] = step
        told("training", sum(done.values()), plan.steps * len(streams))

    if workers > 1 and len(streams) > 1:
        with heard_from_others(heard) as tell:
            spread(train_part, [Part(plan, out, device, i, tell) for i in streams], workers, lambda _: None)
    else:
        for i in streams:
            train_part(Part(plan, out, device, i, heard))
    export([Run(plan, out, device, i) for i in streams], out, {"hardware": hardware(device)})


@dataclass(frozen=True)
class Job:
    """The measurement of a dimension of a twin."""

    twin: Twin
    dimension: str
    out: Path
    plan: Plan
    n: int
    best: measure.Way | None = None

    @property
    def file(self) -> Path:
        return self.out / MEASURED / f"{self.twin.name}.{self.dimension}.json"


def work(job: Job) -> None:
    f, _ = measure.DIMENSIONS[job.dimension]
    more = (job.best,) if job.best else ()
    put(job.file, f(str(job.out / job.twin.name), job.twin, job.plan, job.n, *more))


def items_of(dimension: str, share: float) -> int:
    return max(int(measure.DIMENSIONS[dimension][1] * share), 2)


def chosen(plan: Plan, out: Path) -> dict[tuple[Kind, str], measure.Way]:
    """By kind and regime, the candidate with the most right validation items; the first of several."""
    best: dict[tuple[Kind, str], measure.Way] = {}
    for twin in plan.twins:
        if twin.seed:
            continue
        sums: dict[str, int] = {}
        for seed in range(min(plan.seeds, CHOOSING)):
            for name, right in measured(out, replace(twin, seed=seed), "validation").items():
                sums[name] = sums.get(name, 0) + right
        way, _, block = max(sums, key=lambda name: sums[name]).rpartition("|")
        best[twin.kind, twin.regime] = (way, None if block == "None" else int(block))
    return best


def measured(out: Path, twin: Twin, dimension: str) -> Any:
    return json.loads((out / MEASURED / f"{twin.name}.{dimension}.json").read_text())


def measure_all(plan: Plan, share: float, out: Path, workers: int, told: Told) -> None:
    """Measure everything for every twin, beginning with the validation items on which decoders are chosen."""
    (out / MEASURED).mkdir(exist_ok=True)
    early = [
        Job(t, "validation", out, plan, items_of("validation", share)) for t in plan.twins if t.seed < CHOOSING
    ]
    names = [name for name in measure.DIMENSIONS if name != "validation"]
    total, done = len(early) + len(names) * len(plan.twins), 0

    def go_through(jobs: list[Job]) -> None:
        nonlocal done
        left = [job for job in jobs if not job.file.exists()]
        done += len(jobs) - len(left)
        told("measuring", done, total)

        def heard(_: object) -> None:
            nonlocal done
            done += 1
            told("measuring", done, total)

        if workers > 1 and left:
            spread(work, left, workers, heard)
        else:
            for job in left:
                work(job)
                heard(job)

    go_through(early)
    best = chosen(plan, out)
    go_through([
        Job(t, name, out, plan, items_of(name, share), best[t.kind, t.regime] if name == "quality" else None)
        for t in plan.twins for name in names
    ])


def cost_file(out: Path, seed: int) -> Path:
    return out / MEASURED / f"costs-{seed}.json"


def measure_costs(plan: Plan, share: float, out: Path, told: Told) -> None:
    """Measure the costs of the twins of each seed in the first regime, in this process alone, as its processor time is
    measured."""
    torch.set_num_threads(1)
    regime, repeats = plan.regimes[0], max(round(REPEATS * share), 1)
    runs = [{kind: str(out / Twin(kind, regime, seed).name) for kind in plan.kinds} for seed in range(plan.seeds)]
    each = repeats * sum(len(swept(kind)) for kind in plan.kinds)
    done = 0

    def heard() -> None:
        nonlocal done
        done += 1
        told("costs", done, each * plan.seeds)

    for seed, own in enumerate(runs):
        if cost_file(out, seed).exists():
            done += each - 1
            heard()
        else:
            put(cost_file(out, seed), costs(own, seed, BATCH, repeats, heard))


def gathered(plan: Plan, out: Path) -> dict[str, Any]:
    """All results of a run in one document."""
    trained = json.loads((out / TRAINED).read_text())
    best = chosen(plan, out)
    return {
        "plan": plain(plan), "trained_on": trained["hardware"], "seconds": trained["seconds"],
        "hardware": hardware(), "curve": trained["curve"],
        "chosen": [[kind, regime, *way] for (kind, regime), way in best.items()],
        "costs": [json.loads(cost_file(out, seed).read_text()) for seed in range(plan.seeds)],
        "measured": {
            t.name: {name: measured(out, t, name) for name in measure.DIMENSIONS if name != "validation"}
            for t in plan.twins
        },
    }  # fmt: skip


def run(plan: Plan, share: float, out: Path, device: str, workers: int, told: Told) -> dict[str, Any]:
    """Complete the run in `out`. Raises `UsageError` if another process is writing to it."""
    with (out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another process is writing to {out}") from None
        if not (out / TRAINED).exists():
            train(plan, out, device, workers, told)
        write(plan, weights_of(out), out)
        measure_all(plan, share, out, workers, told)
        measure_costs(plan, share, out, told)
        found = gathered(plan, out)
        put(out / RESULTS, found)
        return found
