"""Row statistics: all functions of rows of logits that strategies use.

`of` chooses the implementation: for logits of bfloat16, float16 or float32 on a CUDA device the Triton kernels
(`decoders.stats.triton_kernel`), for bfloat16 and float32 on a CPU a kernel in C++ that is compiled when it is first
needed (`decoders.stats.compiled`), and otherwise, or without a compiler, plain torch (`decoders.stats.reference`).
`DECODERS_STATS=torch` in the environment, or `with using("torch"):`, uses plain torch everywhere; `triton` requires
Triton's kernels, on a CPU under its interpreter (`TRITON_INTERPRET=1`), and `compiled` the one in C++.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from decoders.errors import UsageError
from decoders.stats.reference import InTorch

Choice = Literal["auto", "torch", "triton", "compiled"]
HAS_TRITON = importlib.util.find_spec("triton") is not None
_SINGLE = (torch.bfloat16, torch.float16, torch.float32)
_ON_CPU = (torch.bfloat16, torch.float32)


class Statistics(Protocol):
    """Statistics of `logits (R, V)` from which some tokens may be banned. Probabilities are of the raw distribution."""

    @property
    def allowed(self) -> Tensor:
        """(R, V): the logits, -inf at banned tokens."""

    @property
    def defined(self) -> Tensor | None:
        """(R,) bool: rows that are a distribution, with no NaN and no positive infinity; None if no statistic that
        shows it has been computed."""

    def best(self) -> tuple[Tensor, Tensor]:
        """(R,) long and (R,): the likeliest token, the leftmost of several, and its probability."""

    def prob(self, tokens: Tensor) -> Tensor:
        """(R,): the probability of given `tokens (R,)`."""

    def entropy(self) -> Tensor:
        """(R,): Shannon entropy in nats."""

    def margin(self) -> Tensor:
        """(R,): probability of the likeliest token less that of the second."""

    def sample(self, u: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """(R,) long and (R,): the token of softmax(logits / temperature) that uniform numbers `u (R,)` double fall on,
        and its probability."""

    def race(self, h: Tensor, temperature: float) -> Tensor:
        """(R,) long: a sample by the Gumbel race under the hashes `h (R,)` long."""


def checked(choice: str) -> Choice:
    """Raises `UsageError` for an invalid choice."""
    for known in get_args(Choice):
        if choice == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"DECODERS_STATS must be one of {', '.join(get_args(Choice))}, not {choice!r}")


_choice: Choice = checked(os.environ.get("DECODERS_STATS", "auto"))


@contextmanager
def using(choice: Choice) -> Iterator[None]:
    """Use plain torch or one of the kernels within this context."""
    global _choice
    before, _choice = _choice, checked(choice)
    try:
        yield
    finally:
        _choice = before


def fused(logits: Tensor) -> bool:
    """Whether Triton's kernels are used for these logits."""
    able = HAS_TRITON and logits.dtype in _SINGLE
    return able and (_choice == "triton" or (_choice == "auto" and logits.device.type == "cuda"))


def native(logits: Tensor) -> bool:
    """Whether the kernel in C++ is used for these logits. Raises `UsageError` if it is required and cannot be
    compiled."""
    able = logits.device.type == "cpu" and logits.dtype in _ON_CPU and _choice in ("auto", "compiled")
    if not able or (logits.requires_grad and torch.is_grad_enabled()):
        return False
    from decoders.stats.compiled import problem

    if (why := problem()) and _choice == "compiled":
        raise UsageError(f"DECODERS_STATS=compiled: {why}")
    return not why


def of(logits: Tensor, banned: tuple[int, ...] = ()) -> Statistics:
    """The statistics of `logits (R, V)` with the tokens `banned` made impossible, each computed at its first use.
    Raises `UsageError` if `DECODERS_STATS=compiled` requires a kernel that cannot be compiled."""
    if fused(logits):
        from decoders.stats.triton_kernel import OnePass

        return OnePass(logits, banned)
    if native(logits):
        from decoders.stats.compiled import Compiled

        return Compiled(logits, banned)
    return InTorch(logits, banned)
