"""Errors that a user can fix: each is one clear line that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, Self


class UsageError(ValueError):
    """A mistake of the caller, such as an unknown name, a value out of range, or an impossible combination. The command
    line prints the message as it is and exits with `exit_code`."""

    exit_code: ClassVar[int] = 2


class RowError(UsageError):
    """A row could not be decoded to its end; other rows of the batch are not affected."""

    exit_code = 1
    told: ClassVar[str]
    """The message, with places for the number of the forward and for the decoder."""

    def __init__(self, forward: int, where: str = "", decoder: str = "") -> None:
        super().__init__(where + self.told.format(forward=forward, decoder=f"the decoder {decoder}".rstrip()))
        self.forward, self.where, self.decoder = forward, where, decoder

    def __reduce__(self) -> tuple[type[Self], tuple[int, str, str]]:
        """pickle would recreate an exception from its message alone."""
        return type(self), (self.forward, self.where, self.decoder)


class NonFiniteError(RowError):
    """The logits of a model were NaN or infinite."""

    told = (
        "the logits of the model are not finite (NaN or infinity) in forward {forward}: its weights are damaged, or "
        "they overflow in this dtype"
    )


class StalledError(RowError):
    """A decoder committed nothing for very many forwards."""

    told = (
        "{decoder} makes no progress: by forward {forward} it was given up, after many forwards without a commitment; "
        "its rule has to commit a position every few forwards"
    )


class OldSpelling(FutureWarning):
    """A spec is written in an old way that will be removed; the message gives the present spelling."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?` with the nearest known name, or the list of all known names if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"


def no_option(owner: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an option that a plug does not have."""
    known = list(known)
    return UsageError(f"{owner} has no option {name!r}{suggest(name, known) if known else '; it has none'}")


def several(n: int, thing: str) -> str:
    """`1 row`, `2 rows`: a number with the plural that it takes."""
    return f"{n} {thing}{'' if n == 1 else 's'}"
