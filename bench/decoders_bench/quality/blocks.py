"""Whether blocks help: decoders that decode a canvas block by block, beside the same over the whole canvas."""

from __future__ import annotations

from collections.abc import Sequence

from decoders_bench.common.attested import marked
from decoders_bench.common.results import markdown
from decoders_bench.quality.shelf import verdict
from decoders_bench.quality.summary import Point, adjusted, compare
from decoders_bench.quality.tables import in_points, percent


def blocks_table(own: Sequence[Point]) -> str:
    """A row for each decoder and size of blocks: its accuracy and its forward passes, and the comparison with the same
    decoder over the whole canvas, on the same items. All comparisons share Holm's correction."""
    whole = {p.decoder: p for p in own if p.block is None}
    found = [compare(whole[p.decoder].rows, p.rows) for p in own if p.block is not None]
    compared = iter(zip(found, adjusted(found), strict=True))
    body = []
    for p in own:
        said = ["", ""]
        if p.block is not None:
            c, p_value = next(compared)
            said = [in_points(c), verdict(p, whole[p.decoder], c, p_value)]
        numbers = [str(p.summary.n), percent(p.summary.accuracy), f"{p.summary.nfe:.1f}"]
        body.append([marked(p.decoder, "`"), str(p.block or "whole canvas"), *numbers, *said])
    header = ["decoder", "block", "items", "right, %", "forwards", "against the whole canvas, points", "verdict"]
    return markdown(header, body)
