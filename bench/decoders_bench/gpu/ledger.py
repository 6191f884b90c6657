"""The results, written to disk immediately: one file with a card's results, and one with tracebacks."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOST = "the process ended in the middle of it"


def file_of(card: str) -> str:
    """The name of the file with a card's results."""
    return re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-") + ".json"


@dataclass
class Ledger:
    """The results of one card. `rows` are by the name of the measurement; `failed` has the reasons why others have no
    result."""

    path: Path
    card: str = ""
    hardware: str = ""
    rows: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: int = 0
    """The number of runs; what failed in an earlier one is tried again."""
    begun: str | None = None

    @classmethod
    def of(cls, card: str, hardware: str, out: Path, earlier: Path) -> Ledger:
        """The ledger of a card in `out`; if there is none, a continuation of the one in `earlier`."""
        path = out / file_of(card)
        found = next((p for p in (path, earlier / path.name) if p.exists()), None)
        known = json.loads(found.read_text()) if found else {}
        made = cls(path, card, hardware, **{k: known[k] for k in ("rows", "failed", "calls", "begun") if k in known})
        if made.begun:
            made.fail(made.begun, LOST)
        return made

    def save(self) -> None:
        """Write one line per row, atomically: the new file is complete before it replaces the old one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        head = {
            "card": self.card,
            "hardware": self.hardware,
            "calls": self.calls,
            "begun": self.begun,
            "failed": self.failed,
        }
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in self.rows.items())
        part = self.path.with_suffix(".part")
        part.write_text(f'{json.dumps(head)[:-1]}, "rows": {{\n{lines}\n}}}}\n')
        os.replace(part, self.path)

    def begin(self, key: str) -> None:
        """Record the start of a measurement, so that it is known if the process dies in it."""
        self.begun = key
        self.save()

    def found(self, key: str, row: dict[str, Any]) -> None:
        self.rows[key] = row
        self.failed.pop(key, None)
        self.begun = None
        self.save()

    def fail(self, key: str, why: str, final: bool = False) -> None:
        """`final`: the measurement is impossible here, which is no error."""
        self.failed[key] = {"why": why, "call": self.calls, "final": final}
        self.begun = None
        self.save()

    def missing(self, key: str) -> bool:
        """Whether to measure it: it has no result, and was not tried in this call."""
        return key not in self.rows and self.failed.get(key, {}).get("call") != self.calls

    def forget(self, prefix: str) -> None:
        """Remove all results of a part, so that it is measured again."""
        for known in (self.rows, self.failed):
            for key in [k for k in known if k.startswith(f"{prefix}/")]:
                del known[key]

    def tell(self, key: str, text: str) -> None:
        """Append a traceback to the log for developers."""
        with (self.path.parent / "tracebacks.txt").open("a") as out:
            out.write(f"==== {key}, {time.strftime('%H:%M:%S')}, call {self.calls}\n{text.rstrip()}\n\n")
