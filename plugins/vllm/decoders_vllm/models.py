"""vLLM's own models, decoded by our sampler; their weights, layers and parallelism are vLLM's."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from vllm.model_executor.models.bailing_moe import BailingMoeV2ForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM
from vllm.model_executor.models.qwen3_moe import Qwen3MoeForCausalLM

from decoders_vllm.sampler import Host


class Hosted:
    """A model whose requests are decoded by strategies."""

    allow_patterns_overrides = ["model*.safetensors"]
    """The only files that are loaded; others beside them may contain more, such as trained heads of decoders."""

    @staticmethod
    def get_model_state_cls() -> type[Host]:
        return Host

    def compute_logits(self, hidden_states: Tensor) -> Any:
        """The logits of canvases. A forward that contains only prefills has none, and then ranks must not gather:
        vLLM's gather on a CPU divides by the number of rows."""
        if not len(hidden_states):
            return hidden_states.new_empty(0, self.logits_processor.org_vocab_size)
        return super().compute_logits(hidden_states)


class Qwen3ForBlockDiffusion(Hosted, Qwen3ForCausalLM):
    """SDAR, and the embedded model."""


class Qwen3MoeForBlockDiffusion(Hosted, Qwen3MoeForCausalLM):
    """SDAR-MoE."""


class Qwen2ForBlockDiffusion(Hosted, Qwen2ForCausalLM):
    """Fast-dLLM v2."""


class BailingMoeV2ForBlockDiffusion(Hosted, BailingMoeV2ForCausalLM):
    """LLaDA2."""
