"""The generated parts of the documentation; cog calls these functions, and a test checks that the pages agree with
them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from decoders.core import ATTESTED, Option, options
from decoders.models.families import FAMILIES, Family
from decoders.registry import Entry, entries, spelled, summary_of
from decoders.tree import DISTRIBUTION
from decoders_bench.accuracy.tables import load_cells, spread_table, task_table
from decoders_bench.areas.tables import reading as reading_of
from decoders_bench.areas.tables import section as areas_of
from decoders_bench.caches.tables import (
    cache_summary,
    cache_tables,
    cache_time_table,
    calibration_table,
    load_cache_times,
    load_caches,
    load_calibration,
)
from decoders_bench.common.results import earlier, markdown, measured_with, percent, recorded_on
from decoders_bench.exactness.tables import exactness_table, load_exactness
from decoders_bench.gpu import tables as gpu
from decoders_bench.latents.tables import latents_tables, load_latents
from decoders_bench.modes.tables import load_modes, mode_pairs, mode_reading, mode_tables, mode_verdicts
from decoders_bench.quality.blocks import blocks_table
from decoders_bench.quality.claims import claims_table, held
from decoders_bench.quality.rows import load as load_quality
from decoders_bench.quality.settings import unified_run
from decoders_bench.quality.shelf import compared, ranges, shelf_against
from decoders_bench.quality.summary import curves, points
from decoders_bench.quality.tables import curve_table, place_table, point_table, verdict_text
from decoders_bench.quality.verdicts import against
from decoders_bench.quantised.tables import load_quantised, quantised_table
from decoders_bench.report.gather import Gathered, gather
from decoders_bench.step_time.rows import load_rows, rows_table
from decoders_bench.step_time.tables import load_timings, timing_table
from decoders_bench.versus import tables as twins
from decoders_bench.vllm.tables import load_throughput, throughput_table

Rows = TypeVar("Rows")
BASELINE = "threshold"
RESULTS = Path(__file__).parents[1] / "results"
VERDICT = (
    "Each decoder is held against the thresholds at as many forwards, on the same items, as "
    "[everywhere](benchmarking.md#one-decoder-against-another); the intervals of all decoders of a block size hold at "
    "once on a task."
)


def shown(o: Option) -> str:
    return f"`{o.name}={spelled(o.default)}`"


def plug_table(kind: str) -> str:
    """All built-in components of a kind: name, options with defaults, declared properties, how well it is attested."""
    own: list[Entry] = [e for e in entries(kind) if e.distribution == DISTRIBUTION and not e.problem]
    rows = [
        [
            f"`{e.name}`", e.summary.replace("|", "\\|"), " ".join(map(shown, e.options)), ", ".join(e.capabilities),
            e.attested or "",
        ]
        for e in own
    ]
    return markdown(["name", "what it does", "options and defaults", "declares", "attested"], rows)


def attested_key() -> str:
    """The meaning of the words in the last column, and the number of strategies with each."""
    own = [e.attested for e in entries("strategies") if e.distribution == DISTRIBUTION and not e.problem]
    return "; ".join(f"*{word}*, {own.count(word)}: {sentence}" for word, sentence in ATTESTED.items()) + "."


def part_table() -> str:
    """All components from which options of strategies choose: the options' strategies, name, options with defaults."""
    choosing = {
        o.part: o.name for e in entries("strategies") if e.distribution == DISTRIBUTION for o in e.options if o.part
    }
    rows = [
        [f"`{option}={name}`", summary_of(part).replace("|", "\\|"), " ".join(map(shown, options(part).values()))]
        for kind, option in choosing.items() for name, part in kind.known().items()
    ]
    return markdown(["choice", "what it does", "options and defaults"], rows)


def quality_section() -> str:
    """The default grid of `decoders bench quality`: every setting over all tasks, the curves, and each decoder against
    the baseline at equal cost."""
    run = unified_run(load_quality(RESULTS / "quality"))
    own = points(run.rows)
    same = curves(own)
    verdicts = verdict_text(against(same, BASELINE), own, BASELINE)
    head = measured_with(run.info["environment"])
    return "\n\n".join([head, point_table(own), curve_table(same, own), *verdicts, place_table(run.rows)])


