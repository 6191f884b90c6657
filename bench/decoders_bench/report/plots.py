"""The charts of the page as files, for papers and slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoders.plot import COLOURS, INK, SOFT, STYLE, drawn, matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
ROWS = STYLE | {"axes.spines.left": False, "axes.grid": True, "axes.grid.axis": "y", "ytick.left": False}


def plots(document: Mapping[str, Any], where: Path, kind: str) -> list[Path]:
    """One file for every chart of the first view: accuracy against forward passes, seconds and tokens per forward."""
    rc_context = matplotlib().rc_context
    from matplotlib.figure import Figure

    view = document["views"][0]
    kinds = {
        "accuracy-nfe": ("nfe", "forward passes an item", "front"),
        "accuracy-seconds": ("seconds", "seconds an item", "none"),
        "accuracy-tokens-per-forward": ("tpf", "tokens per forward", "curves"),
    }  # fmt: skip
    where.mkdir(parents=True, exist_ok=True)
    made = []
    with rc_context(ROWS):
        for name, (field, title, joined) in kinds.items():
            figure: Figure = Figure(figsize=(6.4, 4.2), layout="constrained", facecolor="white")
            draw(figure.add_subplot(), document, view, field, title, joined)
            made.append(where / f"{name}.{kind}")
            figure.savefig(made[-1], dpi=200, metadata={"Date": None} if kind == "svg" else None)
    return made


def draw(axes: Axes, document: Mapping[str, Any], view: Mapping[str, Any], field: str, title: str, joined: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    settings = document["settings"]
    points = {p["setting"]: p for p in view["points"]}
    for c in view["curves"] if joined != "none" else []:
        own = sorted((points[s] for s in c["points"]), key=lambda p: p[field])
        axes.plot(
            [p[field] for p in own], [100 * p["accuracy"] for p in own], color=colour(c["series"]), lw=1.2, alpha=0.7,
            gid=f"curve-{c['series']}",
        )  # fmt: skip
    if joined == "front":
        step(axes, [points[s] for s in view["front"]], max(p[field] for p in points.values()))
    seen = set()
    for p in sorted(points.values(), key=lambda p: settings[p["setting"]]["series"]):
        series = settings[p["setting"]]["series"]
        faint = 0.4 if p["verdict"] == "worse" and joined != "curves" else 1.0
        y, low, high = (100 * p[name] for name in ("accuracy", "low", "high"))
        label = None if series in seen else drawn(document["series"][series])
        seen.add(series)
        axes.errorbar(
            p[field], y, yerr=[[max(y - low, 0)], [max(high - y, 0)]], fmt=marker(series), color=colour(series),
            alpha=faint, ms=5.5, mec="white", mew=0.6, elinewidth=0.9, capsize=2,
            mfc="white" if p["status"] == "other items" else None, zorder=3,
        )  # fmt: skip
        if label:
            axes.plot([], [], marker(series), color=colour(series), ms=5.5, label=label)
    values = [p[field] for p in points.values()]
    if field != "tpf" and min(values) > 0 and max(values) > 2.5 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(title)
    axes.set_title("right, % (95 % Wilson interval)", loc="left", fontsize=9, color=SOFT)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize=8, handletextpad=0.3)


def step(axes: Axes, front: Sequence[Mapping[str, Any]], end: float) -> None:
    """The Pareto front as a step function: the accuracy of each point holds up to the next point."""
    xs, ys = [p["nfe"] for p in front] + [end], [100 * p["accuracy"] for p in front]
    axes.step(xs, [*ys, ys[-1]], where="post", color=INK, lw=1, zorder=2)


def colour(series: int) -> str:
    return COLOURS[series % len(COLOURS)]


def marker(series: int) -> str:
    return MARKERS[(series + series // len(COLOURS)) % len(MARKERS)]
