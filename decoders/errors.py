"""What a user can mend: one clear line that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class UsageError(ValueError):
    """A mistake of the caller's: an unknown name, a value out of range, an impossible combination. The command line
    prints the message as it is and exits with `exit_code`."""

    exit_code: ClassVar[int] = 2


class RowError(UsageError):
    """A row that could not be decoded to its end; others beside it could."""

    exit_code = 1


class NonFiniteError(RowError):
    """A model said nothing: its logits were NaN or infinite."""

    def __init__(self, forward: int, where: str = "") -> None:
        super().__init__(
            f"{where}the logits of the model are not finite (NaN or infinity) in forward {forward}: its weights are "
            "damaged, or they overflow in this dtype"
        )


class StalledError(RowError):
    """A decoder committed nothing for very many forwards."""

    def __init__(self, forward: int, where: str = "") -> None:
        super().__init__(
            f"{where}the decoder makes no progress: by forward {forward} it had committed nothing for so long that it "
            "never will; its rule has to commit a position every few forwards"
        )


class OldSpelling(FutureWarning):
    """A spec is written in a way that will go; the message says how it is written now."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean x?` for the nearest known name, else the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(known) or 'nothing'}"
