"""What an engine is asked for, what it tells meanwhile, and what it gives back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from decoders.core import Canvas, Forward, Plan, Pred, Row, UsageError


@dataclass(frozen=True)
class Draft:
    """A row as it stands after a forward."""

    tokens: tuple[int | None, ...]
    """Its generated tokens up to its first settled stop token; None where nothing is decided."""
    settled: int
    """How many of them, from the left, are final."""
    step: int
    """Forwards that the row has taken part in."""


@dataclass(frozen=True)
class Result:
    """What became of a request."""

    row: Row
    committed: tuple[int, ...]
    """For each of `row.tokens` the forward in which it was committed, counted from 0."""
    waiting: float
    """Seconds between the request and its first forward."""
    running: float
    """Seconds from there to the end, other rows' share of the forwards included."""
    logprobs: tuple[float | None, ...] | None = None
    """For each of `row.tokens` its log probability at temperature 1 in the forward that committed it; None where that
    forward did not predict the position. Only where it was asked for."""
    revised: int = 0
    """How often a decided position was changed or taken back. Only where `logprobs` were asked for."""
    top_logprobs: tuple[tuple[tuple[int, float], ...], ...] | None = None
    """For each of `row.tokens` the likeliest tokens of the forward that committed it, likeliest first, with their log
    probabilities at temperature 1; empty where that forward did not predict the position. Only where they were asked
    for."""


class CancelledError(UsageError):
    """It is no longer wanted."""

    exit_code = 1


class DeadlineError(UsageError):
    """A request was not answered by its deadline."""

    exit_code = 1


@dataclass(eq=False)
class Request:
    """A row to decode, and its state in an engine. The caller sets the first fields; the others belong to the engine.

    `plan`: rows of equal plans are decoded in one batch. `length`: positions after the prompt. `key`: the seed.
    `infill`: mask tokens in the prompt are holes. `max_steps` forwards end the row. `deadline`: a `time.monotonic` by
    which it ends with `DeadlineError` if it has not been answered. `halt(row, tokens)` is asked after each forward
    about the settled tokens, and may end the row. `hear` is told of every draft that is news. `logprobs`: the result
    has them, with `top_logprobs` also those of so many of the likeliest tokens.
    `see(row, forward, prediction)` sees every forward of the row as the model made it.
    `finished(canvas, row, result)` sees the row where it stands at its end, and what it returns is the request's
    `answer`.
    """

    prompt: tuple[int, ...]
    length: int
    plan: Plan
    key: int = 0
    infill: bool = False
    max_steps: int | None = None
    deadline: float | None = None
    halt: Callable[[int, Sequence[int]], bool] | None = None
    hear: Callable[[Draft], None] | None = None
    see: Callable[[int, Forward, Pred], None] | None = None
    finished: Callable[[Canvas, int, Result], object] | None = None
    logprobs: bool = False
    top_logprobs: int = 0

    # the engine's

    asked_at: float = field(default_factory=time.monotonic)
    began_at: float | None = None
    ended: bool = False
    result: Result | None = None
    answer: object = None
    error: Exception | None = None
