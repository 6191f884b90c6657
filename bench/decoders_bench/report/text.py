"""The report as Markdown."""

from __future__ import annotations

from decoders_bench.quality.tables import curve_table, place_table, point_table, verdict_text
from decoders_bench.quality.verdicts import Against, sentence
from decoders_bench.report.deciding import said
from decoders_bench.report.document import labels, view_names
from decoders_bench.report.findings import findings, headline
from decoders_bench.report.gather import Gathered
from decoders_bench.report.view import View, baseline_of, mine_of, views


def text(g: Gathered, baseline: str | None = None, mine: str | None = None) -> str:
    """The verdict on one decoder against the baseline and the items that decide it, the findings over all tasks, the
    tables of `bench quality`, and the environments of the runs."""
    first = views(g.rows)[0]
    baseline = baseline_of(first, baseline, g.baseline)
    own, names = first.compared, view_names(first, labels(g.rows))
    chosen, top = mine_of(first, baseline, mine), headline(first, names, baseline)
    duel = verdict_of(first, chosen, baseline) if chosen else []
    apart = [f"`{names[i]}`" for i, whole in enumerate(first.whole) if not whole]
    parts = [
        *duel, *([top] if not chosen or top != sentence([chosen], baseline) else []),
        "\n".join(f"- {line}" for line in findings(first, names, baseline)),
        *verdict_text(first.against(baseline), own, baseline), point_table(own),
        *([f"Asked other items than the rest and not compared: {', '.join(apart)}."] if apart else []),
        curve_table(first.curves, own), place_table(g.rows), *(f"**{line}**" for line in g.clashes),
    ]  # fmt: skip
    for run in g.runs:
        facts = "; ".join(f"{name} {value}" for name, value in run.info["environment"].items())
        parts.append(f"{facts}\n\n```sh\n{run.info['command']}\n```")
    return "\n\n".join(parts) + "\n"


def verdict_of(v: View, a: Against, baseline: str) -> list[str]:
    """The comparison of one decoder with the baseline in one sentence, and the deciding items."""
    return [sentence([a], baseline), said(v.decided(a), a.curve.curve, baseline)]
