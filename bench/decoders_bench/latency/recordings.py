"""Recordings of how many tokens each forward pass of a decoder commits on `nano`, kept in a file, so that runs with
random weights commit the same numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from decoders import UsageError, get, get_cache
from decoders_bench.common.replay import Recording, recorded


@dataclass(frozen=True)
class Wanted:
    """The identity of a recording."""

    decoder: str
    cache: str
    model: str
    """`nano`, or `nano:attention=block` for shapes of block-causal models."""
    block: int
    blocks: int


class Recordings:
    """The recordings of a file, if it exists, and later ones; a new one is written to the file at once. `fixed`: no new
    ones are made."""

    def __init__(self, path: Path | None = None, fixed: bool = False) -> None:
        self.path, self.fixed = path, fixed
        self.made: dict[Wanted, Recording | str] = {}
        if path and path.exists():
            for row in json.loads(path.read_text()):
                reason = row.pop("reason")
                counts = [tuple(row.pop(name)) for name in ("commits", "refreshes")]
                self.made[Wanted(**row)] = reason or Recording(*counts)

    def __getitem__(self, wanted: Wanted) -> Recording:
        """The recording. Raises `UsageError` if `nano` cannot be decoded in this way, which is recorded too, or if it
        is missing and no new ones are made."""
        if wanted not in self.made and self.fixed:
            raise UsageError(
                f"{self.path} has no recording of {wanted.decoder} with {wanted.cache} in blocks of {wanted.block}"
            )
        if wanted not in self.made:
            try:
                self.made[wanted] = recorded(
                    get(wanted.decoder), get_cache(wanted.cache), wanted.model, block=wanted.block,
                    blocks=wanted.blocks,
                )
            except UsageError as e:
                self.made[wanted] = str(e)
            self.save()
        found = self.made[wanted]
        if isinstance(found, str):
            raise UsageError(found)
        return found

    def save(self) -> None:
        """Save atomically: the new file is complete before it replaces the old one."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(row) for row in self.rows())
        part = self.path.with_suffix(".part")
        part.write_text(f"[\n{lines}\n]\n")
        os.replace(part, self.path)

    def rows(self) -> Iterable[dict[str, Any]]:
        for wanted, found in self.made.items():
            known, reason = (Recording((), ()), found) if isinstance(found, str) else (found, "")
            yield {**asdict(wanted), **asdict(known), "reason": reason}


def cut(commits: tuple[int, ...], block: int, steps: int) -> int:
    """The number of forward passes to measure: as many whole windows as fit into `steps`, or one."""
    filled, whole = 0, []
    for i, n in enumerate(commits, 1):
        filled += n
        if filled % block == 0 and n:
            whole.append(i)
    return max((i for i in whole if i <= steps), default=whole[0])
