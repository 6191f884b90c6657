"""To try again: which failures that can mend, how long to wait, and when it is enough."""

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
"""Seconds; no wait of our own choosing is longer."""


class AttemptError(Exception):
    """One try failed. `problem` says how and `remedy` what the user can do; `again`: another try may mend it;
    `everyone`: as in `ReasonerError`; `wait`: at least so many seconds, as the other side asked."""

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
    """Seconds before the second try; doubled before each one more, and up to a half taken off by chance, so that those
    who failed together do not come back together."""
    timeout: float
    """Seconds for one try."""
    patience: float
    """Seconds for all of them, and for the waits."""

    async def ask(self, name: str, once: Callable[[], Awaitable[T]]) -> T:
        """What `once` answers, which raises `AttemptError`. Raises `ReasonerError` when it is enough: one line, that
        begins with `name`."""
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
    """Seconds, from the header Retry-After: a number of them, or a date (RFC 9110, 10.2.3). What cannot be read is no
    wish."""
    try:
        if header and header.strip().isdecimal():
            return float(header)
        return max(parsedate_to_datetime(header).timestamp() - time(), 0.0) if header else 0.0
    except (ValueError, OverflowError):
        return 0.0
