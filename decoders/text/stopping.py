"""Ends of texts: stop strings, and a rule that forbids stop tokens inside a prompt with holes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from decoders.core import Pred, State, UsageError


def stop_strings(stop: str | Sequence[str], infill: bool) -> tuple[str, ...]:
    """The strings that end a text, from a list or a single string. Raises `UsageError`."""
    ends = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(ends):
        raise UsageError("a stop string is empty")
    if ends and infill:
        raise UsageError("stop strings end a text from left to right, so they cannot be used with infill")
    return ends


def sure(text: str, stop: Sequence[str]) -> int:
    """The length of the part of a growing text that no stop string, complete or begun, can reach."""
    found = [i for end in stop if (i := text.find(end)) >= 0]
    begun = [len(text) - n for end in stop for n in range(1, len(end)) if text.endswith(end[:n])]
    return min([*found, *begun, len(text)])


class StopStrings:
    """A `halt` for `decode`: true once the settled text of a row contains one of `ends`. `ended` keeps the tokens at
    that moment, by row."""

    def __init__(self, decode: Callable[[Sequence[int]], str], ends: Sequence[str]) -> None:
        self.decode, self.ends = decode, ends
        self.seen: dict[int, int] = {}
        self.ended: dict[int, list[int]] = {}

    def __call__(self, row: int, tokens: Sequence[int]) -> bool:
        if self.seen.get(row) != len(tokens) and self.find(tokens) is not None:
            self.ended[row] = list(tokens)
        self.seen[row] = len(tokens)
        return row in self.ended

    def find(self, tokens: Sequence[int]) -> int | None:
        """Where the first of the stop strings begins in the text of `tokens`."""
        text = self.decode(tokens) if self.ends else ""
        return min((i for end in self.ends if (i := text.find(end)) >= 0), default=None)


@dataclass(frozen=True)
class NoStopInHoles:
    """Stop tokens are impossible inside a prompt with holes, because text follows them."""

    behind: int
    """Positions of a row after its prompt."""
    stop_ids: tuple[int, ...]

    def __call__(self, s: State, p: Pred) -> Pred:
        if s.rest is None:
            raise UsageError("holes need the length of the row, which this engine does not report")
        end = s.position[:, 0] + s.room + s.rest
        inside = (s.position < (end - self.behind)[:, None]).gather(1, p.at.clamp(max=p.width - 1))
        rows = torch.where(inside.flatten()[:, None], p.without(self.stop_ids).rows, p.rows)
        return replace(p, logits=rows.view_as(p.logits), banned=())
