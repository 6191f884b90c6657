from decoders.testing import check
from decoders_zigzag import ZigZag


def test_every_law() -> None:
    check(ZigZag())
