"""The exact cache, the default: recompute whatever sees a column that changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from decoders.core.forward import Cache


@dataclass(frozen=True)
class Exact(Cache):
    """No approximation. Block-causal models reuse every earlier block, autoregression reuses the whole prefix, and a
    bidirectional canvas is recomputed whenever a token on it changes. The rule is `decoders.core.forward.must_recompute`."""

    exact: ClassVar[bool] = True
