import pytest
from decoders_zigzag import Beat, LeftHalf, ZigZag

from decoders import decode, get
from decoders.testing import check
from decoders.testing.toy import ToyModel

PROMPTS = [[1, 2, 3], [4, 5]]


@pytest.mark.parametrize("decoder", [ZigZag(), LeftHalf(), LeftHalf(base=ZigZag())], ids=str)
def test_every_law(decoder) -> None:
    check(decoder)


def test_the_wrapper_keeps_to_the_left() -> None:
    """Of eight open positions four may be committed, then two of four, and so on: at most half a forward."""
    seen = []
    decode(
        ToyModel(), LeftHalf(get("threshold:tau=0.0")), [[1]], length=8, watch=lambda f, p,
        c: seen.append(int(c.open.sum())),
    )
    assert seen == [4, 2, 1, 0]


def test_the_cache_saves_positions_and_at_every_forward_none() -> None:
    toy = ToyModel(seed=1)  # it predicts no mask token here, which would leave the text, and so the cache, as it is

    def positions(every: int) -> int:
        return sum(row.positions_computed for row in decode(toy, ZigZag(), PROMPTS, length=8, cache=Beat(every)))

    whole = decode(toy, ZigZag(), PROMPTS, length=8)
    assert decode(toy, ZigZag(), PROMPTS, length=8, cache=Beat(1)) == whole
    assert positions(4) < positions(2) < positions(1) == sum(row.positions_computed for row in whole)
