"""What a user can mend: one clear line that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, Self


class UsageError(ValueError):
    """A mistake of the caller, such as an unknown name, a value out of range, or an impossible combination. The command
    line prints the message as it is and exits with `exit_code`."""

    exit_code: ClassVar[int] = 2


class RowError(UsageError):
    """A row that could not be decoded to its end; others beside it could."""

    exit_code = 1
    told: ClassVar[str]
    """What is told of it, of the number of the forward, and of the decoder."""

    def __init__(self, forward: int, where: str = "", decoder: str = "") -> None:
        super().__init__(where + self.told.format(forward=forward, decoder=f"the decoder {decoder}".rstrip()))
        self.forward, self.where, self.decoder = forward, where, decoder

    def __reduce__(self) -> tuple[type[Self], tuple[int, str, str]]:
        """On its way from one process to another an exception is made anew, by default from its message."""
        return type(self), (self.forward, self.where, self.decoder)


class NonFiniteError(RowError):
    """A model said nothing: its logits were NaN or infinite."""

    told = (
        "the logits of the model are not finite (NaN or infinity) in forward {forward}: its weights are damaged, or "
        "they overflow in this dtype"
    )


class StalledError(RowError):
    """A decoder committed nothing for very many forwards."""

    told = (
        "{decoder} makes no progress: by forward {forward} it had committed nothing for so long that it never will; "
        "its rule has to commit a position every few forwards"
    )


class OldSpelling(FutureWarning):
    """A spec is written in a way that will go; the message says how it is written now."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?` for the nearest known name, else the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(known) or 'nothing'}"


def no_option(owner: str, name: str, known: Iterable[str]) -> UsageError:
    """What is raised for an option that a plug has not."""
    known = list(known)
    return UsageError(f"{owner} has no option {name!r}{suggest(name, known) if known else '; it has none'}")


def several(n: int, thing: str) -> str:
    """`1 row`, `2 rows`: a number with the plural that it takes."""
    return f"{n} {thing}{'' if n == 1 else 's'}"
