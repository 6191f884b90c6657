"""`decoders bench quality`."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from decoders_bench.common.options import emit, json_option, split_option

if TYPE_CHECKING:
    from decoders_bench.quality.grid import Grid

EIGHT = (
    "threshold",
    "factor",
    "pard",
    "llada",
    "dream:by=entropy",
    "ancestral:temperature=0.0",
    "s2d2",
    "left_to_right",
)
NANO = ("chain", "answer_first", "sudoku", "list", "shuffle", "ledger/easy")
"""Without extract, which nano solves with every decoder, and without ledger/hard, whose 296 positions would take most
of the time."""
PAGES = ("table", "nest", "edit", "records", "cycle", "program")
REST = ("extract", "ledger/hard", *PAGES, "copy", "reverse", "sort", "replace")
STEPS, THRESHOLDS, FACTORS = "4,8,16,32", "0.5,0.7,0.9,0.97", "0.5,1.0,2.0,4.0"
FULL_STEPS, FULL_THRESHOLDS = "2,4,8,16,24,32,48", "0.3,0.5,0.6,0.7,0.8,0.9,0.95,0.99"
ITEMS, FULL_ITEMS, FULL_SEEDS = 50, 100, 3


def listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def sweep(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    out = {}
    for text in given:
        name, _, values = text.partition("=")
        if not listed(values):
            raise click.BadParameter(f"write OPTION=VALUE,VALUE, not {text!r}")
        out[name.strip()] = listed(values)
    return out


def number(text: str) -> int | None:
    """The whole number that a text of digits stands for; None for any other text, and for one that is too long to be
    intended."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def wordings(context: click.Context, parameter: click.Parameter, given: str) -> tuple[int, ...] | None:
    if given == "all":
        return None
    found = [n for x in listed(given) if (n := number(x)) is not None]
    if not found or len(found) < len(listed(given)):
        raise click.BadParameter(f"all, or numbers that count from 0, like 0,1; not {given[:50]!r}")
    return tuple(dict.fromkeys(found))


def sizes(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[int | None, ...]:
    texts = [x for text in given for x in listed(text)] or ["full"]
    if not all(x == "full" or number(x) for x in texts):
        raise click.BadParameter("a number of positions, or full for one window over the whole row")
    return tuple(dict.fromkeys(None if x == "full" else number(x) for x in texts))


@click.command("quality")
@click.option("-m", "--model", default="nano", show_default=True, metavar="SPEC", help="model to decode with")
@click.option(
    "-d", "--decoder", "decoders", multiple=True, metavar="SPEC",
    help=f"a decoder; may be repeated  [default: {', '.join(EIGHT)}]",
)
@click.option(
    "-c", "--cache", "caches", multiple=True, metavar="SPEC",
    help="a cache policy; may be repeated  [default: exact, or the preset's]",
)
@click.option(
    "-t",
    "--tasks",
    multiple=True,
    metavar="TASKS",
    help=(
        "tasks, task/rung, or FORMAT:FILE.jsonl with gsm8k, math500, humaneval, mbpp; separate several by commas  "
        "[default: nano's]"
    ),
)
@click.option("--steps", metavar="N,N", help=f"values of the options steps and block_steps  [default: {STEPS}]")
@click.option("--thresholds", metavar="X,X", help=f"values of the option tau  [default: {THRESHOLDS}]")
@click.option("--sweep", "sweeps", multiple=True, callback=sweep, metavar="OPTION=X,X",
              help=f"values of any other option; takes precedence over the two above  [default: f={FACTORS}]")
@click.option("--block", "blocks", multiple=True, callback=sizes, metavar="N,N",
              help="block size in positions; full: one window  [default: the model's, or full]")
@click.option(
    "--templates", default="all", show_default=True, callback=wordings, metavar="all|N,N",
    help="wordings of the prompts",
)
@click.option(
    "--seeds", type=click.IntRange(1), metavar="N",
    help="number of seeds; each has its own items and sampling  [default: 1]",
)
@click.option("-n", "--items", type=click.IntRange(1), help=f"items per rung, wording and seed  [default: {ITEMS}]")
@split_option
@click.option("--length", type=click.IntRange(1), metavar="N", help="positions of the canvas  [default: the task's]")
@click.option("--full", is_flag=True,
              help="every registered decoder that the model can run, all tasks that need no file, longer sweeps, "
              f"{FULL_SEEDS} seeds, {FULL_ITEMS} items; takes hours")
@click.option(
    "--batch", default=25, show_default=True, type=click.IntRange(1),
    help="items decoded together; affects seconds, not tokens",
)
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1), help="processes of one thread; 1: only this one"
)
@click.option("--ray", is_flag=False, flag_value="local", metavar="[ADDRESS]",
              help="distribute over the Ray cluster at this address, or over one started here")
