"""Reading through the engine: rows that want one forward and decide nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor

from decoders.core import (
    Blocks,
    Canvas,
    Decoder,
    Exact,
    Forward,
    Model,
    Plan,
    Pred,
    Query,
    State,
    UsageError,
    check,
    is_causal,
    leftmost,
    option,
)
from decoders.decide.labels import Tree
from decoders.decide.reading import at_columns, log_probabilities
from decoders.engine import Request, Result, Service
from decoders.engine.sizes import rows_for
from decoders.job import WHOLE
from decoders.models.loaded import Loaded

T = TypeVar("T")
LEAST = 8
"""Columns of a window, at least, so that labels of one token and of a few are read together."""


@dataclass(frozen=True)
class Reader(Decoder):
    """Commits nothing: who reads its one forward is the host."""

    causal: bool = option(False, "predict the first open position from what stands left of it, and nothing else")

    def query(self, s: State) -> Query:
        if not self.causal:
            return Query(s.tokens, s.open)
        return Query(s.tokens, leftmost(s.open), torch.ones_like(s.key, dtype=torch.bool))

    def step(self, s: State, p: Pred) -> State:
        return s


@dataclass(frozen=True)
class Row:
    """Token ids, and what is read of them. Holes stand behind the tokens, or where these hold the mask (`infill`)."""

    tokens: tuple[int, ...]
    length: int
    holes: tuple[int, ...]
    """The columns that are read."""
    tokens_at: tuple[tuple[int, ...], ...]
    """Of each hole, the tokens whose probability is asked for."""
    infill: bool = False

    @property
    def reach(self) -> int:
        """Columns from the first hole to behind the last."""
        behind = len(self.tokens) + self.length if self.length else self.holes[-1] + 1
        return behind - self.holes[0]


def rows_of(context: Sequence[int], labels: Tree) -> list[Row]:
    """The rows that look at labels behind a text, one a node. There is room for the longest of them."""
    begun = [(n, (*context, *n.prefix)) for n in labels.nodes]
    return [Row(tokens, labels.size - len(n.prefix), (len(tokens),), (n.tokens,)) for n, tokens in begun]


@dataclass
class Look:
    """What is seen of a row: asked for by the engine in the forward, read when the row has ended."""

    row: Row
    never: tuple[int, ...]
    found: Tensor | None = None  # (C,) double  of all holes, one after the other

    def __call__(self, slot: int, f: Forward, p: Pred) -> None:
        device = p.logits.device
        column = f.at[slot].gather(0, p.at[slot].clamp(max=p.width - 1))
        # rows of padding predict no column
        column = torch.where(p.at[slot] < p.width, column, -1)
        seen = at_columns(p.logits[slot], column, torch.tensor(self.row.holes, device=device))
        at = [i for i, tokens in enumerate(self.row.tokens_at) for _ in tokens]
        wanted = [t for tokens in self.row.tokens_at for t in tokens]
        hole, token, never = (torch.tensor(x, device=device, dtype=torch.long) for x in (at, wanted, self.never))
        self.found = log_probabilities(seen, hole, token, never)

    def told(self, c: Canvas, slot: int, result: Result) -> list[float] | UsageError:
        """The log probabilities, or why there are none."""
        if error := result.row.error():
            return error
        assert self.found is not None  # it took part in a forward
        log_p: list[float] = self.found.tolist()
        if any(x != x for x in log_p):
            return UsageError(
                "a block-causal model reads the holes of one block in a forward, and a causal one the first hole; ask "
                "about fewer"
            )
        return log_p


def plan_for(loaded: Loaded, model: Model, row: Row) -> Plan:
    """How an engine reads a row: windows of a few sizes that hold all its holes, or, where attention has blocks, those.
    Raises `UsageError` for a model that decides no tokens."""
    decoder, cache = Reader(is_causal(model)), Exact()
    check(model, decoder, cache)
    size = model.attention_block or loaded.block or WHOLE if model.block_causal else rows_for(max(row.reach, LEAST))
    return Plan(decoder, Blocks(size, model.attention_block), cache, stop=False)


def asked(loaded: Loaded, model: Model, row: Row) -> Request:
    """The row for an engine. Its answer is the log probabilities, or the error that says why there are none."""
    look = Look(row, loaded.never)
    return Request(
        row.tokens, row.length, plan_for(loaded, model, row), infill=row.infill, max_steps=1, see=look,
        finished=look.told,
    )


class Pending(Generic[T]):
    """Rows on their way through an engine: ask for the `result` of all of them, or `cancel` them.

    `future` has what `put` makes of the log probabilities of the rows, in their order. It is made in the engine's
    thread."""

    def __init__(self, service: Service, requests: Sequence[Request], put: Callable[[list[list[float]]], T]) -> None:
        self.service, self.requests, self.put = service, requests, put
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # who stops waiting for it must not cancel it for the engine
        self.left, self.lock, self.began = len(requests), threading.Lock(), time.monotonic()
        try:
            for r in requests:
                service.submit(r, self.done)
        except UsageError:
            self.cancel()
            raise

    def result(self, timeout: float | None = None) -> T:
        """Raises `UsageError`, or `TimeoutError`."""
        return self.future.result(timeout)

    def cancel(self) -> None:
        """End what has not ended; the result is then a `CancelledError`."""
        for r in () if self.future.done() else self.requests:
            self.service.cancel(r)

    def done(self, r: Request) -> None:
        with self.lock:
            self.left -= 1
            if self.left:
                return
        try:
            self.future.set_result(self.put([found(r) for r in self.requests]))
        except Exception as e:
            self.future.set_exception(e)


def found(r: Request) -> list[float]:
    """What a row that has ended says. Raises `UsageError`, and what is no fault of the user's."""
    error = r.answer if isinstance(r.answer, Exception) else r.error
    if error is not None:
        raise error
    return cast(list[float], r.answer)
