"""What a decoder says of how a token came to be committed, to those who watch."""

from __future__ import annotations

import pytest

from decoders import get
from decoders.core import Blocks, decode
from decoders.testing.toy import ToyModel
from decoders.text.trace import Changes, moved, ways

TOY = ToyModel(stop_ids=())
ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 0, 1]]
PASSED = {
    "threshold:tau=0.6": lambda p: p >= 0.6, "factor:f=0.8": lambda p: p >= 0.6, "wino:tau=0.6": lambda p: p > 0.6,
    "local_leap:tau=0.6,relaxed=0.4": lambda p: p >= 0.6,
}  # fmt: skip


def told(spec: str, blocks: int | None):
    """(how, confidence, how many were committed in that forward and row) of every commitment."""
    decoder, out = get(spec), []
    changes = Changes(decoder)

    def watch(f, p, c):
        old = changes.before
        for b, row in changes.rows(f, c):
            own = row["committed"]
            assert len(own) == int(moved(old, f, c)[0][b].sum())
            out.extend((x["outcome"], x["confidence"], len(own)) for x in own)

    decode(TOY, decoder, ROWS, length=12, windows=blocks and Blocks(blocks), watch=watch)
    return out


@pytest.mark.parametrize("blocks", [None, 4])
@pytest.mark.parametrize("spec", PASSED)
def test_what_passed_a_bound_is_told_from_what_was_forced(spec, blocks):
    """Also of the commitments that end a window, which has been left when they are told."""
    found = told(spec, blocks)
    assert {how for how, _, _ in found} == set(get(spec).outcomes)
    for how, confidence, number in found:
        assert (how in ("threshold passed", "bound passed")) == PASSED[spec](confidence)
        if how == "forced minimum":
            assert number == 1
        if how == "near an anchor":
            assert confidence >= 0.4
            assert number > 1


def test_an_even_share_is_the_only_way_of_llada():
    assert {how for how, _, _ in told("llada:steps=6", 4)} == {"even share"}


def test_the_outcomes_of_a_canvas_whose_windows_moved_are_those_of_the_forward():
    """Every column of the forward's window, not of the next one."""
    decoder, seen = get("threshold:tau=0.6"), []

    def watch(f, p, c):
        how = ways(decoder, f, c)
        for b, at in enumerate(f.at.tolist()):
            seen.extend(how[b][i] == int(c.confidence[b, i] < 0.6) for i in at[:4])

    decode(TOY, decoder, ROWS, length=12, windows=Blocks(4), watch=watch)
    assert seen
    assert all(seen)