@click.option("--traces", default=1, show_default=True, type=click.IntRange(0), metavar="K",
              help="items of every cell whose decoding is recorded for replay")
@click.option(
    "--baseline", metavar="SPEC",
    help="decoder that the others are compared with  [default: threshold if it is included, else the first]",
)
@click.option("--execute-code", is_flag=True, help="for humaneval and mbpp: run the generated code, in a sandbox")
@click.option("--unsafe", is_flag=True, help="run generated code even without a sandbox, with resource limits only")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="RUN",
    help="directory of the run  [default: quality-...]",
)
@json_option
def quality(
    model: str, decoders: tuple[str, ...], caches: tuple[str, ...], tasks: tuple[str, ...], steps: str | None,
    thresholds: str | None, sweeps: dict[str, tuple[str, ...]], blocks: tuple[int | None, ...],
    templates: tuple[int, ...] | None, seeds: int | None, items: int | None, split: Any, length: int | None, full: bool,
    batch: int, workers: int, ray: str | None, traces: int, baseline: str | None, execute_code: bool, unsafe: bool,
    output: Path | None, as_json: bool,
) -> None:
    """Measure accuracy against forwards on a grid of decoders (each with a sweep of one option), caches, tasks,
    wordings and seeds. Every finished item is a line of RUN/rows.jsonl, and the same command continues an interrupted
    run. At the end it prints tables: accuracy with its 95 % interval, forwards, tokens per forward, seconds, positions,
    the spread over wordings, the area under each decoder's curve (AUP), and each decoder against the baseline at equal
    forwards, positions and seconds. `decoders bench duel` compares two decoders and refines the sweep as needed,
    `decoders bench report RUN` makes a page, and `decoders bench exactness` tests samples against a known distribution;
    docs/benchmarking.md defines every number."""
    import torch

    from decoders_bench.quality.grid import Grid
    from decoders_bench.quality.rows import load
    from decoders_bench.quality.settings import unified_run
    from decoders_bench.quality.tables import document, summary_text
    from decoders_bench.quality.verdicts import usual

    torch.set_num_threads(1)  # the worker processes use one thread, too, and run.json records the number
    found, skipped = able(model) if full and not decoders else (decoders or EIGHT, [])
    for line in skipped:
        click.echo(line, err=True)
    given = {
        **sweeps,
        **{o: listed(steps or (FULL_STEPS if full else STEPS)) for o in ("steps",) if o not in sweeps},
        **{o: listed(thresholds or (FULL_THRESHOLDS if full else THRESHOLDS)) for o in ("tau",) if o not in sweeps},
        **{o: listed(steps or STEPS) for o in ("block_steps",) if o not in sweeps},
        **{o: listed(FACTORS) for o in ("f",) if o not in sweeps},
    }
    names = tuple(x for text in tasks for x in listed(text)) or ((*NANO, *REST) if full else NANO)
    grid = Grid(
        model, tuple(found), caches, names, blocks, templates, tuple(range(seeds or (FULL_SEEDS if full else 1))),
        items or (FULL_ITEMS if full else ITEMS), split, given, length,
    )
    check_grid(grid, {*sweeps, *(("steps",) if steps else ()), *(("tau",) if thresholds else ())}, baseline)
    check_code(grid, execute_code, unsafe)
    path = output or default_directory(grid)
    watched(grid, path, workers=workers, ray=ray, batch=batch, traced=traces, unsafe=unsafe, baseline=baseline)
    run, first = unified_run(load(path)), baseline or usual(grid.decoders)
    click.echo(summary_text(run, first))
    page = f"decoders bench report {shlex.quote(str(path))} -o report.html"
    click.echo(f"\n{path}: {len(run.rows)} items; {page} makes a page of it")
    if as_json:
        emit(document(run, first, len(run.rows) == len(grid.cells()) * grid.items))


