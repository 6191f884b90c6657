"""Row statistics by the compiled kernel (`rows.cpp`), for logits of float32 or bfloat16 on a CPU.

One pass over the logits gives the likeliest token, its probability, entropy and margin, and a sample. Each function is
an operation of torch, so that a recording or compiler of a step sees one operation.

Tokens are the same as the reference's. A row in which rounding could decide, because a random number is within 2e-7 of
the border between two tokens' shares, and a row that is no distribution are computed by the reference.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from decoders.errors import UsageError
from decoders.stats import reference
from decoders.stats.build import CannotBuildError, library
from decoders.stats.constants import among, constant

MISSING = -1  # the kernel's token where the reference is asked: the row is no distribution, or rounding could decide

_LIBRARY: ctypes.CDLL | None = None
_WHY = ""
"""Why there is no library; empty before the first use."""


def problem() -> str:
    """Why the kernel cannot be used; empty if it can. The first call compiles it, and later calls do not try again."""
    global _LIBRARY, _WHY
    if _LIBRARY is None and not _WHY:
        try:
            _LIBRARY = library()
        except CannotBuildError as e:
            _WHY = str(e)
    return _WHY


class Job(ctypes.Structure):
    """The inputs and outputs of the kernel, in the layout of `rows.cpp`."""

    _fields_ = [
        ("data", ctypes.c_void_p), ("brain", ctypes.c_int64), ("rows", ctypes.c_int64), ("columns", ctypes.c_int64),
        ("stride", ctypes.c_int64), ("banned", ctypes.c_void_p), ("banned_count", ctypes.c_int64),
        ("threads", ctypes.c_int64), ("temperature", ctypes.c_double), ("uniform", ctypes.c_void_p),
        ("hashes", ctypes.c_void_p), ("tokens", ctypes.c_void_p), ("numbers", ctypes.c_void_p),
    ]  # fmt: skip


def kernel() -> ctypes.CDLL:
    """The library. Raises `UsageError` if there is none."""
    if _LIBRARY is None and (why := problem()):
        raise UsageError(f"the statistics cannot be compiled: {why}")
    assert _LIBRARY is not None
    return _LIBRARY


Rows = tuple[Tensor, Tensor]
"""Of R rows: (2, R) long, the likeliest token and the sample, which has no meaning if none was requested; (5, R)
float32, the logarithms of the sum of exponentials and of the probabilities of those two tokens, the entropy, and the
margin."""
LOG_WHOLE, LOG_BEST, LOG_SAMPLE, ENTROPY, MARGIN = range(5)


def rows(logits: Tensor, banned: Sequence[int], uniform: Tensor | None, temperature: float) -> Rows:
    logits, R = laid(logits), len(logits)
    u = None if uniform is None else uniform.contiguous()
    tokens, numbers = torch.empty(2, R, dtype=torch.long), torch.empty(5, R)
    given = None if u is None else u.data_ptr()
    job = Job(*read(logits, banned), temperature, given, None, tokens.data_ptr(), numbers.data_ptr())
    if kernel().decoders_rows(ctypes.byref(job)):
        completed(logits, banned, u, temperature, tokens, numbers)
    return tokens, numbers


def completed(
    logits: Tensor, banned: Sequence[int], u: Tensor | None, temperature: float, tokens: Tensor, numbers: Tensor
) -> None:
    """Let the reference compute the rows that are `MISSING`."""
    at = (tokens[0] == MISSING).nonzero()[:, 0]
    x = plain(logits, banned, at)
    tokens[0, at], top, log_z = reference.best(x)
    numbers[LOG_WHOLE, at], numbers[LOG_BEST, at] = log_z, log_probability(top, log_z)
    numbers[ENTROPY, at], numbers[MARGIN, at] = reference.entropy(x), reference.margin(x)
    if u is not None:
        at = (tokens[1] == MISSING).nonzero()[:, 0]
        x = plain(logits, banned, at)
        tokens[1, at] = drawn = reference.sample(x, u[at], temperature)
        numbers[LOG_SAMPLE, at] = log_probability(x.gather(1, drawn[:, None])[:, 0], numbers[LOG_WHOLE, at])


def log_probability(logit: Tensor, log_z: Tensor) -> Tensor:
    """The logarithm of `reference.probability`."""
    found = logit.float() - log_z
    return found.masked_fill(found.isnan(), -torch.inf)


def race(logits: Tensor, banned: Sequence[int], h: Tensor, temperature: float) -> Tensor:
    logits, h, token = laid(logits), h.contiguous(), torch.empty(len(logits), dtype=torch.long)
    job = Job(*read(logits, banned), temperature, None, h.data_ptr(), token.data_ptr(), None)
    if kernel().decoders_race(ctypes.byref(job)):
        at = (token == MISSING).nonzero()[:, 0]
        token[at] = reference.race(plain(logits, banned, at), h[at], temperature)
    return token


def laid(logits: Tensor) -> Tensor:
    """Rows as the kernel reads them, with columns that are neighbours."""
    return logits if logits.stride(1) == 1 else logits.contiguous()


def read(x: Tensor, banned: Sequence[int]) -> tuple[object, ...]:
    """The part of a `Job` that describes its input."""
    (R, V), (stride, _) = x.shape, x.stride()
    ban = ctypes.addressof(ascending(tuple(banned))) if banned else None
    return x.data_ptr(), x.dtype == torch.bfloat16, R, V, stride, ban, len(banned), torch.get_num_threads()


@cache
def ascending(banned: tuple[int, ...]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(banned))(*sorted(banned))


def plain(logits: Tensor, banned: Sequence[int], at: Tensor) -> Tensor:
    """Some of the rows, -inf at banned tokens."""
    return logits[at].index_fill(-1, constant(tuple(banned), at.device), -torch.inf)


def rows_like(logits: Tensor, banned: Sequence[int], uniform: Tensor | None, temperature: float) -> Rows:
    R = len(logits)
    return logits.new_empty(2, R, dtype=torch.long), logits.new_empty(5, R, dtype=torch.float32)


def race_like(logits: Tensor, banned: Sequence[int], h: Tensor, temperature: float) -> Tensor:
    return logits.new_empty(len(logits), dtype=torch.long)


OPERATIONS = torch.library.Library("decoders", "DEF")
OPERATIONS.define("rows(Tensor logits, int[] banned, Tensor? uniform, float temperature) -> (Tensor, Tensor)")
OPERATIONS.define("race(Tensor logits, int[] banned, Tensor h, float temperature) -> Tensor")
for _name, _run, _like in (("rows", rows, rows_like), ("race", race, race_like)):
    OPERATIONS.impl(_name, _run, "CPU")
    torch.library.register_fake(f"decoders::{_name}", _like, lib=OPERATIONS)


class Compiled:
    """The statistics of R rows, `decoders.stats.Statistics`: the first one that is used computes all the others."""

    def __init__(self, logits: Tensor, banned: tuple[int, ...]) -> None:
        self.logits, self.banned = logits, banned
        self.found: Rows | None = None
        self.made: Tensor | None = None

    def passed(self, uniform: Tensor | None = None, temperature: float = 1.0) -> Rows:
        found: Rows = torch.ops.decoders.rows.default(self.logits, self.banned, uniform, temperature)
        self.found = self.found or found
        return found

    def once(self) -> Rows:
        return self.found or self.passed()

    @property
    def allowed(self) -> Tensor:
        if self.made is None:
            banned = constant(self.banned, self.logits.device)
            self.made = self.logits.index_fill(-1, banned, -torch.inf) if self.banned else self.logits
        return self.made

    @property
    def defined(self) -> Tensor | None:
        return None if self.found is None else self.found[1][LOG_WHOLE].isfinite()

    def best(self) -> tuple[Tensor, Tensor]:
        tokens, numbers = self.once()
        return tokens[0], numbers[LOG_BEST].exp()

    def prob(self, tokens: Tensor) -> Tensor:
        log_z = self.once()[1][LOG_WHOLE]
        p = reference.probability(self.logits.gather(1, tokens[:, None])[:, 0], log_z)
        return p.masked_fill(among(tokens, self.banned), 0.0) if self.banned else p

    def entropy(self) -> Tensor:
        return self.once()[1][ENTROPY]

    def margin(self) -> Tensor:
        return self.once()[1][MARGIN]

    def sample(self, u: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        tokens, numbers = self.passed(u, temperature)
        return tokens[1], numbers[LOG_SAMPLE].exp()

    def race(self, h: Tensor, temperature: float) -> Tensor:
        found: Tensor = torch.ops.decoders.race.default(self.logits, self.banned, h, temperature)
        return found
