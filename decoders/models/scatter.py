"""The store of keys and values, in the form of transformers' attention layers."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from transformers.cache_utils import Cache

from decoders.models.store import Store


def store_argument(model: nn.Module) -> str:
    """The name by which a model takes a store of keys and values. transformers 5.24 renamed it from `past_key_values`
    to `cache`; code of a checkpoint keeps the name with which it was written. The class is inspected, because the
    forward of the object may have been wrapped."""
    return "cache" if "cache" in inspect.signature(type(model).forward).parameters else "past_key_values"


class ScatterCache(Store, Cache):
    """A `Store` that transformers accepts as a cache."""

    is_compileable = False

    def __init__(self, columns: int, total: int | None = None) -> None:
        super().__init__(columns, total)
        self.layers = []

    def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
        """The number of stored columns besides the fresh ones: LLaDA2's own code adds the fresh ones and expects a mask
        of exactly that width."""
        return 0 if self.index is None else self.columns - self.index.shape[1]

    def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        return self.columns, 0
