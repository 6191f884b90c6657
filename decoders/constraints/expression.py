"""A regular expression as text, before it is compiled: how large it will be, and in the form that outlines-core can
take.

outlines-core makes an automaton that also searches, and gives only the part of it that matches from the start. That has
three consequences. What searches can be exponentially larger (`"[^b]{0,30}"`: where did the text begin?), and compiling
cannot be interrupted. Where two alternatives match it knows only the first (`a|ab` allows no `ab`), as a search would
find nothing else. And where a text could end it loses what leads on (`a(bc)?` allows no `abc`, if every letter is a
token). All are avoided by `whole`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST = 1 << 15
"""States of an automaton; so many take some ten seconds."""
BEGIN, END = "\U0010fffe", "\U0010ffff"
"""Stand before and behind a text that matches. They are no characters, and no harm is done where a text holds them."""

_TOKEN = re.compile(
    r"""\\[pPx]\{[^}]*(?:\}|\Z) | \\x[0-9A-Fa-f]{2} | \\.                # a class or a letter by its name
    | \[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*(?:\]|\Z)                     # a class in brackets
    | \(\?(?:P?<\w+>|[a-zA-Z-]*[:)])                                     # the head of a group, or flags
    | \{(?P<least>\d+)(?:,(?P<most>\d*))?\} | .""",
    re.DOTALL | re.VERBOSE,
)
_CLASSES = {"w": 320, "W": 320, "p": 320, "P": 320, "d": 25, "D": 30, "s": 8, "S": 15}
"""States that a class of Unicode takes as UTF-8, as measured with outlines-core 0.2."""
_BEGINS, _ENDS = ("^", r"\A"), ("$", r"\z")


@dataclass(frozen=True)
class Expression:
    """What is known of a pattern from its text."""

    text: str
    """The pattern without the anchors at its ends, which a match of the whole text has anyway."""
    states: int
    """About how many states its automaton has, counted repetitions unrolled."""

    @classmethod
    def read(cls, pattern: str) -> Expression:
        """Raises `ValueError` for parentheses and brackets that do not match, and for anchors inside."""
        if len(pattern) > 8 * LARGEST:
            return cls(pattern, len(pattern))
        # of the groups that are open, and of the last part, which a repetition is about
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
                times = int((m["most"] or m["least"])[:9])  # of longer numbers the beginning is large enough
                totals[-1] += last * (times - 1)
                last *= times
            elif token in (*_BEGINS, *_ENDS):
                raise ValueError(f"{token} can stand at an end of the expression alone; the whole text has to match")
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
        """A pattern for texts between `BEGIN` and `END`, or for nothing at all: a search ends where it begins, and no
        other text can end before its `END`."""
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
