"""DiffusionGemma: vLLM's own model, text only, decoded by strategies. One stack of layers reads prompts and finished
canvases causally and denoises a canvas with bidirectional attention; each denoising forward of a canvas except the
first is also conditioned on the prediction of the last one.

That prediction is kept as in vLLM's own sampler, as the mean embedding under its distribution: one vector per position
instead of a number for each token of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_world_size, tensor_model_parallel_all_reduce
from vllm.model_executor.models.diffusion_gemma import DiffusionGemmaForConditionalGeneration
from vllm.model_executor.models.utils import AutoWeightsLoader

from decoders_vllm.models import Hosted
from decoders_vllm.pieces import decoding
from decoders_vllm.rows import DENOISE
from decoders_vllm.sampler import Host


class ConditionedHost(Host):
    """A host whose canvases are run on embeddings that include the last prediction."""

    def __init__(self, vllm_config: Any, model: Any, encoder_cache: Any, device: torch.device) -> None:
        super().__init__(vllm_config, model, encoder_cache, device)
        hidden = self.model_config.hf_text_config.hidden_size
        self.soft = torch.zeros(self.max_num_reqs, self.served.canvas, hidden, dtype=torch.float32, device=device)
        # at a fixed address, for CUDA graphs
        self.embeds = torch.zeros(self.max_num_tokens, hidden, dtype=self.model_config.dtype, device=device)

    def condition(self, index: Tensor, logits: Tensor | None, temperature: Tensor) -> None:
        if logits is None:
            self.soft.index_fill_(0, index, 0)
            return
        backbone = self.model.model
        table, shard = backbone.embed_tokens.weight, backbone.embed_tokens.shard_indices
        start, end = shard.org_vocab_start_index, shard.org_vocab_end_index
        heat = torch.where(temperature > 0, temperature, 1)[:, None, None]
        said = (logits / heat).softmax(-1)[..., start:end].to(table.dtype) @ table[: end - start]
        if get_tensor_model_parallel_world_size() > 1:
            said = tensor_model_parallel_all_reduce(said)
        said = (said * backbone.normalizer).to(self.soft.dtype)
        self.soft.index_copy_(0, index, torch.where((temperature > 0)[:, None, None], said, 0))

    def prepare_inputs(self, batch: Any, req_states: Any) -> dict[str, Any]:
        T = batch.num_tokens
        x = self.model.model.embed_input_ids(batch.input_ids[:T])
        if all(r in self.slot_of for r in batch.req_ids) and decoding(batch).any():
            lengths = np.diff(batch.query_start_loc_np[: batch.num_reqs + 1])
            which = self.to_device(np.flatnonzero(np.repeat(decoding(batch), lengths)))
            row, place = (y[which] for y in self.places(batch))
            slot = batch.idx_mapping[row]
            own, soft = x[which], self.soft[slot, place - self.slots.rows.base[slot]]
            denoises = self.slots.rows.phase[slot] == DENOISE  # a commit reads its canvas like a prompt
            x = x.index_copy(
                0, which, torch.where(denoises[:, None], self.model.self_conditioning(own, soft.to(own.dtype)), own)
            )
        self.embeds[:T].copy_(x)
        return {"inputs_embeds": self.embeds[: batch.num_tokens_after_padding]}

    def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
        return {"inputs_embeds": self.embeds[:num_tokens]}


class DiffusionGemmaForStrategies(Hosted, DiffusionGemmaForConditionalGeneration):
    """DiffusionGemma without its vision tower."""

    supports_multimodal = False

    @staticmethod
    def get_model_state_cls() -> type[Host]:
        return ConditionedHost

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        loader = AutoWeightsLoader(self, ignore_unexpected_prefixes=["vision_tower.", "embed_vision."])
        return loader.load_weights(weights, mapper=self.hf_to_vllm_mapper)