@cache
def shelf() -> Gathered:
    """Every strategy at its defaults, on the same items: a run over texts of up to 90 tokens, and one over pages of up
    to 290, with fewer items."""
    return gather([RESULTS / "shelf"])


def shelf_head() -> str:
    """How the shelf was measured: a line, unless its runs differ."""
    return "; ".join(dict.fromkeys(measured_with(run.info["environment"]) for run in shelf().runs))


def shelf_section() -> str:
    """Every setting of the shelf, over all rungs and on each."""
    own = sorted(points(shelf().rows), key=lambda p: (-p.summary.accuracy, p.summary.nfe))
    return "\n\n".join([shelf_head(), point_table(own), place_table(shelf().rows)])


def range_section() -> str:
    """How much the decoders differ on each rung."""
    return ranges(shelf().rows)


def blocks_section() -> str:
    """Thresholds on the texts of a page, over the whole canvas and in blocks."""
    run = load_quality(RESULTS / "blocks")
    own = points(run.rows)
    return "\n\n".join([measured_with(run.info["environment"]), blocks_table(own), place_table(run.rows)])


def best_section(name: str) -> str:
    """Our own decoder compared with others: `test` or `shelf`, from the files of `decoders bench areas`."""
    return areas_of(RESULTS / "best" / f"{name}.json", tested=name == "test")


def best_reading(name: str) -> str:
    """The same in sentences."""
    return reading_of(RESULTS / "best" / f"{name}.json")


def tried_section() -> str:
    """The variants of our own decoder that were tried on the validation split, a point each."""
    found = json.loads((RESULTS / "best" / "tried.json").read_text())
    body = [
        [x["tried"], percent(x["right"] / x["n"]), f"{x['nfe'] / x['n']:.2f}",
        f"{100 * x['right'] / x['n'] * x['tokens'] / x['nfe']:.0f}",
         f"{x['positions'] / x['n']:.0f}"]
        for x in found["rows"]
    ]  # fmt: skip
    head = (
        f"{found['split']} split, wording {found['template']}, {', '.join(found['rungs'])}, {found['rows'][0]['n']} "
        f"items in all{earlier(found)}."
    )
    return f"{head}\n\n{markdown(['tried', 'right, %', 'forwards', 'AUP of the point', 'positions'], body)}"


def choosing_section() -> str:
    """Every strategy at its defaults compared with a threshold at its own."""
    own = points(shelf().rows)
    return f"{shelf_head()}. {shelf_against(own, beside=[c for *_, c in held(own)])}"


def claims_section() -> str:
    """What papers claim for their strategies, and what the same run says."""
    own = points(shelf().rows)
    return claims_table(own, beside=[c for _, c in compared(own)])


def recorded(name: str, load: Callable[[Path], Rows], table: Callable[[Rows], str], nano: bool = True) -> str:
    """The table of a file of results, after the hardware of the measurement and, if it is about `nano`, whether the
    weights were the present ones."""
    path = RESULTS / name
    return f"{recorded_on(path, nano)}\n\n{table(load(path))}"


def exactness_section() -> str:
    return recorded("exactness.json", load_exactness, exactness_table, nano=False)


def latents_section() -> str:
    return recorded("latents.json", load_latents, latents_tables)


def vllm_section() -> str:
    return recorded("vllm.json", load_throughput, throughput_table)


def gpu_section() -> str:
    return gpu.page(RESULTS / "gpu")


def gpu_summary() -> str:
    return gpu.summary(RESULTS / "gpu")


def versus_part(name: str) -> str:
    """A part of the results of the run of `bench versus` in the repository."""
    return twins.PARTS[name](*twins.load(RESULTS / "versus" / "run.json"))


def shelf_line() -> str:
    """The number of strategies, and how they are tested."""
    own = [e for e in entries("strategies") if e.distribution == DISTRIBUTION and not e.problem]
    return (
        f"There are {len(own)} strategies. All are tested against the same laws, and those with recorded runs of an "
        "official implementation are replayed against these."
    )


