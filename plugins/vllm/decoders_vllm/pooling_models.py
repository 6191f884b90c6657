"""The vLLM side of pooling: models with bidirectional attention that answer questions about rows of their logits.

One request is one forward: its prompt is the row, and its `PoolingParams.extra_kwargs` contain the positions and the
questions about them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.model_executor.layers.pooler import DispatchPooler
from vllm.model_executor.layers.pooler.tokwise.heads import TokenPoolerHead
from vllm.model_executor.layers.pooler.tokwise.methods import AllPool
from vllm.model_executor.layers.pooler.tokwise.poolers import TokenPooler
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM

from decoders.models.families import FAMILIES
from decoders_vllm.compact import answer


class Asked(TokenPoolerHead):
    """The answers for the rows that a request names: statistics, or whole rows of logits if it has no questions."""

    def __init__(self, owner: Any) -> None:
        super().__init__()
        self.__dict__["owner"] = owner  # not as a submodule: the owner contains this module

    def get_supported_tasks(self) -> set[str]:
        return {"token_classify"}

    def forward_chunk(self, pooled_data: Tensor | None, pooling_param: Any) -> Tensor | None:
        if pooled_data is None:
            return None
        said = pooling_param.extra_kwargs or {}
        hidden = pooled_data[torch.tensor(said["rows"], device=pooled_data.device)]
        logits = self.owner.compute_logits(hidden)
        return logits.float() if said.get("questions") is None else answer(logits, said["questions"])


class Pooling:
    """A mixin for vLLM's causal-LM classes; it reads the weights of a family under the family's own names."""

    is_pooling_model = True
    default_tok_pooling_type = "ALL"
    default_seq_pooling_type = "LAST"

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        config = vllm_config.model_config.hf_config
        config.is_causal = False
        self._family = FAMILIES[config.diffusion_family]
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.pooler = DispatchPooler({"token_classify": TokenPooler(AllPool(), Asked(self))})

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        return super().load_weights(self.renamed(weights))  # type: ignore[misc, no-any-return]

    def renamed(self, weights: Iterable[tuple[str, Tensor]]) -> Iterable[tuple[str, Tensor]]:
        for name, weight in weights:
            if re.search(self._family.spare, name):
                continue
            for pattern, new in self._family.renames.items():
                name = re.sub(pattern, new, name)
            yield name, weight


class LlamaForPooling(Pooling, LlamaForCausalLM):
    """LLaDA and iLLaDA."""


class Qwen2ForPooling(Pooling, Qwen2ForCausalLM):
    """Dream and DiffuCoder."""


class Qwen3ForPooling(Pooling, Qwen3ForCausalLM):
    """The embedded model."""
