"""Keys and values by column, for a network that passes its fresh ones and attends to those that it gets back."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Store:
    """A store of `columns` keys and values a row and layer; fresh ones are written to the columns in `index (B, M)`,
    and every layer attends to the whole store under the mask that it is given. With `rows (N,)`, a forward of those
    rows alone, `index` is (N, M)."""

    def __init__(self, columns: int, total: int | None = None) -> None:
        """`total`: the number of all rows, if forwards may run some rows only."""
        self.columns, self.total = columns, total
        self.index: Tensor | None = None
        self.rows: Tensor | None = None
        self.stored: dict[int, tuple[Tensor, Tensor]] = {}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer, (B, H, columns, D) each, after these fresh ones (B, H, M, D) are stored."""
        if self.index is None:
            raise RuntimeError("set index before the forward")
        fresh = key_states, value_states
        if layer_idx not in self.stored:
            B = self.total or key_states.shape[0]
            keys, values = (x.new_zeros(B, x.shape[1], self.columns, x.shape[3]) for x in fresh)
            self.stored[layer_idx] = keys, values
        # with a device map, layers have devices of their own
        store, index = self.stored[layer_idx], self.index.to(key_states.device)
        if self.rows is None:
            for kept, new in zip(store, fresh, strict=True):
                kept.scatter_(2, index[:, None, :, None].expand_as(new), new)
            return store
        rows = self.rows.to(key_states.device)
        for kept, new in zip(store, fresh, strict=True):
            kept[rows[:, None], :, index] = new.transpose(1, 2)
        return store[0][rows], store[1][rows]

    def take(self, rows: Tensor) -> None:
        """Continue with these rows (R,)."""
        self.total = len(rows)
        self.stored = {
            layer: (keys.index_select(0, rows.to(keys.device)), values.index_select(0, rows.to(values.device)))
            for layer, (keys, values) in self.stored.items()
        }
