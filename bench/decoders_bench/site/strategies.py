"""A page for each built-in strategy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from decoders import UsageError, load
from decoders.core import ATTESTED
from decoders.models.loaded import Loaded
from decoders.registry import Entry, entries, spelled
from decoders.tree import DISTRIBUTION
from decoders_bench.common.results import markdown, measured_with
from decoders_bench.docs import RESULTS, shelf, shelf_head
from decoders_bench.quality.rows import load as load_rows
from decoders_bench.quality.summary import Point, points
from decoders_bench.site.chart import chart, marks
from decoders_bench.site.replay import picture, replay

RULES = Path(__file__).parents[3] / "docs" / "rules"
"""The pseudocode of a strategy in at most seven lines, written by hand: `NAME.txt`."""
BASELINE = "threshold"
MODELS = ("nano", "nano:attention=block")
"""Strategies of latents have no replay: their canvas has no tokens before the last forward pass."""
PROMPT, LENGTH = "Sudoku: 3 _ 2 _ 2 _ _ _ 4 _ 1 2 1 _ 4 _", 18


def built_in() -> list[Entry]:
    return [e for e in entries("strategies") if e.distribution == DISTRIBUTION and not e.problem]


class Site:
    """The data of the pages, each part read once."""

    @cached_property
    def models(self) -> dict[str, Loaded]:
        return {name: load(name) for name in MODELS}

    @cached_property
    def measured(self) -> list[tuple[str, list[Point]]]:
        """The points of the runs in the repository, each after a line that says where the run is described and how it
        was measured. The run with several settings of a decoder comes first."""
        grid = load_rows(RESULTS / "quality")
        return [
            (f"[the grid](../benchmarks.md#steps-against-quality): {measured_with(grid.info['environment'])}",
             points(grid.rows)),
            (f"[the whole shelf](../benchmarks.md#the-whole-shelf): {shelf_head()}", points(shelf().rows)),
        ]  # fmt: skip

    def replayed(self, name: str) -> tuple[str, str] | None:
        """The model on which a strategy ran, and the picture; None if no embedded model supports it."""
        for spec, loaded in self.models.items():
            try:
                made = replay(loaded, name, PROMPT, LENGTH)
            except UsageError:
                continue
            return spec, picture(made)
        return None

    def curve(self, name: str) -> tuple[str, str] | None:
        """A line that describes how a strategy was measured, and its chart; None if it was not measured."""
        for head, own in self.measured:
            mine, base = marks(own, name), marks(own, BASELINE)
            if name != BASELINE and mine and base:
                return head, chart(mine, base, name)
        return None

    def page(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """The files of a strategy's page: paths under `strategies/`, and contents."""
        name = entry.name
        parts = [f"# {name}", entry.summary, "## The rule", rule(name), about(entry), "## Options", options_of(entry)]
        if made := self.replayed(name):
            yield f"{name}-replay.svg", made[1]
            parts += ["## On the embedded model", REPLAYED.format(name=name, model=made[0])]
        if curve := self.curve(name):
            yield f"{name}-curve.svg", curve[1]
            parts += [f"## Beside `{BASELINE}`", CURVE.format(name=name, head=curve[0])]
        yield f"{name}.md", "\n\n".join(parts) + "\n"


REPLAYED = (
    "One prompt under this decoder at its defaults on `{model}`. A row is the canvas after a forward. Blue cells were "
    "committed in that forward, orange cells were taken back, grey cells are open, and a square ends the text.\n\n"
    "![The canvas after each forward]({name}-replay.svg)"
)
CURVE = (
    "The share of right answers against the forwards of an answer, one mark for each setting that was measured "
    "({head}). Marks that are further left need fewer forwards. How it is computed: "
    "[Measure fairly](../benchmarking.md).\n\n![Right answers against forwards]({name}-curve.svg)"
)


def rule(name: str) -> str:
    """The pseudocode of the strategy."""
    return f"```text\n{(RULES / f'{name}.txt').read_text().rstrip()}\n```"


def about(entry: Entry) -> str:
    """The source of a strategy, how it was checked, and its requirements on a model."""
    asks = ", ".join(f"`{c}`" for c in entry.capabilities) or "nothing but logits"
    attested = ATTESTED[entry.attested] if entry.attested else "not said"
    rows = [["Source", entry.source or "this library"], ["Checked", attested], ["Asks of a model", asks],
            ["Run it", f"`decoders generate -d {entry.name} \"Sort: k c x a t\"`"]]  # fmt: skip
    return markdown(["", ""], rows)


def options_of(entry: Entry) -> str:
    rows = [[f"`{o.name}`", f"`{spelled(o.default)}`", o.help.replace("|", "\\|")] for o in entry.options]
    return markdown(["option", "default", "meaning"], rows) if rows else "It has no options."
