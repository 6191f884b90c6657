"""A run from start to end: training, checkpoints, measurements. Finished parts are not repeated, so the same command
continues an interrupted run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Sequence
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
from decoders_bench.versus.groups import Group, groups, trained, training
from decoders_bench.versus.measure import BATCH
from decoders_bench.versus.plan import Kind, Plan, Twin
from decoders_bench.versus.train import Training, export, go, plain, plan_of, put, state_file, trained_file, weights_of

PLAN, RESULTS, MEASURED = "plan.json", "results.json", "measured"
SAVE = 50
"""Steps between two saved states of the training."""
CHOOSING = 2
"""The number of seeds on whose validation items decoders are chosen."""
REPEATS = 3
"""The number of turns in which all settings are timed."""
Told = Callable[[str, int, int], object]
"""It is called with a stage, the finished amount and the total."""


def kept(out: Path) -> dict[str, Any] | None:
    """The plan of a run and the share of items that it measures; None if the run has not begun."""
    for file in (out / PLAN, trained_file(out)):
        if file.exists():
            found = json.loads(file.read_text())
            return {"plan": found["plan"], "share": found.get("share", 1.0)}
    return None


def begin(out: Path, wanted: Plan, share: float, given: set[str]) -> tuple[Plan, float]:
    """The plan of the run in `out`, which is written if the run is new, or gains kinds; `given`: the options that the
    user set. Raises `UsageError` if the run has another plan."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; -o names a directory")
    found = kept(out)
    if found is None:
        if out.exists() and any(x.name != "lock" for x in out.iterdir()):
            raise UsageError(f"{out} holds something else; take another directory")
        out.mkdir(parents=True, exist_ok=True)
        found = {"plan": plain(wanted), "share": share}
    plan = plan_of(found["plan"])
    if "kinds" in given:
        plan = with_kinds(plan, wanted.kinds, out)
        wanted = replace(wanted, kinds=plan.kinds)
    differ = [f.name for f in fields(Plan) if f.name in given and getattr(plan, f.name) != getattr(wanted, f.name)]
    if differ:
        raise UsageError(f"{out} holds a run with another {', '.join(differ)}; give the same or another directory")
    put(out / PLAN, found | {"plan": plain(plan)})
    return plan, found["share"]


def with_kinds(plan: Plan, wanted: Sequence[Kind], out: Path) -> Plan:
    """The plan of the run in `out` with the kinds that the user named: all of it, or further ones, which a run may gain
    once its own are trained. Raises `UsageError` for others."""
    new = tuple(kind for kind in wanted if kind not in plan.kinds)
    if len(new) < len(wanted) < len(plan.kinds) + len(new):
        raise UsageError(f"{out} holds a run with another kinds; give the same or another directory")
    if new and not all(trained_file(out, group.name).exists() for group in groups(plan, out)):
        raise UsageError(f"{out} gains {', '.join(new)} once its own twins are trained; run it without --kind first")
    return replace(plan, kinds=(*plan.kinds, *new))


@dataclass(frozen=True)
class Part:
    """The training of all twins of a group, or of those of one stream."""

    group: Group
    out: Path
    device: str
    stream: int | None
    heard: Callable[[str, int | None, int], object]
    """It is called with the group, the stream and the number of its finished steps."""

    def begun(self) -> Training:
        return training(self.group, self.out, self.device, self.stream)


def train_part(part: Part) -> None:
    """Train the twins of one part. On a CPU it uses one thread: with matrices this small, several would wait for each
    other."""
    torch.set_num_threads(1)
    run = part.begun()

    def notify(run: Training) -> None:
        part.heard(part.group.name, part.stream, run.step)

    notify(run)
    go(run, run.drawn, notify, SAVE)


def streams_of(group: Group, out: Path, device: str) -> list[int | None]:
    """The numbers of the streams that are trained by themselves, or None for all of them together: twins of equal shape
    on an accelerator. A CPU is as fast with each stream by itself."""
    whole = group.stacked and (device != "cpu" or state_file(out, None, group.name).exists())
    return [None] if whole else list(range(len(group.plan.streams)))


def train(plan: Plan, out: Path, device: str, workers: int, told: Told) -> None:
    """Train all twins that are not trained yet. Several processes can share the streams of a CPU, and the weights do
    not depend on their number."""
    left = [group for group in groups(plan, out) if not trained_file(out, group.name).exists()]
    done: dict[tuple[str, int | None], int] = {}

    def heard(group: str, stream: int | None, step: int) -> None:
        done[group, stream] = step
        told("training", sum(done.values()), plan.steps * len(parts))

    parts = [Part(group, out, device, i, heard) for group in left for i in streams_of(group, out, device)]
    if workers > 1 and len(parts) > 1:
        with heard_from_others(heard) as tell:
            spread(train_part, [replace(part, heard=tell) for part in parts], workers, lambda _: None)
    else:
        for part in parts:
            train_part(part)
    for group in left:
        runs = [part.begun() for part in parts if part.group == group]
        export(runs, out, {"hardware": hardware(device)}, group.name)


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
    late = [(t, name) for t in plan.twins for name in measure.dimensions(t)]
    total, done = len(early) + len(late), 0

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
        for t, name in late
    ])


def cost_file(out: Path, seed: int) -> Path:
    return out / MEASURED / f"costs-{seed}.json"


def measure_costs(plan: Plan, share: float, out: Path, told: Told) -> None:
    """Measure the costs of the twins of each seed in the first regime, in this process alone, as its processor time is
    measured. A run that has gained a kind measures those of the others again, as all settings take turns."""
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
        file = cost_file(out, seed)
        if file.exists() and {row["kind"] for row in json.loads(file.read_text())} == set(plan.kinds):
            done += each - 1
            heard()
        else:
            put(file, costs(own, seed, BATCH, repeats, heard))


def gathered(plan: Plan, out: Path) -> dict[str, Any]:
    """All results of a run in one document."""
    best = chosen(plan, out)
    return {
        "plan": plain(plan), **trained(plan, out), "hardware": hardware(),
        "chosen": [[kind, regime, *way] for (kind, regime), way in best.items()],
        "costs": [json.loads(cost_file(out, seed).read_text()) for seed in range(plan.seeds)],
        "measured": {
            t.name: {name: measured(out, t, name) for name in measure.dimensions(t)} for t in plan.twins
        },
    }  # fmt: skip


def run(plan: Plan, share: float, out: Path, device: str, workers: int, told: Told) -> dict[str, Any]:
    """Complete the run in `out`. Raises `UsageError` if another process is writing to it."""
    with (out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another process is writing to {out}") from None
        train(plan, out, device, workers, told)
        for group in groups(plan, out):
            write(group.plan, weights_of(out, group.name), out)
        measure_all(plan, share, out, workers, told)
        measure_costs(plan, share, out, told)
        found = gathered(plan, out)
        put(out / RESULTS, found)
        return found
