"""All decoders at their defaults compared with a baseline, for the page that helps to choose a decoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, quantiles

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown
from decoders_bench.quality.rows import Row, grouped
from decoders_bench.quality.summary import Comparison, Point, adjusted, compare
from decoders_bench.quality.tables import in_points, percent

BASELINE = "threshold:tau=0.9"


def compared(own: Sequence[Point], baseline: str = BASELINE) -> list[tuple[Point, Comparison]]:
    """Every other point with its comparison with the baseline on the same items; the most accurate point first."""
    (base,) = [p for p in own if p.decoder == baseline]
    others = sorted((p for p in own if p is not base), key=lambda p: (-p.summary.accuracy, p.summary.nfe))
    return [(p, compare(base.rows, p.rows)) for p in others]


def verdict(p: Point, base: Point, c: Comparison, p_value: float) -> str:
    """The verdict in words: first the accuracy, if it differs significantly at 5 %, then the forward passes."""
    shown = "more accurate" if c.difference > 0 else "less accurate"
    right = "no difference in accuracy shown" if p_value >= 0.05 else shown
    return f"{right}, {forwards(p, base)}"


def forwards(p: Point, base: Point) -> str:
    """Whether a point takes more or fewer forward passes than another, if they differ by more than a twentieth."""
    ratio = p.summary.nfe / base.summary.nfe
    return "fewer forwards" if ratio < 0.95 else "more forwards" if ratio > 1.05 else "about as many forwards"


def shelf_against(own: Sequence[Point], beside: Sequence[Comparison] = (), baseline: str = BASELINE) -> str:
    """The table of all points against the baseline. The rows share Holm's correction with the comparisons `beside`
    them."""
    (base,) = [p for p in own if p.decoder == baseline]
    found = compared(own, baseline)
    p_values = adjusted([c for _, c in found], beside)
    body = [
        [
            marked(p.decoder, "`"), percent(p.summary.accuracy), in_points(c), f"{p.summary.nfe:.1f}",
            f"{p.summary.nfe / base.summary.nfe:.2f}", f"{p.summary.positions:.0f}", verdict(p, base, c, p_value),
        ]
        for (p, c), p_value in zip(found, p_values, strict=True)
    ]
    head = (
        f"`{base.decoder}` itself: {percent(base.summary.accuracy)} % right in {base.summary.nfe:.1f} forwards, "
        f"{base.summary.n} items."
    )
    header = [
        "decoder",
        "right, %",
        f"against `{baseline}`, points",
        "forwards",
        "forwards, relative to it",
        "positions",
        "verdict",
    ]
    return f"{head}\n\n{markdown(header, body)}"


def ranges(rows: Iterable[Row]) -> str:
    """How much decoders differ on each rung: the number of items that each decoder has, the minimum, quartiles and
    maximum of their accuracies, and the number of decoders that are always right."""
    body = []
    for rung, own in grouped(rows, lambda r: f"{r.task}/{r.rung}").items():
        decoders = grouped(own, lambda r: r.decoder).values()
        right = sorted(mean(r.right for r in mine) for mine in decoders)
        marks = right[0], *quantiles(right, n=4, method="inclusive"), right[-1]
        always = f"{sum(x == 1 for x in right)} of {len(right)}"
        body.append([rung, str(max(map(len, decoders))), *map(percent, marks), always])
    return markdown(["rung", "items", "least", "quartile", "median", "quartile", "most", "always right"], body)
