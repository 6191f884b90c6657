"""What a reasoner is and what it hands over, for whoever writes one and for whoever asks one."""

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
    """What the reasoner generated, by its own count; none if an endpoint does not say."""
    seconds: float
    """Wall time: of the request with its waits and repetitions; of the whole batch for a model in this process."""
    finish_reason: str
    """`stop` (the boundary, or an end of its own), `length` (the budget), or what else an endpoint says."""
    continues: bool
    """It goes on where the prompt ends; otherwise it is a reply that stands for itself."""
    reasoner: str
    """Who wrote it, without options of patience."""

    def record(self) -> dict[str, Any]:
        """Its part of a generation's record."""
        return {
            "reasoning": self.text, "reasoning_tokens": self.tokens, "reasoning_seconds": self.seconds,
            "reasoning_finish_reason": self.finish_reason, "reasoner": self.reasoner,
        }


class ReasonerError(UsageError):
    """There is no reasoning for a prompt. `everyone`: other prompts would fare the same, so that nobody need ask for
    them."""

    def __init__(self, problem: str, everyone: bool = False) -> None:
        super().__init__(problem)
        self.everyone = everyone


class Reasoner(Protocol):
    """Writes the reasoning for prompts: a text is to be continued or replied to, a conversation is to be replied to."""

    @property
    def name(self) -> str:
        """All that its texts depend on; not, for one, how often it tries again."""

    def write(
        self, prompts: Sequence[str | Messages], *, seeds: Sequence[int], boundary: str, budget: int
    ) -> list[Reasoning | ReasonerError]:
        """Each prompt's reasoning, or why there is none: up to `boundary` (if it is not empty), its own end, or
        `budget` tokens."""


def named(place: str, reasoner: Any, options: Sequence[str]) -> str:
    """A URL with those of `options` that differ from their defaults."""
    defaults = {f.name: f.default for f in fields(reasoner)}
    more = {key: str(getattr(reasoner, key)).lower() for key in options if getattr(reasoner, key) != defaults[key]}
    return f"{place}?{urlencode(more)}" if more else place


def until(text: str, boundary: str) -> str:
    """The text left of the boundary."""
    return text.partition(boundary)[0] if boundary else text
