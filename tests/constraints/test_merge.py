"""A merge: the pieces of an update whole and in order, and between them runs of lines of the original."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

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


def inserted(original, pieces):
    """By all places that pieces can have when nothing gives way."""
    places = combinations_with_replacement(range(len(original) + 1), len(pieces))
    cuts = ([0, *at, len(original)] for at in places)
    return {"".join(original[x:y] + p for x, y, p in zip(c, c[1:], [*pieces, ""], strict=False)) for c in cuts}


@pytest.mark.parametrize(("original", "pieces"), [("abc", ["x"]), ("aab", ["xy"]), ("abc", ["x", "y"]), ("", ["x"])])
def test_for_a_piece_of_new_lines_nothing_gives_way(original, pieces):
    assert texts(of(original, *pieces)) == inserted(original, pieces)


def test_a_line_that_both_have_marks_the_place():
    assert texts(of("abcd", "bxc")) == {"abxcd"}
    assert texts(of("abcd", "bx")) == {"abx", "abxd", "abxcd"}
    assert texts(of("abcd", "xc")) == {"xcd", "axcd", "abxcd"}
    assert texts(of("abcd", "axb", "y")) == {"axbycd", "axbcyd", "axbcdy"}
    assert texts(of("abab", "bx")) == inserted("abab", ["bx"])  # which b?
    assert texts(of(["a", "", "b"], ["x", "", "y"])) == inserted("ab", ["xy"])


def test_without_a_line_for_code_that_stays_everything_there_gives_way():
    assert texts(of("abc", "x", opens=False)) == {"xabc"}
    assert texts(of("abc", "x", closes=False)) == {"x", "ax", "abx", "abcx"}
    assert texts(of("abc", "xb", opens=False)) == {"xbc"}
    assert texts(of("abc", "bx", opens=False, closes=False)) == {"bx"}


def test_without_a_stop_token_a_text_fills_its_room():
    for ends, lengths in ((ENDS, [3, 4, 5, 6]), ((), [3])):
        a = of("a", "x").automaton({}, VOCAB, ends)
        assert a.reach(6)[:, a.start].nonzero().flatten().tolist() == lengths


def test_what_contradicts_the_original_or_is_too_large(monkeypatch):
    assert of("abc", "c", "a").automaton({}, VOCAB, ENDS).shortest(20) is None
    monkeypatch.setattr(merge, "LARGEST", 3)
    for m in (of("abc", "x"), of(["c"], ["never"] * 4)):
        with pytest.raises(UsageError, match="the merge has more than 3 states"):
            m.automaton({}, VOCAB, ENDS)
