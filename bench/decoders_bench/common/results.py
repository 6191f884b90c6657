"""Results on disk, and the tables that the README shows of them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from decoders_bench.caches.calibrate import Tried
from decoders_bench.caches.measure import Measured
from decoders_bench.caches.timing import Run, Timed
from decoders_bench.common.evaluate import Cell, Job
from decoders_bench.step_time import Timing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def hardware(device: str = "cpu") -> str:
    """The processor, or the accelerator if `device` is one, and what ran on it, for the record."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    try:
        names = {line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")}
    except OSError:
        names = {platform.processor() or platform.machine()}
    return f"{', '.join(sorted(names))}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def save(path: Path, rows: Sequence[DataclassInstance], device: str = "cpu") -> None:
    """A line a row, so that a change of one cell is a change of one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(r)) for r in rows)
    path.write_text(f'{{"hardware": {json.dumps(hardware(device))}, "rows": [\n{lines}\n]}}\n')


def save_tables(path: Path, tables: Mapping[str, Sequence[DataclassInstance]], device: str = "cpu") -> None:
    """Several lists of rows in one file, under their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {name: [asdict(row) for row in rows] for name, rows in tables.items()}
    path.write_text(json.dumps({"hardware": hardware(device)} | found, indent=1) + "\n")


def record(row: DataclassInstance) -> dict[str, Any]:
    """The fields of a row and what its properties say of them; null where a number is not finite."""
    said = {name: getattr(row, name) for name, x in vars(type(row)).items() if isinstance(x, property)}
    return {name: finite(x) for name, x in (asdict(row) | said).items()}


def finite(x: Any) -> Any:
    """JSON has no infinity and no NaN."""
    if isinstance(x, dict):
        return {key: finite(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [finite(value) for value in x]
    return None if isinstance(x, float) and not isfinite(x) else x


def document(command: str, rows: Sequence[DataclassInstance], device: str = "cpu", **more: Any) -> dict[str, Any]:
    """What `--json` prints of a command (`decoders_bench.common.options.emit`)."""
    return {"command": command, "hardware": hardware(device), **more, "rows": [record(r) for r in rows]}


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["rows"])


def load_cells(path: Path) -> list[Cell]:
    return [Cell(**{**row, "job": Job(**row["job"])}) for row in rows_of(path)]


def load_timings(path: Path) -> list[Timing]:
    return [Timing(**row) for row in rows_of(path)]


def load_caches(path: Path) -> list[Measured]:
    return [Measured(**{**row, "tasks": tuple(row["tasks"])}) for row in rows_of(path)]


def load_calibration(path: Path) -> list[Tried]:
    return [Tried(**row) for row in rows_of(path)]


def load_cache_times(path: Path) -> list[Timed]:
    return [Timed(**{**row, "run": Run(**row["run"])}) for row in rows_of(path)]


def recorded_on(path: Path) -> str:
    """The hardware that a result file was measured on."""
    return str(json.loads(path.read_text())["hardware"])


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def percent(x: float) -> str:
    return f"{100 * x:.0f}"


def task_table(cells: Sequence[Cell]) -> str:
    """One row per task and rung, one column per decoder: accuracy with its interval, forward passes, tokens per forward."""
    decoders = list(dict.fromkeys(c.job.decoder for c in cells))
    places = list(dict.fromkeys((c.job.task, c.job.rung) for c in cells))
    found = {(c.job.task, c.job.rung, c.job.decoder): c for c in cells}

    def show(c: Cell | None) -> str:
        if c is None:
            return ""
        low, high = c.interval
        work = "" if c.work is None else f", work {percent(c.work / c.job.n)}"
        return f"**{percent(c.accuracy)}** ({percent(low)}-{percent(high)}){work}<br>{c.nfe:.1f} / {c.tokens_per_forward:.1f}"

    sizes = {(c.job.task, c.job.rung): c.job.n for c in cells}
    rows = [[f"{task}/{rung} (n={sizes[task, rung]})", *(show(found.get((task, rung, d))) for d in decoders)] for task, rung in places]
    return markdown(["task", *(f"`{d}`" for d in decoders)], rows)


def timing_table(timings: Sequence[Timing]) -> str:
    rows = [
        [f"`{t.decoder}`", t.dtype, str(t.batch), f"{t.step_ms:.1f}", f"{t.bare_max_ms:.1f}", f"{t.ratio:.2f}"]
        for t in sorted(timings, key=lambda t: (t.decoder, t.dtype, t.batch))
    ]
    return markdown(["decoder", "logits", "batch", "step, ms", "bare max, ms", "ratio"], rows)
