"""The interface of reasoners and of their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol
from urllib.parse import urlencode

from decoders.core import UsageError
from decoders.models.loaded import Messages


@dataclass(frozen=True)
class Reasoning:
    """What a reasoner wrote for one prompt. None of it counts as the diffusion model's tokens, forwards or seconds."""

    text: str
    """Up to the boundary, which is not part of it."""
    tokens: int | None
    """The tokens that the reasoner generated, by its own count; None if an endpoint does not report it."""
    seconds: float
    """Wall time: of the request with its waits and retries; for a model in this process, of the whole batch."""
    finish_reason: str
    """`stop` (the boundary, or its own end), `length` (the budget), or another reason of an endpoint."""
    continues: bool
    """It continues the prompt; otherwise it is a separate reply."""
    reasoner: str
    """The reasoner, without options such as timeouts."""

    def record(self) -> dict[str, Any]:
        """Its part of a generation's record."""
        return {
            "reasoning": self.text, "reasoning_tokens": self.tokens, "reasoning_seconds": self.seconds,
            "reasoning_finish_reason": self.finish_reason, "reasoner": self.reasoner,
        }


class ReasonerError(UsageError):
    """There is no reasoning for a prompt. `everyone`: other prompts would fail in the same way, so they need not be
    tried."""

    def __init__(self, problem: str, everyone: bool = False) -> None:
        super().__init__(problem)
        self.everyone = everyone


class Reasoner(Protocol):
    """Writes the reasoning for prompts: a text is to be continued or replied to, a conversation is to be replied to."""

    @property
    def name(self) -> str:
        """Its name with all options that change its texts, and without others such as the number of retries."""

    def write(
        self, prompts: Sequence[str | Messages], *, seeds: Sequence[int], boundary: str, budget: int
    ) -> list[Reasoning | ReasonerError]:
        """Each prompt's reasoning, or the error why there is none: up to `boundary` (if it is not empty), its own end,
        or `budget` tokens."""


def named(place: str, reasoner: Any, options: Sequence[str]) -> str:
    """A URL with those of `options` that differ from their defaults."""
    defaults = {f.name: f.default for f in fields(reasoner)}
    more = {key: str(getattr(reasoner, key)).lower() for key in options if getattr(reasoner, key) != defaults[key]}
    return f"{place}?{urlencode(more)}" if more else place


def until(text: str, boundary: str) -> str:
    """The text left of the boundary."""
    return text.partition(boundary)[0] if boundary else text
