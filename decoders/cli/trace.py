"""`--trace`: which positions every forward changed, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

from decoders.core import Canvas, Decoder, Forward, Pred, UsageError
from decoders.files import why
from decoders.text.trace import Changes


class Written(Protocol):
    """What a trace is written to."""

    def write(self, text: str, /) -> int: ...


class TraceFile:
    """A `watch` that writes one line a forward:

    `{"forward": n, "rows": [{"prompt": i, "committed": [...], "edited": [...], "reopened": [...]}]}`

    with `{"position", "token", "confidence"}` for each change; `position` counts from the start of the prompt, and a
    reopened position has the token and confidence that it had before. `rows` contains the prompts that took part, by
    the indices `prompts` of the batch's rows, and `forward` counts from 1 in every batch. A row has a "phase" if the
    decoder has several kinds of forwards, and committed positions have an "outcome" if the decoder reports outcomes.
    """

    def __init__(self, file: Written, prompts: Sequence[int], decoder: Decoder) -> None:
        self.file, self.prompts, self.changes = file, prompts, Changes(decoder)
        self.forwards = 0

    def __call__(self, f: Forward, p: Pred, c: Canvas) -> None:
        self.forwards += 1
        rows = [{"prompt": self.prompts[b]} | row for b, row in self.changes.rows(f, c)]
        self.file.write(json.dumps({"forward": self.forwards, "rows": rows}) + "\n")


class Fresh:
    """A file whose old content is removed at the first write, so that a refused run loses nothing."""

    def __init__(self, file: TextIO, regular: bool) -> None:
        self.file, self.regular, self.begun = file, regular, False

    def begin(self) -> None:
        if not self.begun and self.regular:  # a device or a pipe has no content to remove
            self.file.truncate(0)
        self.begun = True

    def write(self, text: str) -> int:
        self.begin()
        return self.file.write(text)


@contextmanager
def opened(path: Path) -> Iterator[Fresh]:
    """A file to write to; a new file is removed again if nothing is written. Raises `UsageError` if it cannot be
    written to, also on closing, when it is known whether everything was written."""
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
