"""Keys and values by column, for transformers' own attention layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache


class ScatterCache(Cache):
    """A store of `columns` keys and values a row and layer; fresh ones are written to the columns in `index (B, M)`, and every
    layer attends to the whole store under the mask that it is given."""

    is_compileable = False

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.index: Tensor | None = None
        self.stored: dict[int, tuple[Tensor, Tensor]] = {}
        self.layers = []

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if self.index is None:
            raise RuntimeError("set index before the forward")
        if layer_idx not in self.stored:
            B, H, _, D = key_states.shape
            E = value_states.shape[3]
            self.stored[layer_idx] = (key_states.new_zeros(B, H, self.columns, D), value_states.new_zeros(B, H, self.columns, E))
        index = self.index.to(key_states.device)  # with a device map, layers have devices of their own
        for store, fresh in zip(self.stored[layer_idx], (key_states, value_states), strict=True):
            store.scatter_(2, index[:, None, :, None].expand_as(fresh), fresh)
        return self.stored[layer_idx]

    def get_seq_length(self, *args: Any, **kwargs: Any) -> int:
        """What is stored besides the fresh columns: LLaDA2's own code adds those to it and wants a mask of just that width."""
        return 0 if self.index is None else self.columns - self.index.shape[1]

    def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        return self.columns, 0
