"""Retries: which failures are retried, how long to wait, and when to stop."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import count
from time import time
from typing import TypeVar

from decoders.reasoning.base import ReasonerError

T = TypeVar("T")
LONGEST = 60.0
"""The longest wait in seconds that is not requested by a server."""


class AttemptError(Exception):
    """One try failed. `problem` is the error and `remedy` what the user can do; `again`: a retry may succeed;
    `everyone`: as in `ReasonerError`; `wait`: the least number of seconds that the server asked for."""

    def __init__(
        self, problem: str, remedy: str, *, again: bool = True, everyone: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(problem)
        self.problem, self.remedy, self.again, self.everyone, self.wait = problem, remedy, again, everyone, wait


@dataclass(frozen=True)
class Patience:
    """How often, and for how long."""

    retries: int
    """Tries after the first."""
    wait: float
    """Seconds before the second try; doubled before each further one, and randomly reduced by up to a half, so that
    simultaneous failures are not retried simultaneously."""
    timeout: float
    """Seconds for one try."""
    patience: float
    """Seconds for all of them, and for the waits."""

    async def ask(self, name: str, once: Callable[[], Awaitable[T]]) -> T:
        """The result of `once`, which may raise `AttemptError`. After the last try it raises `ReasonerError` with one
        line that begins with `name`."""
        import anyio

        began = anyio.current_time()
        for tries in count(1):
            try:
                with anyio.fail_after(min(self.timeout, began + self.patience - anyio.current_time())):
                    return await once()
            except TimeoutError:
                failed = AttemptError(f"gave no answer within {self.timeout:g} s", "raise timeout, or lower the budget")
            except AttemptError as e:
                failed = e
            pause = max(failed.wait, min(self.wait * 2.0 ** (tries - 1), LONGEST) * random.uniform(0.5, 1))
            spent = anyio.current_time() - began
            if not failed.again or tries > self.retries or spent + pause >= self.patience:
                asked = f", and asks to wait {failed.wait:g} s" if failed.again and failed.wait else ""
                told = f" ({tries} {'try' if tries == 1 else 'tries'} in {spent:.1f} s)" if failed.again else ""
                raise ReasonerError(f"{name} {failed.problem}{asked}{told}; {failed.remedy}", failed.everyone)
            await anyio.sleep(pause)
        raise AssertionError  # for mypy: count does not end


def retry_after(header: str | None) -> float:
    """Seconds, from the header Retry-After: a number of them, or a date (RFC 9110, 10.2.3). 0 if the header cannot be
    read."""
    try:
        if header and header.strip().isdecimal():
            return float(header)
        return max(parsedate_to_datetime(header).timestamp() - time(), 0.0) if header else 0.0
    except (ValueError, OverflowError):
        return 0.0
