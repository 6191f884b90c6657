"""Questions, how they are put, and what follows from the probabilities of their answers."""

from __future__ import annotations

import pytest

from decoders import UsageError
from decoders.decide import Answer, Choice, Predicate, Score

TWO = {"a": "first", "b": None}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Predicate(), "a predicate needs instructions"),
        (lambda: Choice("?", {}), "2 to 255 options, not 0"),
        (lambda: Choice("?", {"a": None}), "2 to 255 options, not 1"),
        (lambda: Choice("?", {str(i): None for i in range(256)}), "2 to 255 options, not 256"),
        (lambda: Choice("?", {"a": None, " ": None}), "an option is empty"),
        (lambda: Score("?", []), "2 to 10 levels, not 0"),
        (lambda: Score("?", ["x"] * 11), "2 to 10 levels, not 11"),
    ],
)
def test_questions_that_cannot_be_asked(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_how_questions_are_put():
    assert Choice("Who?", TWO).listing(0, 2).lines[:3] == ("Question: Who?", "A: a - first", "B: b")
    assert Choice("Who?", TWO).listing(0, 2).labels == ("A", "B")
    assert Predicate("Is it?", false="not").listing(0, 2).lines[:3] == ("Question: Is it?", "yes", "no: not")
    assert Predicate(true="so").listing(0, 2).lines[0] == "yes: so"
    assert Score("How?", ["calm", "angry"]).listing(0, 2).lines[1:3] == ("0: calm", "1: angry")


def test_a_part_of_the_options_has_a_label_for_none_of_them():
    part = Choice("Who?", {str(i): None for i in range(40)}).listing(10, 12)
    assert part.lines[1:4] == ("A: 10", "B: 11", "C: none of these")
    assert (part.labels, part.reference) == (("A", "B", "C"), True)
    whole = Choice("Who?", {str(i): None for i in range(40)}).listing(0, 40)
    assert (whole.labels[0], whole.labels[-1], whole.reference) == ("1", "40", False)


def test_what_follows_from_probabilities():
    chosen = Answer(Choice("?", {"a": None, "b": None, "c": None}), (0.2, 0.6, 0.2), 1.0)
    assert (chosen.best, chosen.value) == (1, "b")
    assert chosen.confidence == pytest.approx((0.6 - 1 / 3) / (1 - 1 / 3))
    assert Answer(Predicate("?"), (0.3, 0.7), 1.0).value == 0.3
    rated = Answer(Score("?", ["a", "b", "c"]), (0.5, 0.25, 0.25), 1.0)
    assert rated.value == pytest.approx(0.75)
    assert rated.confidence == pytest.approx(max(0, 1 - 0.75 / (2 / 3)))
    assert Answer(Score("?", ["a", "b"]), (0.0, 1.0), 1.0).confidence == 1
    assert Answer(Choice("?", TWO), (0.5, 0.5), 1.0).confidence == 0
