"""A base for models that wrap another one."""

from __future__ import annotations

import torch

from decoders.core import Model, SessionSpec
from decoders.core.model import expand_of, row_bytes


class Wrapper:
    """The attributes of a `Model`, passed on from `model`."""

    model: Model

    @property
    def mask_id(self) -> int | None:
        return self.model.mask_id

    @property
    def vocab(self) -> int:
        return self.model.vocab

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return self.model.stop_ids

    @property
    def expand_id(self) -> int | None:
        return expand_of(self.model)

    @property
    def block_causal(self) -> bool:
        return self.model.block_causal

    @property
    def causal_context(self) -> bool:
        return self.model.causal_context

    @property
    def attention_block(self) -> int | None:
        return self.model.attention_block

    @property
    def capabilities(self) -> frozenset[str]:
        return self.model.capabilities

    @property
    def column_bytes(self) -> int:
        return self.model.column_bytes

    def row_bytes(self, spec: SessionSpec) -> int:
        return row_bytes(self.model, spec)

    @property
    def device(self) -> torch.device:
        return self.model.device
