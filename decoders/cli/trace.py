"""`--trace`: which positions every forward changed, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from torch import Tensor

from decoders.core import Canvas, Decoder, Forward, Pred, UsageError, view
from decoders.files import why


class Written(Protocol):
    """What a trace is written to."""

    def write(self, text: str, /) -> int: ...


class TraceFile:
    """A `watch` that writes one line a forward:

    `{"forward": n, "rows": [{"prompt": i, "committed": [...], "edited": [...], "reopened": [...]}]}`

    with `{"position", "token", "confidence"}` for each change; `position` counts from the start of the prompt, and of a
    reopened position the token and confidence are those it had. `rows` holds the prompts that took part, by the indices
    `prompts` of the batch's rows, and `forward` counts from 1 in every batch. A row has a "phase" where the decoder has
    several kinds of forwards, and what is committed an "outcome" where it knows several ways to that.
    """

    def __init__(self, file: Written, prompts: Sequence[int], decoder: Decoder) -> None:
        self.file, self.prompts, self.decoder = file, prompts, decoder
        self.forwards = 0
        self.before: Canvas | None = None

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        self.forwards += 1
        old = self.before
        committed, edited, reopened = moved(old, c)
        changed = {
            "committed": (committed, c),
            "edited": (edited, c),
            "reopened": (reopened, c if old is None else old),
        }
        took_part = c.clock > (0 if old is None else old.clock)
        phases, outcomes, how = self.decoder.phases, self.decoder.outcomes, self.how(f, c)
        rows = []
        for b in took_part.nonzero().flatten().tolist():
            row: dict[str, Any] = {"prompt": self.prompts[b]} | ({"phase": phases[int(f.phase[b])]} if phases else {})
            row |= {kind: changes(where[b], source, b) for kind, (where, source) in changed.items()}
            for change in row["committed"] if outcomes else ():
                change["outcome"] = outcomes[how[b][change["position"]]]
            rows.append(row)
        self.file.write(json.dumps({"forward": self.forwards, "rows": rows}) + "\n")
        self.before = c

    def how(self, f: Forward, c: Canvas) -> list[list[int]]:
        """For every column, which outcome the last step's commitments were; the window that they were in may have been
        left."""
        outcome: list[list[int]] = torch.zeros_like(c.tokens).scatter(1, f.at, self.decoder.outcome(view(c))).tolist()
        return outcome


class Fresh:
    """A file whose old content goes when something is first written to it, so that a run that is refused loses
    nothing."""

    def __init__(self, file: TextIO, regular: bool) -> None:
        self.file, self.regular, self.begun = file, regular, False

    def begin(self) -> None:
        if not self.begun and self.regular:  # a device or a pipe has no content that could go
            self.file.truncate(0)
        self.begun = True

    def write(self, text: str) -> int:
        self.begin()
        return self.file.write(text)


@contextmanager
def opened(path: Path) -> Iterator[Fresh]:
    """A file to write to; one that was not there goes again if nothing is written. Raises `UsageError` if it cannot be
    written to, at its end too: then it is known whether all of it was written."""
    try:
        new = not path.exists()
        file = path.open("a", encoding="utf-8")
    except OSError as e:
        raise UsageError(f"{path} cannot be written: {why(e)}") from e
    fresh, whole = Fresh(file, path.is_file()), False
    try:
        yield fresh
        whole = True
    finally:
        try:
            if whole:
                fresh.begin()
            file.close()
        except OSError as e:
            raise UsageError(f"{path} cannot be written: {why(e)}") from e
        if new and not fresh.begun:
            path.unlink(missing_ok=True)


def moved(old: Canvas | None, c: Canvas) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L) bool each: what one forward committed, edited and reopened, from the canvas before it, none if it is the
    first, and the one after it."""
    was = c.editable if old is None else old.open  # at the start all that is editable is open
    edited = ~was & ~c.open & c.editable & (c.tokens != (c if old is None else old).tokens)
    return was & ~c.open, edited, ~was & c.open & c.editable


def changes(where: Tensor, source: Canvas, row: int) -> list[dict[str, Any]]:
    at = where.nonzero().flatten()
    columns = zip(at.tolist(), source.tokens[row, at].tolist(), source.confidence[row, at].tolist(), strict=True)
    return [{"position": i, "token": token, "confidence": confidence} for i, token, confidence in columns]
