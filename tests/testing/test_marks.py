"""Of a matrix of tests, what the default run takes and what waits."""

from __future__ import annotations

from decoders.testing import LAWS
from support.laws import DEAR, lawsuits
from support.marks import slow, thirds, turns
from support.strategies import with_toys


def quick(cases):
    return [case.values for case in cases if not case.marks]


def test_each_value_of_the_first_axis_has_a_default_case_and_the_others_take_turns():
    cases = turns("abcd", [1, 2], [False, True])
    assert len({case.values for case in cases}) == 16
    assert quick(cases) == [("a", 1, False), ("b", 1, True), ("c", 2, False), ("d", 2, True)]
    assert not quick(turns(slow("a"), [1, 2]))


def test_what_blocks_refuse_has_its_default_case_elsewhere():
    cases = with_toys(["llada", "eos_padding", "dream"], ("whole", "blocks"), [1, 3])
    assert cases[-1] == ("eos_padding", "whole", 1)
    assert quick(cases[:-1]) == [("llada", "whole", 1), ("dream", "whole", 3)]


def test_every_law_that_does_not_take_long_is_held_against_some_options_by_default():
    cases = lawsuits(["a", "b", "c"])
    assert len(cases) == 3 * len(LAWS)
    assert [law.__name__ for _, law in quick(cases)] == [law.__name__ for law in LAWS if law.__name__ not in DEAR]
    assert {spec for spec, _ in quick(cases)} == {"a", "b", "c"}


def test_three_tests_share_the_cases():
    cases = [*slow("a"), "b", "c", "d", ("e",)]
    found = [quick(thirds(cases, which)) for which in range(3)]
    assert found == [[("b",), ("e",)], [("c",)], [("d",)]]
    assert all(len(thirds(cases, which)) == 5 for which in range(3))
