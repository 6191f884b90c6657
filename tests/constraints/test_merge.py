"""A merge: the pieces of an update whole and in order, and between them runs of lines of the original."""

from __future__ import annotations

from itertools import product

import pytest

from decoders.constraints import merge
from decoders.constraints.merge import Merge
from decoders.core import UsageError

ENDS, VOCAB = (0,), 12
SPELLED = {"a": (1, 2), "b": (1, 3), "c": (4,), "d": (5, 1, 2), "x": (6,), "y": (1, 7), "": (9,), "never": (10, 11)}


def of(original, *pieces, opens=True, closes=True):
    return Merge("the merge", tuple(original), tuple(map(tuple, pieces)), opens, closes, lambda x: SPELLED[x[:-1]])


def texts(m, most=6):
    """All texts of so many lines that are allowed; a stop token follows each, and something behind that."""
    a = m.automaton({}, VOCAB, ENDS)
    move, group, accepting = a.move.tolist(), a.group.tolist(), a.accepting.tolist()
    alphabet = sorted({*m.original, *(x for p in m.pieces for x in p)})

    def allowed(lines):
        state = a.start
        for token in [*m.tokens(*lines), 0, 8]:
            state = move[state][group[token]]
        return accepting[state]

    words = (w for n in range(most + 1) for w in product(alphabet, repeat=n))
    return {"".join(w) for w in words if allowed(w)}


def expected(original, pieces):
    """By all ways of cutting the original at the pieces."""
    found, n = set(), len(original)

    def go(k, at, text):
        if k == len(pieces):
            found.add(text + "".join(original[at:]))
            return
        for end in range(at, n + 1):
            for begin in range(end, n + 1):
                go(k + 1, begin, text + "".join(original[at:end]) + pieces[k])

    go(0, 0, "")
    return found


@pytest.mark.parametrize(("original", "pieces"), [("abc", ["x"]), ("aab", ["xy"]), ("abc", ["x", "y"]), ("", ["x"])])
def test_a_piece_takes_the_place_of_some_lines_or_none(original, pieces):
    assert texts(of(original, *pieces)) == expected(original, pieces)


def test_a_line_that_both_have_marks_the_place():
    assert texts(of("abcd", "bxc")) == {"abxcd"}
    assert texts(of("abcd", "bx")) == {"abx", "abxd", "abxcd"}
    assert texts(of("abcd", "xc")) == {"xcd", "axcd", "abxcd"}
    assert texts(of("abab", "bx")) == expected("abab", ["bx"])  # which b?
    assert texts(of(["a", "", "b"], ["x", "", "y"])) == expected(["a", "", "b"], ["xy"])


def test_without_a_line_for_code_that_stays_everything_there_gives_way():
    assert texts(of("abc", "x", opens=False)) == {"x", "xc", "xbc", "xabc"}
    assert texts(of("abc", "x", closes=False)) == {"x", "ax", "abx", "abcx"}
    assert texts(of("abc", "bx", opens=False, closes=False)) == {"bx"}


def test_what_contradicts_the_original_or_is_too_large(monkeypatch):
    assert of("abc", "c", "a").automaton({}, VOCAB, ENDS).shortest(20) is None
    monkeypatch.setattr(merge, "LARGEST", 3)
    with pytest.raises(UsageError, match="the merge has more than 3 states"):
        of("abc", "x").automaton({}, VOCAB, ENDS)
