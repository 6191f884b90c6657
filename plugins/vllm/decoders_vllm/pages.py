"""Cleaning of the KV cache pages that a row leaves behind."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def wiped(caches: Iterable[Tensor], pages: Tensor, count: int) -> None:
    """Write 0 wherever the `pages (P,)` of layers' `caches (count * n, ...)` contain a number that is not finite.

    Pages are passed to other rows unchanged, and vLLM's attention on a CPU multiplies by 0 the parts that a row has not
    written yet, so a NaN there would remain one. Finite numbers are kept, since other rows may share the page."""
    for kv in caches:
        if kv.is_floating_point():
            parts = torch.arange(kv.shape[0] // count, device=kv.device)
            at = (pages.long()[:, None] * len(parts) + parts).flatten()
            kv[at] = kv[at].nan_to_num(0.0, 0.0, 0.0)
