"""The cost of the forwards of a transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from decoders.stats.constants import constant

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Work:
    """Floating point operations of a transformer; a multiplication and an addition are two."""

    column: float
    """The linear layers, for one position; in a mixture of experts, only those that a token uses."""
    pair: float
    """The attention of all layers, for one position and one column that it sees."""
    row: float
    """The head, for one row of logits."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> Work:
        config: Any = model.config.get_text_config()
        experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
        share = config.num_experts_per_tok / experts if experts else 1.0
        head = model.get_output_embeddings().weight
        once: Any = getattr(model, "once", list)()  # the layers of a diffusion transformer that run on the noise level
        apart = {id(head), id(model.get_input_embeddings().weight), *map(id, once)}
        weights = ((name, p) for name, p in model.named_parameters() if p.dim() > 1 and id(p) not in apart)
        linear = sum(numbers(p) * (share if ".experts." in name else 1.0) for name, p in weights)
        width = heads(model)[0] * heads(model)[2]
        return cls(2 * linear, 4 * config.num_hidden_layers * width, 2 * head.numel())

    @staticmethod
    def counts(
        compute: Tensor, until: Tensor, want: Tensor, unseen: Tensor | None = None, beside: Tensor | None = None
    ) -> Tensor:
        """(3, B) long: columns, pairs of a column and one that it sees, and rows of logits that each row asked for,
        without the padding that a batch brings."""
        sees = until if unseen is None else until - unseen.diff(dim=-1)[..., 0]
        pairs = (compute * sees).sum(-1)
        if beside is not None:
            pairs = pairs + beside.sum(-1) ** 2
        return torch.stack([compute.sum(-1), pairs, want.sum(-1)])

    def flops(self, counts: Tensor) -> Tensor:
        """(B,) double, of `counts`."""
        each = constant((self.column, self.pair, self.row), counts.device, torch.double)
        return (counts * each[:, None]).sum(0)


def numbers(p: torch.nn.Parameter) -> int:
    """Of a matrix, also where bitsandbytes keeps two of them in a byte."""
    packed: Any = getattr(p, "quant_state", None)
    return p.numel() if packed is None else int(packed.shape.numel())


def heads(model: PreTrainedModel) -> tuple[int, int, int]:
    """Attention heads, key and value heads, and the size of one."""
    config: Any = model.config.get_text_config()
    n = int(config.num_attention_heads)
    return (
        n,
        int(getattr(config, "num_key_value_heads", None) or n),
        int(getattr(config, "head_dim", None) or config.hidden_size // n),
    )
