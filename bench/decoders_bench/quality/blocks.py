"""Whether blocks help: decoders that decode a canvas block by block, beside the same over the whole canvas."""

from __future__ import annotations

from collections.abc import Sequence

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown
from decoders_bench.quality.shelf import verdict
from decoders_bench.quality.summary import Point, adjusted, compare
from decoders_bench.quality.tables import percent


def blocks_table(own: Sequence[Point]) -> str:
    """A row for each decoder and size of blocks: its accuracy and its forward passes, and the comparison with the same
    decoder over the whole canvas, on the same items. All comparisons share Holm's correction."""
    whole = {p.decoder: p for p in own if p.block is None}
    pairs = [(a, p) for a in whole.values() for p in own if p.block is not None and p.decoder == a.decoder]
    compared = [compare(a.rows, b.rows) for a, b in pairs]
    body = []
    for (a, b), c, p_value in zip(pairs, compared, adjusted(compared), strict=True):
        if whole.pop(a.decoder, None):
            body.append([marked(a.decoder, "`"), "whole canvas", *numbers(a), "", ""])
        points = f"{100 * c.difference:+.0f} ({100 * c.low:+.0f} to {100 * c.high:+.0f})"
        body.append([marked(b.decoder, "`"), str(b.block), *numbers(b), points, verdict(b, a, c, p_value)])
    header = ["decoder", "block", "items", "right, %", "forwards", "against the whole canvas, points", "verdict"]
    return markdown(header, body)


def numbers(p: Point) -> list[str]:
    return [str(p.summary.n), percent(p.summary.accuracy), f"{p.summary.nfe:.1f}"]