def help_of(*command: str) -> str:
    """The output of `decoders COMMAND --help`, in a fenced block."""
    done = subprocess.run(
        [sys.executable, "-c", "from decoders.cli.app import main; main(prog_name='decoders')", *command, "--help"],
        capture_output=True, text=True, check=True, env={"COLUMNS": "110"},
    )
    return f"```text\n{done.stdout.rstrip()}\n```"


EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def example(path: str) -> str:
    """A file of docs/examples, in a fenced block titled with its name."""
    file = EXAMPLES / path
    return f'```python title="{file.name}"\n{file.read_text()}```'


def listing(path: str) -> str:
    """A file of docs/examples that is not code."""
    return example(path).replace("```python ", "```json ", 1)


def checked(path: str, spec: str) -> str:
    """The output of `decoders check --fast` for an object that a file of docs/examples defines, in a fenced block."""
    done = subprocess.run(
        [sys.executable, "-m", "decoders.cli", "check", "--fast", spec], capture_output=True, text=True,
        cwd=(EXAMPLES / path).parent, env={"OMP_NUM_THREADS": "1"},
    )
    return f"```text\n{done.stdout.rstrip()}\n```"


def tasks_section() -> str:
    return "\n\n".join(recorded(name, load_cells, task_table) for name in ("nano-tasks.json", "nano-pages.json"))


def spread_section() -> str:
    return recorded("nano-spread.json", load_cells, spread_table)


def timing_section() -> str:
    return recorded("step-time.json", load_timings, timing_table, nano=False)


def row_section() -> str:
    return recorded("row-time.json", load_rows, rows_table, nano=False)


def caches_section() -> str:
    return recorded("caches.json", load_caches, cache_tables)


def caches_summary() -> str:
    path = RESULTS / "caches.json"
    return f"{recorded_on(path)}\n\n{cache_summary(load_caches(path))}"


def calibration_section() -> str:
    return recorded("caches-calibration.json", load_calibration, calibration_table)


def quantised_section() -> str:
    return recorded("quantised.json", load_quantised, quantised_table)


def cache_time_section() -> str:
    return recorded("cache-time.json", load_cache_times, cache_time_table)


def modes_section() -> str:
    return recorded("modes.json", load_modes, lambda rows: f"{mode_tables(rows)}\n\n{VERDICT}\n\n{mode_verdicts(rows)}")


def scratchpad_section() -> str:
    path = RESULTS / "modes-scratchpad.json"
    rows = load_modes(path)
    head = f"{recorded_on(path)}; {rows[0].trial.n} items."
    return "\n\n".join([head, mode_pairs(rows), mode_reading(rows), VERDICT, mode_verdicts(rows)])


def family_table() -> str:
    """Every family of checkpoints: how it is recognised, which class runs it, and how."""

    def row(f: Family) -> list[str]:
        named = f.types if f.architectures else f.keys or ["diffusion_family"]
        known = [f"`{x}`" for x in named] or [f"`{a}`" for a in f.architectures]
        classes = ", ".join(f"`{c}`" for c in (f.native, *f.classes.values()) if c)
        ours = f"`{f.network().__name__}`, here" if f.network else ""
        runs = "its own code" if f.remote else ours or classes or "the class that it names"
        seen = {"bidirectional": "bidirectional", "block": f"blocks of {f.block}", "causal": "causal"}
        sees = " or ".join(seen[a] for a in f.attentions)
        blank = "none" if f.attentions == ("causal",) else "none: uniform noise"
        blanks = {"config": "config", "tokenizer": "tokenizer", "last": "the last id", "none": blank}
        mask = blanks.get(str(f.mask), str(f.mask))
        return [f"`{f.name}`", ", ".join(known), runs, sees, "shifted by one" if f.shifted else "aligned", mask]

    header = ["family", "known by", "run by", "attention", "logits", "mask token"]
    return markdown(header, [row(f) for f in FAMILIES.values()])
