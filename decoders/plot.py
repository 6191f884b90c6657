"""Figures for papers, with matplotlib (`pip install 'dllm-decoders[plots]'`): how a canvas settles, in which order its
positions are committed, and the accuracy over forwards of a run of `decoders bench quality`.

Each function draws on `axes`, or on new ones, and returns them: `plot.canvas(g).figure.savefig("canvas.pdf")`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from decoders.core import UsageError
from decoders.text.records import Generation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, SOFT, LINE = "#1d1c1a", "#5d5a54", "#e3dfd7"
COLOURS = ("#0a66a8", "#c1480f", "#00775b", "#a33b7c", "#8a6100", "#5b4bb5", "#137a90", "#55565a")
STYLE: dict[str, Any] = {
    "font.family": "sans-serif", "font.size": 9, "text.color": INK, "axes.edgecolor": "#bdb8ad",
    "axes.labelcolor": SOFT, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "grid.color": LINE, "xtick.color": SOFT, "ytick.color": SOFT, "legend.frameon": False,
    "svg.fonttype": "none", "svg.hashsalt": "decoders",  # text stays text, and the same data give the same file
}
"""Settings of matplotlib for all figures here."""
NAMED = 48
"""A canvas shows its tokens up to so many positions."""


def matplotlib() -> Any:
    """matplotlib. Raises `UsageError` if it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise UsageError("plots need matplotlib: pip install 'dllm-decoders[plots]'") from None
    return matplotlib


@contextmanager
def on(axes: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """Draw on the axes, or on new ones on a figure of so many inches, in the `STYLE`. Raises `UsageError`."""
    matplotlib()
    import matplotlib.pyplot as plt

    with plt.rc_context(cast(Any, STYLE)):  # its type lists every setting
        yield plt.subplots(figsize=(width, height), layout="constrained")[1] if axes is None else axes


def canvas(generation: Generation, axes: Axes | None = None) -> Axes:
    """The canvas over the forwards: a row for each forward, a column for each position, and the confidence of the token
    as colour; open positions are white. Raises `UsageError` for a text without a trace."""
    from decoders.text.shown import canvases, printable, sure

    shown = canvases(generation)
    if not shown:
        raise UsageError("this needs a trace: generator(prompt, trace=True)")
    width = len(shown[-1])
    values = [[float("nan") if x is None else sure(x) for x in row] for row in shown]
    with on(axes, min(2 + 0.16 * width, 12), min(1.4 + 0.16 * len(shown), 8)) as axes:
        picture = axes.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="none")
        axes.figure.colorbar(picture, ax=axes, label="confidence")
        axes.set_yticks(range(0, len(shown), max(len(shown) // 8, 1)))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y + 1:g}")
        axes.set_ylabel("forward")
        if width <= NAMED:
            names = [drawn(printable(x.text).strip()) if x else "" for x in shown[-1]]
            axes.set_xticks(range(width), names, rotation=90, fontsize=7)
        else:
            axes.set_xlabel("position")
    return axes


def order(generations: Generation | Sequence[Generation], axes: Axes | None = None) -> Axes:
    """The forward in which each position was committed, from the left, and for several texts their mean. Raises
    `UsageError` if there is no position."""
    several = [generations] if isinstance(generations, Generation) else list(generations)
    steps = [g.commit_steps for g in several if g.commit_steps]
    if not steps:
        raise UsageError("there is no committed position to draw")
    faint = 1 / len(steps) ** 0.5
    with on(axes, 5.2, 3.4) as axes:
        for own in steps:
            axes.plot(range(len(own)), [n + 1 for n in own], "o", color=COLOURS[0], ms=4, mew=0, alpha=faint)
        if len(steps) > 1:
            there = [[own[i] + 1 for own in steps if i < len(own)] for i in range(max(map(len, steps)))]
            axes.plot([sum(x) / len(x) for x in there], color=COLOURS[1], lw=1.5, label=f"mean of {len(steps)}")
            axes.legend()
        axes.set_xlabel("position behind the prompt")
        axes.set_ylabel("forward that committed it")
    return axes


def accuracy(*runs: str | PathLike[str], axes: Axes | None = None) -> Axes:
    """Accuracy over forward passes, with 95 % intervals and the front, from the directories of runs of `decoders bench
    quality`: the first chart of `decoders bench report`. Raises `UsageError` if there is no run."""
    from decoders_bench.report.document import document
    from decoders_bench.report.gather import gather
    from decoders_bench.report.plots import draw

    found = document(gather([Path(run) for run in runs]))
    with on(axes, 6.4, 4.2) as axes:
        draw(axes, found, found["views"][0], "nfe", "forward passes an item", "front")
        axes.grid(axis="y")
    return axes


def drawn(text: str) -> str:
    """A text that matplotlib can draw: lone surrogates are escaped, and a dollar sign does not start a formula."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")
