"""A regular expression before it is compiled: an estimate of its size, and its text in a form that outlines-core
compiles correctly.

outlines-core builds an automaton that searches, and returns only the part of it that matches from the start. That has
three consequences. A searching automaton can be exponentially larger (`"[^b]{0,30}"` can begin anywhere), and compiling
cannot be interrupted. Of two alternatives that match it knows only the first (`a|ab` does not allow `ab`), because a
search stops there. And it loses continuations after a point where a text could end (`a(bc)?` does not allow `abc` if
every letter is a token). `whole` avoids all three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST = 1 << 15
"""The largest number of states of an automaton; compiling so many takes about ten seconds."""
BEGIN, END = "\U0010fffe", "\U0010ffff"
"""Put before and after a matching text. They are noncharacters of Unicode, and a text that contains them is still
handled correctly."""

_TOKEN = re.compile(
    r"""\\[pPx]\{[^}]*(?:\}|\Z) | \\x[0-9A-Fa-f]{2} | \\.                # a class or a letter by its name
    | \[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*(?:\]|\Z)                     # a class in brackets
    | \(\?(?:P?<\w+>|[a-zA-Z-]*[:)])                                     # the head of a group, or flags
    | \{(?P<least>\d+)(?:,(?P<most>\d*))?\} | .""",
    re.DOTALL | re.VERBOSE,
)
_CLASSES = {"w": 320, "W": 320, "p": 320, "P": 320, "d": 25, "D": 30, "s": 8, "S": 15}
"""States of a Unicode class as UTF-8, as measured with outlines-core 0.2."""
_BEGINS, _ENDS = ("^", r"\A"), ("$", r"\z")


@dataclass(frozen=True)
class Expression:
    """Properties of a pattern that are read from its text."""

    text: str
    """The pattern without the anchors at its ends, which have no effect because the whole text has to match."""
    states: int
    """The approximate number of states of its automaton, with counted repetitions unrolled."""

    @classmethod
    def read(cls, pattern: str) -> Expression:
        """Raises `ValueError` for unbalanced parentheses and brackets, and for anchors inside the pattern."""
        if len(pattern) > 8 * LARGEST:
            return cls(pattern, len(pattern))
        # of the open groups, and of the last part, to which a repetition applies
        kept, totals, last = [], [0], 0
        found = list(_TOKEN.finditer(pattern))
        for m, before, after in zip(found, [None, *found], [*found[1:], None], strict=False):
            token, outside = m[0], len(totals) == 1
            if outside and ((token in _BEGINS and edge(before)) or (token in _ENDS and edge(after))):
                continue
            kept.append(token)
            if token == ")":
                if outside:
                    raise ValueError("a parenthesis is closed that was not opened")
                last = totals.pop()
                totals[-1] += last
            elif token.startswith("(") and not token.endswith(")"):
                totals.append(0)
            elif m["least"] is not None:
                times = int((m["most"] or m["least"])[:9])  # the first digits of a longer number are large enough
                totals[-1] += last * (times - 1)
                last *= times
            elif token in (*_BEGINS, *_ENDS):
                raise ValueError(f"{token} is allowed only at the ends of the expression; the whole text has to match")
            elif token == "\\":
                raise ValueError("it ends with a backslash")
            elif token.startswith("[") and _TOKEN.fullmatch(token + "]"):
                raise ValueError("a bracket is not closed")
            elif token not in ("*", "+", "?", "|"):
                last = letter(token)
                totals[-1] += last
        if len(totals) > 1:
            raise ValueError("a parenthesis is not closed")
        return cls("".join(kept), sum(totals))

    @property
    def whole(self) -> str:
        """A pattern for texts between `BEGIN` and `END`, or for the empty text: with these marks a search can begin
        only at the start, and no text ends before its `END`."""
        return f"(?:{BEGIN}(?:{self.text}){END}|)"


def edge(beside: re.Match[str] | None) -> bool:
    return beside is None or beside[0] == "|"


def letter(token: str) -> int:
    """The states of one letter or class."""
    if token == ".":
        return _CLASSES["s"]
    if token.startswith("\\") and token[1] in _CLASSES:
        return _CLASSES[token[1]]
    if token.startswith("["):
        named = [_CLASSES.get(c, 1) for c in re.findall(r"\\(.)", token)]
        wide = _CLASSES["s"] if token.startswith("[^") or not token.isascii() else 1
        return max([wide, *named])
    return len(token.encode("utf-8", "surrogatepass")) if len(token) == 1 else 1