def watched(grid: Grid, path: Path, **how: Any) -> None:
    """Run `quality.runner.measure` with a progress bar; an interrupt ends the command with a line that says how to
    continue."""
    from decoders_bench.quality.runner import measure

    total = len(grid.cells()) * grid.items
    watcher = Watcher(total, sum(grid.canvas(place) for _, place in grid.cells()) * grid.items)
    try:
        with watcher:
            measure(grid, path, command=command_line(), notify=watcher, **how)
    except KeyboardInterrupt:
        click.echo(
            f"Interrupted: {watcher.items} of {total} items are in {path}; the same command goes on from there.",
            err=True,
        )
        sys.exit(130)


def check_grid(grid: Grid, sweeps: set[str], baseline: str | None) -> None:
    """Raises `UsageError` for a sweep that applies to no decoder of the grid, and for a baseline that is not in the
    grid."""
    from decoders import UsageError

    swept = {s for _, _, s, _, _ in grid.points()}
    for name in sweeps - swept:
        if not (name == "steps" and "block_steps" in swept):
            raise UsageError(
                f"none of the decoders has an option {name!r} that is not already set or beside another sweep"
            )
    if baseline is not None and baseline not in grid.decoders:
        raise UsageError(f"the baseline {baseline} is not among the decoders")


def check_code(grid: Grid, allowed: bool, unsafe: bool) -> None:
    """Raises `UsageError` if the grid runs code that a model wrote and this is not allowed, or no sandbox is
    available."""
    from decoders import UsageError
    from decoders_bench.tasks.sandbox import check

    for place in grid.places():
        if place.task.runs_code and not allowed:
            raise UsageError(f"{place.task.name} runs code that a model wrote; allow it with --execute-code")
        if place.task.runs_code:
            check(unsafe)


def able(model: str) -> tuple[list[str], list[str]]:
    """Every registered decoder that the model supports, made deterministic if its options allow it; and one line on
    each of the other decoders."""
    from decoders import Generator, UsageError
    from decoders.core import options
    from decoders.registry import entries
    from decoders.specs import load
    from decoders_bench.common.models import loaded

    found, skipped = [], []
    for entry in entries("strategies"):
        try:
            if entry.problem:
                raise UsageError(entry.problem)
            temperature = options(load("strategies", entry.name)).get("temperature")
            sampled = temperature and temperature.default and not temperature.min
            spec = f"{entry.name}:temperature=0.0" if sampled else entry.name
            Generator(loaded(model), spec)("a", length=4, max_steps=1)
        except UsageError as e:
            skipped.append(f"without {entry.name}: {e}")
        else:
            found.append(spec)
    return found, skipped


def default_directory(grid: Grid) -> Path:
    """A directory that depends on the grid alone, so that the same command continues the same run."""
    mark = hashlib.sha256(json.dumps(grid.record(), sort_keys=True).encode()).hexdigest()[:8]
    return Path(f"quality-{mark}")


def command_line() -> str:
    return shlex.join(["decoders", *sys.argv[1:]])


class Watcher:
    """The progress bar: the finished items, and the time left, estimated from the canvas lengths."""

    def __init__(self, total: int, weight: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.items, self.total = 0, total
        columns = (TextColumn("{task.fields[items]}/{task.fields[of]} items"), BarColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self.line = self.bar.add_task("", total=weight, items=0, of=total)

    def __call__(self, items: int, weight: int) -> None:
        self.items += items
        self.bar.update(self.line, advance=weight, items=self.items)

    def __enter__(self) -> Watcher:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
