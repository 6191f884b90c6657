"""Configs of the families for `AutoConfig`, so that unmodified checkpoints load without running their own code."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig, Qwen2Config, Qwen3Config, Qwen3MoeConfig


class SDARConfig(Qwen3Config):
    model_type = "sdar"
    attribute_map = {**Qwen3Config.attribute_map, "canvas_length": "block_size"}
    block_size: int = 4
    mask_token_id: int | None = None


class SDARMoeConfig(Qwen3MoeConfig):
    model_type = "sdar_moe"
    attribute_map = {**Qwen3MoeConfig.attribute_map, "canvas_length": "block_size"}
    block_size: int = 4
    mask_token_id: int | None = None


class FastDLLMConfig(Qwen2Config):
    model_type = "Fast_dLLM_Qwen"
    attribute_map = {**Qwen2Config.attribute_map, "canvas_length": "bd_size"}
    bd_size: int = 32
    mask_token_id: int | None = None


class LLaDA2MoeConfig(PretrainedConfig):
    """The settings that vLLM's BailingMoeV2 reads, with the names and defaults of configuration_llada2_moe.py."""

    model_type = "llada2_moe"
    attribute_map = {"canvas_length": "block_size"}

    def __init__(self, **said: Any) -> None:
        theta, share = said.get("rope_theta") or 600000.0, said.get("partial_rotary_factor") or 0.5
        known = {
            "block_size": 32, "use_bias": False, "use_qkv_bias": False, "use_qk_norm": True, "norm_topk_prob": True,
            "norm_head": False, "hidden_act": "silu", "num_shared_experts": 1, "score_function": "sigmoid",
            "moe_router_enable_expert_bias": True, "rms_norm_eps": 1e-6, "rotary_dim": None, "embedding_dropout": 0.0,
            "use_rmsnorm": True, "router_dtype": "fp32",
        }
        rope = said.pop("rope_parameters", None) or {
            "rope_type": "default",
            "rope_theta": theta,
            "partial_rotary_factor": share,
        }
        if said.get("rotary_dim") is None and said.get("head_dim"):
            known["rotary_dim"] = int(said["head_dim"] * share)
        super().__init__(**{**known, **said}, rope_parameters=rope)


def register() -> None:
    for config in (SDARConfig, SDARMoeConfig, FastDLLMConfig, LLaDA2MoeConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
