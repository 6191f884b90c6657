"""The functions that vLLM calls in each of its processes, and before it builds an engine."""

from __future__ import annotations

from math import lcm
from typing import Any

from decoders.core import UsageError

ARCHITECTURES = {
    "SDARForCausalLM": "models:Qwen3ForBlockDiffusion",
    "SDARMoeForCausalLM": "models:Qwen3MoeForBlockDiffusion",
    "Fast_dLLM_QwenForCausalLM": "models:Qwen2ForBlockDiffusion",
    "LLaDA2MoeModelLM": "models:BailingMoeV2ForBlockDiffusion",
    "NanoForBlockDiffusion": "models:Qwen3ForBlockDiffusion",
    "DiffusionGemmaForStrategies": "gemma:DiffusionGemmaForStrategies",
}
"""`architectures` of config.json to the class that runs it; the last two are set by `overrides`."""
SMALLEST_PAGE = 16


def register() -> None:
    """Register our models with vLLM; a second call changes nothing."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig

    from decoders_vllm import configs, pooling

    class Hosting(VerifyAndUpdateConfig):
        @staticmethod
        def verify_and_update_config(vllm_config: Any) -> None:
            host(vllm_config)

    configs.register()
    pooling.register()
    for architecture, cls in ARCHITECTURES.items():
        ModelRegistry.register_model(architecture, f"decoders_vllm.{cls}")
        MODELS_CONFIG_MAP[architecture] = Hosting


def overrides(directory: str) -> dict[str, Any]:
    """`hf_overrides` for the checkpoint in a directory: settings that its config.json lacks. Only checkpoints of the
    embedded model's family need any, and those of DiffusionGemma, which vLLM would otherwise run with its own sampler.
    Raises `UsageError` for a family that is not served."""
    from pathlib import Path

    from decoders.models.reading import read_json
    from decoders_vllm.served import family_in

    config = read_json(Path(directory) / "config.json")
    family = family_in(Path(directory), config)
    if family.name == "diffusion_gemma":
        return {"architectures": ["DiffusionGemmaForStrategies"]}
    if family.name != "nano":
        return {}
    return {"architectures": ["NanoForBlockDiffusion"], "canvas_length": family.blocks(config, "block")[0]}


def host(vllm_config: Any) -> None:
    """Configure an engine for one of our models. Raises `UsageError` for options that it cannot have."""
    from vllm.config.compilation import CUDAGraphMode
    from vllm.config.diffusion import DiffusionConfig

    from decoders_vllm.requests import plan_of
    from decoders_vllm.served import Served, directory_of

    model, cache, scheduling = vllm_config.model_config, vllm_config.cache_config, vllm_config.scheduler_config
    if model.runner_type != "generate":
        return
    block = vllm_config.diffusion_config.canvas_length if vllm_config.diffusion_config else None
    asked = (vllm_config.additional_config or {}).get("decoder", "threshold")
    served = Served.of(directory_of(model.model), model.get_vocab_size(), block, asked)
    plan_of(served, served.decoder, True, False)
    if vllm_config.parallel_config.pipeline_parallel_size > 1:
        raise UsageError(
            "pipeline parallelism: only the last stage knows a row's canvas; take tensor or data parallelism"
        )
    if scheduling.max_num_batched_tokens < served.canvas:
        raise UsageError(
            f"max_num_batched_tokens is {scheduling.max_num_batched_tokens}, and a canvas has {served.canvas} positions"
        )
    if not cache.user_specified_block_size:
        cache.block_size, cache.user_specified_block_size = lcm(2 * SMALLEST_PAGE, served.canvas), True
    elif cache.block_size % served.canvas and cache.enable_prefix_caching:
        raise UsageError(
            f"pages of {cache.block_size} positions do not hold whole blocks of {served.canvas}, so prefixes cannot "
            "be cached; take a "
            f"block_size that is a multiple of {served.canvas}, or no prefix caching"
        )
    if served.causal:
        from vllm.model_executor.models.config import Gemma4Config

        Gemma4Config.verify_and_update_config(vllm_config)  # the backend for heads of several sizes
        model.hf_config.vision_config = None  # text only
    vllm_config.diffusion_config = DiffusionConfig(canvas_length=served.canvas)
    model.hf_config.decoders_served = served.written
    model.generation_config = "vllm"  # a checkpoint's own temperature would be refused in every request
    model.logits_processors = [*(model.logits_processors or ()), f"decoders_vllm.admission:Requests_{served.written}"]
    vllm_config.attention_config.use_non_causal = True
    if vllm_config.compilation_config.cudagraph_mode is not CUDAGraphMode.NONE and not model.enforce_eager:
        # the number of pieces of the attention varies
        vllm_config.compilation_config.cudagraph_mode = CUDAGraphMode.PIECEWISE
    scheduling.scheduler_cls = "decoders_vllm.scheduler.scheduler"
