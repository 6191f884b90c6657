"""A plug held against laws: what became of each, what broke first, and what only follows from that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest import SkipTest

from decoders.testing.telling import Place, definition, place_of

P = TypeVar("P")

EXPLAINS: dict[str, frozenset[str] | None] = {
    "written": None, "meta_safe": None, "pure": None, "gives_columns": None, "known": None, "configured": None,
    "round_trip": None, "well_formed": None, "repeats": frozenset({"worded", "same_elsewhere"}),
    "terminates": frozenset({"engine_agrees", "rests", "replays", "wraps"}),
    "batch_invariant": frozenset({"engine_agrees", "wraps"}),
}
"""Laws whose breach may be why others are broken, the deepest first; None: any other that decodes."""
FORM = frozenset({"spec_round_trip", "sizes"})
"""Laws that decode nothing."""
METHODS = {
    "asks_what_it_may": "query", "sizes": "sizes", "written": "", "configured": "settings", "round_trip": "renames",
    "sees": "attentions", "well_formed": "items", "worded": "prompt", "repeats": "problem", "right_is_right": "answer",
    "splits": "asked", "fits": "length", "same_elsewhere": "problem",
}
"""The method that a law is about, where that is not the one that a plug is written for, or the argument that a family
is made with; none: the class, or the whole call."""


class NotAsked(SkipTest):
    """Raised by a law that asks nothing of a plug, with the reason. In a test of pytest or unittest it is a skip."""


@dataclass(frozen=True)
class Verdict:
    """What became of one law."""

    law: str
    about: str
    """What the law says, in a sentence."""
    message: str = ""
    """How it is broken; empty if it is kept."""
    place: Place | None = None
    """Where in the author's code."""
    because: str | None = None
    """A law that was broken before, and whose breach is the same one or may be the reason."""
    same: bool = False
    """The breach is the very one that broke that law."""
    raised: bool = False
    """The plug itself raised something."""
    unasked: str = ""
    """Why the law asks nothing of this plug; empty if it does."""

    @property
    def broken(self) -> bool:
        return bool(self.message)

    @property
    def passed(self) -> bool:
        return not self.broken and not self.unasked


@dataclass(frozen=True)
class Trial:
    """What became of all of them."""

    plug: Any
    verdicts: tuple[Verdict, ...]
    seconds: float = field(compare=False)

    @property
    def broken(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if v.broken)

    @property
    def findings(self) -> tuple[str, ...]:
        """A paragraph for each breach that does not follow from another."""
        return tuple(self.told(v) for v in self.broken if v.because is None)

    @property
    def breaks(self) -> str:
        return f"breaks {len(self.broken)} of {len(self.verdicts)} laws"

    def told(self, v: Verdict) -> str:
        """A breach, with where it is and what may follow from it."""
        same = [x.law for x in self.broken if x.because == v.law and x.same]
        after = [x.law for x in self.broken if x.because == v.law and not x.same]
        lines = [f"{some((v.law, *same))}: {v.message}"]
        if v.place:
            lines.append(f"    {v.place}")
        if after:
            be = "is" if len(after) == 1 else "are"
            lines.append(f"    This may be why {some(after)} {be} broken too: mend it first.")
        return "\n".join(lines)


def some(laws: Sequence[str], most: int = 4) -> str:
    """`a`, `a and b`, `a, b and c`, and of very many the first and how many others."""
    *others, last = laws
    if len(laws) > most:
        return f"{laws[0]} and {len(others)} others"
    return f"{', '.join(others)} and {last}" if others else last


def verdicts(laws: Sequence[Callable[[P], None]], plug: P, method: str = "step") -> Iterator[Verdict]:
    """What becomes of each law in turn, told as soon as it is known; `method` is what the plug is written for."""
    found: dict[str, Verdict] = {}
    for law in laws:
        name, about = law.__name__, first_sentence(law.__doc__ or "")
        try:
            law(plug)
        except NotAsked as e:
            yield Verdict(name, about, unasked=str(e))
        except Exception as e:  # a broken plug may raise anything anywhere, and the other laws are still worth hearing
            place = place_of(e, plug) or definition(plug, METHODS.get(name, method))
            by_law = isinstance(e, AssertionError)
            message = str(e) if by_law and str(e) else f"{type(e).__name__}: {e}"
            because, same = reason(name, Verdict(name, about, message, place, raised=not by_law), found)
            found[name] = Verdict(name, about, message, place, because, same, not by_law)
            yield found[name]
        else:
            yield Verdict(name, about)


def reason(law: str, v: Verdict, broken: dict[str, Verdict]) -> tuple[str | None, bool]:
    """A law that was broken before and explains that this one is, and whether the breach is the same."""
    breach = v.raised, v.message, v.place
    twin = next((x for x in broken.values() if v.raised and (x.raised, x.message, x.place) == breach), None)
    if twin:
        return twin.because or twin.law, twin.because is None or twin.same
    for root, explained in EXPLAINS.items():
        if root == law:
            break
        reaches = root == "written" or law not in FORM if explained is None else law in explained
        if root in broken and reaches:
            return broken[root].because or root, False
    return None, False


def first_sentence(text: str) -> str:
    """Of a docstring, in one line."""
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."


def tried(laws: Sequence[Callable[[P], None]], plug: P, method: str = "step") -> Trial:
    """A plug held against laws."""
    started = time.perf_counter()
    found = tuple(verdicts(laws, plug, method))
    return Trial(plug, found, time.perf_counter() - started)


def insist(laws: Sequence[Callable[[P], None]], plug: P, method: str = "step") -> None:
    """Raises `AssertionError` with a paragraph for each breach that does not follow from another."""
    if (trial := tried(laws, plug, method)).broken:
        raise AssertionError(f"{plug!r} {trial.breaks}\n\n" + "\n\n".join(trial.findings))
