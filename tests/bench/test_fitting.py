"""Shapes of what files hold."""

from __future__ import annotations

import pytest

from decoders_bench.common.fitting import misfit

SHAPE = {"a": int, "b": {str: float | None}, "c": [{"d": (int, str)}], "e": bool}
WHOLE = {"a": 1, "b": {"x": 2, "y": None}, "c": [{"d": [1, "z"], "more": 7}], "e": True, "f": []}


def test_what_fits():
    assert misfit(WHOLE, SHAPE) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"a": 1.5}, "holds '1.5' in a"), ({"a": True}, "holds 'True' in a"), ({"e": 1}, "holds '1' in e"),
        ({"b": {"x": "2"}}, "holds '2' in b.x"), ({"b": []}, "holds '[]' in b"), ({"c": {}}, "holds '{}' in c"),
        ({"c": [{}]}, "has no 'd' in c.0"), ({"c": [{"d": [1]}]}, "holds '[1]' in c.0.d"),
        ({"c": [{"d": [1, 2]}]}, "holds '2' in c.0.d.1"),
    ],
    ids=str,
)
def test_what_does_not(change, told):
    assert misfit(WHOLE | change, SHAPE) == told


def test_the_whole_may_be_something_else():
    assert misfit([], SHAPE) == "holds '[]' alone"
    assert misfit({}, SHAPE) == "has no 'a'"
