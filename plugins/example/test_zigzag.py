from decoders_zigzag import ZigZag

from decoders.testing import check


def test_every_law() -> None:
    check(ZigZag())
