"""What a row leaves behind in its pages of keys and values."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def wiped(caches: Iterable[Tensor], pages: Tensor, count: int) -> None:
    """Put 0 wherever the `pages (P,)` of layers' `caches (count * n, ...)` hold no finite number.

    Pages go to other rows as they are, and vLLM's attention on a CPU multiplies by 0 what a row has not written yet: a
    NaN stays one. Finite numbers are left alone, since other rows may share the page."""
    for kv in caches:
        if kv.is_floating_point():
            parts = torch.arange(kv.shape[0] // count, device=kv.device)
            at = (pages.long()[:, None] * len(parts) + parts).flatten()
            kv[at] = kv[at].nan_to_num(0.0, 0.0, 0.0)
