"""Row statistics by the compiled kernel (`rows.cpp`), for logits of float32 or bfloat16 on a CPU.

One read of the logits brings the likeliest token, its probability, entropy and margin, and with them a sample. They are
operations of torch, so that what records or compiles a step sees one operation in each.

Tokens are the reference's. A row in which rounding could decide, because a random number falls within 2e-7 of the
border between two tokens' shares, and a row that is no distribution are answered by the reference, whatever it costs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from decoders.errors import UsageError
from decoders.stats import reference
from decoders.stats.build import CannotBuildError, library
from decoders.stats.constants import among, constant

UNDEFINED = 1  # the kernel's mark of a row that is no distribution; any mark means that it did not draw

_LIBRARY: ctypes.CDLL | None = None
_WHY = ""
"""Why there is no library; empty as long as nobody has asked."""


def problem() -> str:
    """Why the kernel cannot answer; empty if it can. The first call compiles it, and no later call tries again."""
    global _LIBRARY, _WHY
    if _LIBRARY is None and not _WHY:
        try:
            _LIBRARY = declared(library())
        except CannotBuildError as e:
            _WHY = str(e)
    return _WHY


def declared(made: ctypes.CDLL) -> ctypes.CDLL:
    """With the types of what the functions take: addresses, numbers, and a temperature."""
    address, count = ctypes.c_void_p, ctypes.c_int64
    rows: tuple[Any, ...] = (address, count, count, count, count, address, count, count, address, ctypes.c_double)
    made.decoders_rows.argtypes = [*rows, *(address for _ in range(7))]
    made.decoders_race.argtypes = [*rows, address, address]
    return made


def kernel() -> ctypes.CDLL:
    """The library. Raises `UsageError` if there is none."""
    if _LIBRARY is None and (why := problem()):
        raise UsageError(f"the statistics cannot be compiled: {why}")
    assert _LIBRARY is not None
    return _LIBRARY


Rows = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""Of R rows: the likeliest token (long), its logit, the logarithm of the sum of exponentials, entropy, margin, and the
sampled token (long), which means nothing where none was asked for."""


def rows(logits: Tensor, banned: Sequence[int], uniform: Tensor | None, temperature: float) -> Rows:
    laid, R = Laid(logits, banned), len(logits)
    token, drawn = torch.empty(2, R, dtype=torch.long).unbind()
    top, log_z, entropy, margin = torch.empty(4, R).unbind()
    marks = torch.empty(R, dtype=torch.uint8)
    u = None if uniform is None else uniform.contiguous()
    out = token, drawn, top, log_z, entropy, margin, marks
    given = None if u is None else u.data_ptr()
    if kernel().decoders_rows(*laid.arguments(), given, temperature, *(x.data_ptr() for x in out)):
        at = (marks & UNDEFINED).nonzero()[:, 0]
        x = laid.plain(at)
        token[at], best, log_z[at] = reference.best(x)
        top[at], entropy[at], margin[at] = best.float(), reference.entropy(x), reference.margin(x)
        if u is not None:
            at = marks.nonzero()[:, 0]
            drawn[at] = reference.sample(laid.plain(at), u[at], temperature)
    return token, top, log_z, entropy, margin, drawn


def race(logits: Tensor, banned: Sequence[int], h: Tensor, temperature: float) -> Tensor:
    laid, h = Laid(logits, banned), h.contiguous()
    token, marks = torch.empty(len(logits), dtype=torch.long), torch.empty(len(logits), dtype=torch.uint8)
    out = h.data_ptr(), temperature, token.data_ptr(), marks.data_ptr()
    if kernel().decoders_race(*laid.arguments(), *out):
        at = marks.nonzero()[:, 0]
        token[at] = reference.race(laid.plain(at), h[at], temperature)
    return token


@cache
def ascending(banned: tuple[int, ...]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(banned))(*sorted(banned))


class Laid:
    """Rows as the kernel reads them, with columns that are neighbours."""

    def __init__(self, logits: Tensor, banned: Sequence[int]) -> None:
        self.logits = logits if logits.stride(1) == 1 else logits.contiguous()
        self.banned = tuple(banned)

    def arguments(self) -> tuple[object, ...]:
        (R, V), x = self.logits.shape, self.logits
        brain = x.dtype == torch.bfloat16
        return x.data_ptr(), brain, R, V, x.stride(0), ascending(self.banned), len(self.banned), torch.get_num_threads()

    def plain(self, at: Tensor) -> Tensor:
        """Some of the rows, -inf at banned tokens."""
        return self.logits[at].index_fill(-1, constant(self.banned, at.device), -torch.inf)


def rows_like(logits: Tensor, banned: Sequence[int], uniform: Tensor | None, temperature: float) -> Rows:
    R = len(logits)
    a, b = (logits.new_empty(R, dtype=torch.long) for _ in range(2))
    c, d, e, f = (logits.new_empty(R, dtype=torch.float32) for _ in range(4))
    return a, c, d, e, f, b


def race_like(logits: Tensor, banned: Sequence[int], h: Tensor, temperature: float) -> Tensor:
    return logits.new_empty(len(logits), dtype=torch.long)


OPERATIONS = torch.library.Library("decoders", "DEF")
_SIX = ", ".join(["Tensor"] * 6)
OPERATIONS.define(f"rows(Tensor logits, int[] banned, Tensor? uniform, float temperature) -> ({_SIX})")
OPERATIONS.define("race(Tensor logits, int[] banned, Tensor h, float temperature) -> Tensor")
for _name, _run, _like in (("rows", rows, rows_like), ("race", race, race_like)):
    OPERATIONS.impl(_name, _run, "CPU")
    torch.library.register_fake(f"decoders::{_name}", _like, lib=OPERATIONS)


class Compiled:
    """The statistics of R rows, `decoders.stats.Statistics`: the first that is asked for brings all the others."""

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
        return None if self.found is None else self.found[2].isfinite()

    def best(self) -> tuple[Tensor, Tensor]:
        token, logit, log_z = self.once()[:3]
        return token, reference.probability(logit, log_z)

    def prob(self, tokens: Tensor) -> Tensor:
        p = reference.probability(self.logits.gather(1, tokens[:, None])[:, 0], self.once()[2])
        return p.masked_fill(among(tokens, self.banned), 0.0) if self.banned else p

    def entropy(self) -> Tensor:
        return self.once()[3]

    def margin(self) -> Tensor:
        return self.once()[4]

    def sample(self, u: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        token = self.passed(u, temperature)[5]
        return token, self.prob(token)

    def race(self, h: Tensor, temperature: float) -> Tensor:
        found: Tensor = torch.ops.decoders.race.default(self.logits, self.banned, h, temperature)
        return found
