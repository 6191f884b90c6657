"""The comparison of blocks with the whole canvas."""

from __future__ import annotations

from decoders_bench.quality.blocks import blocks_table
from decoders_bench.quality.summary import points
from support.plain_rows import row


def rows(decoder, block, right, nfe):
    return [row(decoder=decoder, curve=decoder, block=block, item=i, right=i < right, nfe=nfe) for i in range(40)]


def test_blocks_are_compared_with_the_same_decoder_over_the_whole_canvas():
    measured = [
        *rows("a", None, 20, 10), *rows("a", 16, 40, 12), *rows("a", 32, 20, 10), *rows("b", None, 40, 5),
        *rows("b", 16, 20, 5),
    ]  # fmt: skip
    lines = [[cell.strip() for cell in x.split("|")[1:-1]] for x in blocks_table(points(measured)).splitlines()[2:]]
    assert [(x[0], x[1], x[3], x[4]) for x in lines] == [
        ("`a`", "whole canvas", "50.0", "10.0"), ("`a`", "16", "100.0", "12.0"), ("`a`", "32", "50.0", "10.0"),
        ("`b`", "whole canvas", "100.0", "5.0"), ("`b`", "16", "50.0", "5.0"),
    ]  # fmt: skip
    assert [x[6] for x in lines] == [
        "", "more accurate, more forwards", "no difference in accuracy shown, about as many forwards", "",
        "less accurate, about as many forwards",
    ]  # fmt: skip
    assert lines[1][5].startswith("+50 (+")
