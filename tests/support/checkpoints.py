"""Tiny random checkpoints of every family, as their real ones lie on a disk: config.json with the keys of the family,
weights under its names, a tokenizer with its special tokens. Two layers, a vocabulary of 112, the same for the same
seed.

Configs follow the sources that `decoders/models/families.py` names. Sizes and ids are small; what is not a size is as
in the real config, whether it matters here or not. Special tokens come right after the characters, so a config has to
say where the mask is (real ones of some families leave that to the table).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from decoders.testing.checkpoints import EOS, EXTRA, MASK, saved_weights, write_json, write_tokenizer
from support.dit import recipes

VOCAB = 112
SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
NOISE = {"initializer_range": 0.2}  # far from what is trained, so that predictions differ from each other


@dataclass(frozen=True)
class Recipe:
    """How a family's checkpoint is made."""

    native: str
    """The class of transformers whose random weights are written; empty: there is none."""
    settings: Mapping[str, Any]
    """Its config."""
    config: Mapping[str, Any]
    """config.json; the keys of `settings` that it does not name stand there too, if `own` is false."""
    special: tuple[str, str, str]
    """Mask, end and another special token."""
    own: bool = False
    rename: Callable[[str], str] = str
    """transformers' name of a weight to the name in the files."""
    code: Mapping[str, str] | None = None
    """Python files of the checkpoint."""
    kind: str = "Qwen2Tokenizer"
    """`tokenizer_class`."""
    weights: Callable[[], dict[str, Tensor]] | None = None
    """Random weights under the names in the files, where no class of transformers has them."""


def auto_map(config: str, model: str) -> dict[str, Any]:
    """Code that real checkpoints name and tiny ones lack: nothing may look for it."""
    return {"auto_map": {"AutoConfig": config, "AutoModel": model, "AutoModelForCausalLM": model}}


def llada_name(name: str) -> str:
    parts = name.split(".")
    if parts[1] == "layers":
        inner = {
            "self_attn.q_proj": "q_proj", "self_attn.k_proj": "k_proj", "self_attn.v_proj": "v_proj",
            "self_attn.o_proj": "attn_out", "mlp.gate_proj": "ff_proj", "mlp.up_proj": "up_proj",
            "mlp.down_proj": "ff_out", "input_layernorm": "attn_norm", "post_attention_layernorm": "ff_norm",
        }
        return f"model.transformer.blocks.{parts[2]}.{inner['.'.join(parts[3:-1])]}.{parts[-1]}"
    outer = {"model.embed_tokens": "wte", "model.norm": "ln_f", "lm_head": "ff_out"}
    return f"model.transformer.{outer['.'.join(parts[:-1])]}.{parts[-1]}"


def nemotron_name(name: str) -> str:
    return name.replace("model.", "encoder.", 1).replace("lm_head.", "diffusion_head.")


NEMOTRON_ROPE = {
    "rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0, "original_max_position_embeddings": 8,
    "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
}
QWEN = {
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "max_position_embeddings": 256,
    "attention_dropout": 0.0,
}
QWEN_ON_DISK = {
    "rope_theta": 1000000.0, "rope_scaling": None, "use_sliding_window": False, "sliding_window": None,
    "max_window_layers": 28, "bos_token_id": EOS, "eos_token_id": EOS, "pad_token_id": EOS, "use_cache": False,
    "torch_dtype": "bfloat16", "transformers_version": "4.46.2",
}
ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}
BERT = {**SIZES, "max_position_embeddings": 128, "hidden_act": "gelu", "pad_token_id": EXTRA}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

RECIPES = {
    "llada": Recipe(
        "LlamaForCausalLM",
        {
            **SIZES, "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "max_position_embeddings": 256,
            "tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        {
            "model_type": "llada", "architectures": ["LLaDAModelLM"],
            **auto_map("configuration_llada.LLaDAConfig", "modeling_llada.LLaDAModelLM"), "d_model": 32, "n_heads": 4,
            "n_kv_heads": 4, "n_layers": 2, "mlp_hidden_size": 48, "mlp_ratio": 4, "vocab_size": VOCAB,
            "embedding_size": VOCAB, "max_sequence_length": 256, "rope": True, "rope_theta": 500000.0,
            "rope_full_precision": True, "rms_norm_eps": 1e-5, "weight_tying": False, "activation_type": "silu",
            "alibi": False, "alibi_bias_max": 8.0, "attention_dropout": 0.0, "attention_layer_norm": False,
            "attention_layer_norm_with_affine": True, "bias_for_layer_norm": False, "block_group_size": 1,
            "block_type": "llama", "embedding_dropout": 0.0, "eos_token_id": EOS, "flash_attention": False,
            "include_bias": False, "include_qkv_bias": False, "init_cutoff_factor": None, "init_device": "meta",
            "init_fn": "mitchell", "init_std": 0.02, "input_emb_norm": False, "layer_norm_type": "rms",
            "layer_norm_with_affine": True, "mask_token_id": MASK, "multi_query_attention": None, "pad_token_id": EOS,
            "precision": "amp_bf16", "residual_dropout": 0.0, "scale_logits": False, "transformers_version": "4.46.3",
            "use_cache": False,
        },
        ("<|mdm_mask|>", "<|endoftext|>", "<|eot_id|>"), own=True, rename=llada_name, kind="PreTrainedTokenizerFast",
    ),
    "illada": Recipe(
        "LlamaForCausalLM",
        {**SIZES, "rms_norm_eps": 1e-6, "max_position_embeddings": 256, "tie_word_embeddings": True, **ROPE},
        {
            "model_type": "illada", "architectures": ["ILLaDAForCausalLM"],
            **auto_map("configuration_illada.ILLaDAConfig", "modeling_illada.ILLaDAForCausalLM"),
            "attention_bias": False, "mlp_bias": False, "resid_pdrop": 0.0, "layer_norm_eps": None,
            "rope_theta": 1000000.0, "rope_scaling": None, "eos_token_id": EOS, "mask_token_id": MASK,
        },
        ("<[MASK]>", "<|endoftext|>", "<|extra|>"), kind="PreTrainedTokenizerFast",
    ),
    "dream": Recipe(
        "Qwen2ForCausalLM", {**SIZES, **QWEN, **ROPE},
        {
            "model_type": "Dream", "architectures": ["DreamModel"],
            **auto_map("configuration_dream.DreamConfig", "modeling_dream.DreamModel"),
            **QWEN_ON_DISK, "use_mrope": False, "mask_token_id": MASK,
        },
        ("<|mask|>", "<|endoftext|>", "<|im_end|>"), kind="DreamTokenizer",
    ),
    "llada_moe": Recipe(
        "Qwen3MoeForCausalLM",
        {**SIZES, **QWEN, **ROPE, **MOE, "num_key_value_heads": 4, "head_dim": 8, "norm_topk_prob": False},
        {
            "model_type": "llada", "architectures": ["LLaDAMoEModelLM"],
            **auto_map("configuration_lladamoe.LLaDAConfig", "modeling_lladamoe.LLaDAMoEModelLM"), "vocab_size": VOCAB,
            **SIZES, **QWEN, "num_key_value_heads": 4, "num_experts": 4, "num_experts_per_tok": 2,
            "expert_intermediate_size": 24, "dense_intermediate_size": 48, "shared_expert_intermediate_size": None,
            "moe_layer_freq": [1, 1], "qk_layernorm": True, "clip_qkv": None, "norm_topk_prob": None,
            "moe_router_enable_expert_bias": None, "moe_router_score_function": None, "routed_scaling_factor": 1,
            "router_num_group": None, "router_topk_group": None, "partial_rotary_factor": 1, "attention_bias": False,
            "output_router_logits": False, "router_aux_loss_coef": 0.01, "rope_theta": 1000000.0, "rope_scaling": None,
            "pad_token_id": EOS, "eos_token_id": EOS, "mask_token_id": MASK, "use_cache": False,
        },
        ("<|mask|>", "<|endoftext|>", "<|role_end|>"), own=True, kind="PreTrainedTokenizerFast",
    ),
    "a2d_qwen3": Recipe(
        "Qwen3ForCausalLM", {**SIZES, **QWEN, **ROPE, "tie_word_embeddings": True, "head_dim": 16},
        {
            "model_type": "a2d-qwen3", "architectures": ["A2DQwen3LMHeadModel"], **QWEN_ON_DISK,
            **auto_map("modeling_qwen3.A2DQwen3Config", "modeling_qwen3.A2DQwen3LMHeadModel"), "attention_bias": False,
        },
        ("<|mask|>", "<|im_end|>", "<|endoftext|>"),
    ),
    "a2d_qwen2": Recipe(
        "Qwen2ForCausalLM", {**SIZES, **QWEN, **ROPE, "tie_word_embeddings": True},
        {"model_type": "a2d-qwen2", "architectures": ["A2DQwen2LMHeadModel"], **QWEN_ON_DISK},
        ("<|mask|>", "<|im_end|>", "<|endoftext|>"),
    ),
    "a2d_llama": Recipe(
        "LlamaForCausalLM", {**SIZES, "rms_norm_eps": 1e-6, "max_position_embeddings": 256, **ROPE},
        {
            "model_type": "a2d-llama", "architectures": ["A2DLlamaLMHeadModel"], "rope_theta": 1000000.0,
            "rope_scaling": None, "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1, "eos_token_id": EOS,
        },
        ("<|mask|>", "<|endoftext|>", "<|eot_id|>"), kind="PreTrainedTokenizerFast",
    ),
    "wedlm": Recipe(
        "Qwen3ForCausalLM", {**SIZES, **QWEN, **ROPE, "head_dim": 16},
        {
            "model_type": "wedlm", "architectures": ["WeDLMForCausalLM"], **QWEN_ON_DISK,
            **auto_map("configuration_wedlm.WeDLMConfig", "modeling_wedlm.WeDLMForCausalLM"), "attention_bias": False,
            "qk_norm": True, "mask_token_id": MASK,
        },
        ("<|mask|>", "<|endoftext|>", "<|im_end|>"),
    ),
    "nemotron_labs_diffusion": Recipe(
        "Ministral3ForCausalLM",
        {
            **SIZES, "head_dim": 8, "rms_norm_eps": 1e-5, "max_position_embeddings": 256, "hidden_act": "silu",
            "tie_word_embeddings": False, "rope_parameters": NEMOTRON_ROPE,
        },
        {
            "model_type": "nemotron_labs_diffusion", "architectures": ["NemotronLabsDiffusionModel"],
            **auto_map("configuration_x.NemotronLabsDiffusionConfig", "modeling_x.NemotronLabsDiffusionModel"),
            "attention_bias": False, "mlp_bias": False, "sliding_window": None, "mask_token_id": MASK, "block_size": 8,
            "dlm_paradigm": "bidirectional", "ar_loss_weight": 1.0, "dp_varying_mask_ratio": False,
            "default_generation_mode": "ar", "default_diffusion_sampling_scaling_factor": 2.0,
            "rope_scaling": NEMOTRON_ROPE, "rope_theta": 1000000.0, "eos_token_id": EOS, "bos_token_id": EXTRA,
        },
        ("<SPECIAL_100>", "<|im_end|>", "<s>"), rename=nemotron_name, kind="PreTrainedTokenizerFast",
    ),
    "sdar": Recipe(
        "Qwen3ForCausalLM", {**SIZES, **QWEN, **ROPE, "head_dim": 16},
        {
            "model_type": "sdar", "architectures": ["SDARForCausalLM"],
            **auto_map("configuration_sdar.SDARConfig", "modeling_sdar.SDARForCausalLM"),
            **QWEN_ON_DISK, "attention_bias": False, "fuse_cross_entropy": True, "mask_token_id": MASK, "block_size": 4,
        },
        ("<|MASK|>", "<|endoftext|>", "<|im_end|>"),
    ),
    "idlm": Recipe(
        "Qwen3ForCausalLM", {**SIZES, **QWEN, **ROPE, "head_dim": 16},
        {
            "model_type": "sdar", "architectures": ["SDARForCausalLM"], **QWEN_ON_DISK, "attention_bias": False,
            **auto_map("configuration_sdar.SDARConfig", "modeling_sdar.SDARForCausalLM"), "fuse_cross_entropy": True,
            "mask_token_id": MASK, "block_size": 1, "attn_implementation": "flex_attention",
        },
        ("<|MASK|>", "<|endoftext|>", "<|im_end|>"),
    ),
    "causal": Recipe(
        "Qwen3ForCausalLM", {**SIZES, **QWEN, **ROPE, "head_dim": 16},
        {
            "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "diffusion_family": "causal",
            "attention_bias": False, "bos_token_id": None, "eos_token_id": EOS, "mask_token_id": MASK,
        },
        ("<|MASK|>", "<|endoftext|>", "<|im_end|>"),
    ),
    "sdar_moe": Recipe(
        "Qwen3MoeForCausalLM", {**SIZES, **QWEN, **ROPE, **MOE, "head_dim": 16, "norm_topk_prob": True},
        {
            "model_type": "sdar_moe", "architectures": ["SDARMoeForCausalLM"],
            **auto_map("configuration_sdar_moe.SDARMoeConfig", "modeling_sdar_moe.SDARMoeForCausalLM"), **QWEN_ON_DISK,
            "attention_bias": False, "decoder_sparse_step": 1, "mlp_only_layers": [], "output_router_logits": False,
            "router_aux_loss_coef": 0.001, "mask_token_id": MASK,
        },
        ("<|MASK|>", "<|endoftext|>", "<|im_end|>"),
    ),
    "stable_diffcoder": Recipe(
        "LlamaForCausalLM",
        {**SIZES, "rms_norm_eps": 1e-6, "max_position_embeddings": 256, "tie_word_embeddings": False, **ROPE},
        {
            "model_type": "llama", "architectures": ["StableDiffcoderForCausalLM"],
            "auto_map": {"AutoModelForCausalLM": "modeling_stable_diffcoder.StableDiffcoderForCausalLM"},
            "rope_theta": 1000000.0, "rope_scaling": None, "attention_bias": False, "mlp_bias": False,
            "pad_token_id": EXTRA, "eos_token_id": EOS, "mask_token_id": MASK,
        },
        ("<[MASK_TOKEN]>", "<[end_of_sentence]>", "<[PAD_TOKEN]>"), kind="PreTrainedTokenizerFast",
    ),
    "fast_dllm_v2": Recipe(
        "Qwen2ForCausalLM", {**SIZES, **QWEN, **ROPE},
        {
            "model_type": "Fast_dLLM_Qwen", "architectures": ["Fast_dLLM_QwenForCausalLM"],
            **auto_map("configuration.Fast_dLLM_QwenConfig", "modeling.Fast_dLLM_QwenForCausalLM"),
            **QWEN_ON_DISK, "bd_size": 32, "layer_types": ["full_attention"] * 2, "mask_token_id": MASK,
        },
        ("|<MASK>|", "<|endoftext|>", "<|im_end|>"),
    ),
    "diffusion_gemma": Recipe(
        "DiffusionGemmaForBlockDiffusion",
        {
            "canvas_length": 16, "image_token_id": VOCAB - 1, "boi_token_id": VOCAB - 2, "eoi_token_id": VOCAB - 3,
            "text_config": {
                "model_type": "diffusion_gemma_text", "vocab_size": VOCAB, **SIZES, **MOE, "num_key_value_heads": 1,
                "head_dim": 16, "global_head_dim": 16, "num_global_key_value_heads": 1, "sliding_window": 32,
                "top_k_experts": 2, "layer_types": ["sliding_attention", "full_attention"],
                "max_position_embeddings": 256, "eos_token_id": EOS, "pad_token_id": EXTRA, "bos_token_id": EXTRA,
                **NOISE,
            },
            "vision_config": {
                "model_type": "gemma4_vision", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
            },
        },
        {"model_type": "diffusion_gemma", "architectures": ["DiffusionGemmaForBlockDiffusion"], "eos_token_id": EOS},
        ("<mask>", "<eos>", "<pad>"), kind="GemmaTokenizer",
    ),
    "bert": Recipe(
        "BertForMaskedLM", BERT, {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
        ("[MASK]", "[SEP]", "[PAD]"), kind="BertTokenizer",
    ),
    "roberta": Recipe(
        "RobertaForMaskedLM", {**BERT, "pad_token_id": 1},
        {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]}, ("<mask>", "</s>", "<s>"),
        kind="RobertaTokenizer",
    ),
    "distilbert": Recipe(
        "DistilBertForMaskedLM",
        {
            "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128,
            "pad_token_id": EXTRA,
        },
        {"model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"]}, ("[MASK]", "[SEP]", "[PAD]"),
        kind="BertTokenizer",
    ),
    "modernbert": Recipe(
        "ModernBertForMaskedLM",
        {
            **SIZES, "max_position_embeddings": 128, "pad_token_id": EXTRA, "eos_token_id": EOS, "bos_token_id": EXTRA,
            "cls_token_id": EXTRA, "sep_token_id": EOS,
        },
        {"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"]}, ("[MASK]", "[SEP]", "[PAD]"),
        kind="PreTrainedTokenizerFast",
    ),
    "llama": Recipe(  # as SmolLM2 is
        "LlamaForCausalLM",
        {
            **SIZES, "rms_norm_eps": 1e-5, "max_position_embeddings": 256, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        },
        {
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "rope_theta": 100000, "rope_scaling": None,
            "rope_interleaved": False, "is_llama_config": True, "attention_bias": False, "mlp_bias": False,
            "pretraining_tp": 1, "use_cache": True, "eos_token_id": EOS, "bos_token_id": EXTRA, "pad_token_id": EOS,
        },
        ("<|unused|>", "<|im_end|>", "<|im_start|>"), kind="GPT2Tokenizer",
    ),
    "qwen2": Recipe(
        "Qwen2ForCausalLM", {**SIZES, **QWEN, **ROPE},
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], **QWEN_ON_DISK},
        ("<|unused|>", "<|endoftext|>", "<|im_end|>"),
    ),
    "qwen3": Recipe(
        "Qwen3ForCausalLM", {**SIZES, **QWEN, **ROPE, "head_dim": 16},
        {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **QWEN_ON_DISK, "attention_bias": False},
        ("<|unused|>", "<|endoftext|>", "<|im_end|>"),
    ),
}

LLADA2_CONFIG = """
from transformers import PretrainedConfig


class LLaDA2MoeConfig(PretrainedConfig):
    model_type = "llada2_moe"

    def __init__(
        self, rope_theta=10000.0, partial_rotary_factor=0.5, pad_token_id=None, tie_word_embeddings=False, **rest
    ):
        self.rope_theta, self.partial_rotary_factor = rope_theta, partial_rotary_factor
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **rest)
"""

LLADA2_MODEL = '''
"""A stand-in for modeling_llada2_moe.py, written from a description of it: names and shapes of the weights, what is
passed from module to module, and the habits of transformers 4 that matter to who loads it."""
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import MoeCausalLMOutputWithPast, MoeModelOutputWithPast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from .configuration_llada2_moe import LLaDA2MoeConfig


class LLaDA2MoeRMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)


class LLaDA2MoeRotaryEmbedding(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.rope_type = config, "default"
        inv_freq, self.attention_scaling = ROPE_INIT_FUNCTIONS[self.rope_type](config, None)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.original_inv_freq = self.inv_freq

    def forward(self, x, position_ids):
        half = position_ids[..., None].to(x.dtype) * self.inv_freq.to(x.dtype)
        whole = torch.cat([half, half], -1)
        return whole.cos(), whole.sin()


def rotate(x, cos, sin):
    size = cos.shape[-1]
    turned, rest = x[..., :size], x[..., size:]
    swapped = torch.cat([-turned[..., size // 2 :], turned[..., : size // 2]], -1)
    return torch.cat([turned * cos[:, None] + swapped * sin[:, None], rest], -1)


class LLaDA2MoeMLP(nn.Module):
    def __init__(self, config, size):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, size, bias=False)
        self.down_proj = nn.Linear(size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class LLaDA2MoeGate(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        self.register_buffer("expert_bias", torch.zeros(config.num_experts))

    def forward(self, x):
        c = self.config
        scores = (x @ self.weight.T).sigmoid()
        chosen = scores + self.expert_bias
        groups = chosen.unflatten(-1, (c.n_group, -1))
        best = groups.topk(2, -1)[0].sum(-1).topk(c.topk_group, -1)[1]
        kept = torch.zeros_like(groups[..., 0]).scatter(-1, best, 1.0).bool()
        index = groups.masked_fill(~kept[..., None], -torch.inf).flatten(-2).topk(c.num_experts_per_tok, -1)[1]
        weight = scores.gather(-1, index)
        return index, weight / (weight.sum(-1, keepdim=True) + 1e-20) * c.routed_scaling_factor


class LLaDA2MoeSparseMoeBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        size = config.moe_intermediate_size
        self.experts = nn.ModuleList(LLaDA2MoeMLP(config, size) for _ in range(config.num_experts))
        self.gate = LLaDA2MoeGate(config)
        self.shared_experts = LLaDA2MoeMLP(config, config.moe_intermediate_size * config.num_shared_experts)

    def forward(self, x):
        index, weight = self.gate(x)
        every = torch.stack([e(x) for e in self.experts], -2)
        mixed = (every.gather(-2, index[..., None].expand(*index.shape, x.shape[-1])) * weight[..., None]).sum(-2)
        return mixed + self.shared_experts(x)


class LLaDA2MoeAttention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx, self.heads, self.groups, self.size = (
            layer_idx, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        )
        wide = (self.heads + 2 * self.groups) * self.size
        self.query_key_value = nn.Linear(config.hidden_size, wide, bias=config.use_qkv_bias)
        self.query_layernorm = LLaDA2MoeRMSNorm(self.size, config.rms_norm_eps)
        self.key_layernorm = LLaDA2MoeRMSNorm(self.size, config.rms_norm_eps)
        self.dense = nn.Linear(self.heads * self.size, config.hidden_size, bias=config.use_bias)

    def forward(self, x, attention_mask, past_key_value, position_embeddings):
        B, M, _ = x.shape
        parts = self.query_key_value(x).view(B, M, -1, self.size).transpose(1, 2)
        q, k, v = parts.split([self.heads, self.groups, self.groups], 1)
        q, k = self.query_layernorm(q), self.key_layernorm(k)
        q, k = rotate(q, *position_embeddings), rotate(k, *position_embeddings)
        length = M
        if past_key_value is not None:
            length += past_key_value.get_seq_length(self.layer_idx)
            k, v = past_key_value.update(k, v, self.layer_idx, {})
        if attention_mask is not None and attention_mask.shape != (B, 1, M, length):
            shape = tuple(attention_mask.shape)
            raise ValueError(f"Attention mask should be of size {(B, 1, M, length)}, but is {shape}")
        k, v = (y.repeat_interleave(self.heads // self.groups, 1) for y in (k, v))
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
        return self.dense(out.transpose(1, 2).reshape(B, M, -1))


class LLaDA2MoeDecoderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.attention = LLaDA2MoeAttention(config, layer_idx)
        dense = layer_idx < config.first_k_dense_replace
        self.mlp = LLaDA2MoeMLP(config, config.intermediate_size) if dense else LLaDA2MoeSparseMoeBlock(config)
        self.input_layernorm = LLaDA2MoeRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = LLaDA2MoeRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, attention_mask, past_key_value, position_embeddings):
        x = x + self.attention(self.input_layernorm(x), attention_mask, past_key_value, position_embeddings)
        return x + self.mlp(self.post_attention_layernorm(x))


class LLaDA2MoePreTrainedModel(PreTrainedModel):
    config_class = LLaDA2MoeConfig
    base_model_prefix = "model"
    _no_split_modules = ["LLaDA2MoeDecoderLayer"]
    _supports_sdpa = True

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)


class LLaDA2MoeModel(LLaDA2MoePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(LLaDA2MoeDecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = LLaDA2MoeRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = LLaDA2MoeRotaryEmbedding(config)
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None, **kwargs
    ):
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        x = self.word_embeddings(input_ids)
        angles = self.rotary_emb(x, position_ids)
        for layer in self.layers:
            x = layer(x, attention_mask, past_key_values if use_cache else None, angles)
        return MoeModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=past_key_values)


class LLaDA2MoeModelLM(LLaDA2MoePreTrainedModel):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.model = LLaDA2MoeModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.word_embeddings

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, **kwargs):
        return MoeCausalLMOutputWithPast(logits=self.lm_head(self.model(**kwargs).last_hidden_state))
'''

LLADA2 = {
    "model_type": "llada2_moe", "architectures": ["LLaDA2MoeModelLM"],
    **auto_map("configuration_llada2_moe.LLaDA2MoeConfig", "modeling_llada2_moe.LLaDA2MoeModelLM"), "vocab_size": VOCAB,
    **SIZES, **MOE, "head_dim": 16, "first_k_dense_replace": 1, "num_shared_experts": 1, "n_group": 2, "topk_group": 1,
    "routed_scaling_factor": 2.5, "norm_topk_prob": True, "score_function": "sigmoid", "norm_head": False,
    "moe_router_enable_expert_bias": True, "partial_rotary_factor": 0.5, "rotary_dim": 8, "rope_theta": 600000.0,
    "rope_scaling": None, "rms_norm_eps": 1e-6, "use_bias": False, "use_qkv_bias": False, "use_qk_norm": True,
    "hidden_act": "silu", "max_position_embeddings": 256, "tie_word_embeddings": False, "pad_token_id": EOS,
    "eos_token_id": EOS, "mask_token_id": MASK, "use_cache": True, **NOISE,
}
RECIPES["llada2"] = Recipe(
    "", {}, LLADA2, ("<|mask|>", "<|endoftext|>", "<|role_end|>"), own=True, kind="PreTrainedTokenizerFast",
    code={"configuration_llada2_moe.py": LLADA2_CONFIG, "modeling_llada2_moe.py": LLADA2_MODEL},
    weights=lambda: llada2_weights(),
)
RECIPES |= recipes(Recipe)


def llada2_weights() -> dict[str, Tensor]:
    """Names and shapes of the weights of LLaDA2, for the sizes above: a dense layer and one of experts."""
    c = LLADA2
    hidden, heads, groups, size = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.word_embeddings": (VOCAB, hidden),
        "model.norm": (hidden,),
        "lm_head": (VOCAB, hidden),
    }

    def mlp(at: str, inner: int) -> None:
        shapes.update(
            {f"{at}.gate_proj": (inner, hidden), f"{at}.up_proj": (inner, hidden), f"{at}.down_proj": (hidden, inner)}
        )

    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        shapes |= {
            f"{at}.input_layernorm": (hidden,), f"{at}.post_attention_layernorm": (hidden,),
            f"{at}.attention.query_key_value": ((heads + 2 * groups) * size, hidden),
            f"{at}.attention.dense": (hidden, heads * size), f"{at}.attention.query_layernorm": (size,),
            f"{at}.attention.key_layernorm": (size,),
        }
        if i < c["first_k_dense_replace"]:
            mlp(f"{at}.mlp", c["intermediate_size"])
            continue
        shapes[f"{at}.mlp.gate"] = (c["num_experts"], hidden)
        mlp(f"{at}.mlp.shared_experts", c["moe_intermediate_size"])
        for e in range(c["num_experts"]):
            mlp(f"{at}.mlp.experts.{e}", c["moe_intermediate_size"])
    out = {f"{name}.weight": torch.randn(shape) * 0.2 + (len(shape) == 1) for name, shape in shapes.items()}
    return out | {
        f"model.layers.{c['num_hidden_layers'] - 1}.mlp.gate.expert_bias": torch.randn(c["num_experts"]) * 0.1
    }


def write(
    directory: Path, name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, shards: int = 1,
    files: str = "json", chat: str | None = None, **changes: Any,
) -> PreTrainedModel | None:
    """Write the checkpoint `name` of `RECIPES` into a new directory.

    `shards`: files of weights. `files` of the tokenizer: `json` is tokenizer.json, `vocab` is vocab.json and
    merges.txt. `chat`: the chat template. `changes` are made to config.json; those that are None are taken out of it.
    Returns the model of transformers with these weights under its own names, in float32; none where it has no class for
    it."""
    recipe = RECIPES[name]
    directory.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, weights = (None, recipe.weights()) if recipe.weights else random_model(recipe, directory)
    if dtype != torch.float32:
        weights = {key: w.to(dtype) for key, w in weights.items()}
    save(directory, {recipe.rename(key): w for key, w in weights.items()}, shards)
    settings = {} if recipe.own else {"vocab_size": VOCAB} | dict(recipe.settings)
    if "rope_theta" in recipe.config:
        settings.pop("rope_parameters", None)  # as written by transformers 4
    if "text_config" in settings:
        settings.pop("vocab_size")
    config = {**settings, **recipe.config, **changes}
    removed = {key for key, value in changes.items() if value is None}
    write_json(directory / "config.json", {key: value for key, value in config.items() if key not in removed})
    for file, text in (recipe.code or {}).items():
        (directory / file).write_text(text)
    write_tokenizer(directory, recipe.special, recipe.kind, chat, files)
    if model is not None and dtype != torch.float32:
        model = model.to(dtype).float()
    return model


def random_model(recipe: Recipe, directory: Path) -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """A model and its weights under the names that transformers saves. Weights that start as ones or zeros are random
    too, so that no two can be mistaken for each other."""
    import transformers

    cls = getattr(transformers, recipe.native)
    settings = (
        dict(recipe.settings) if "text_config" in recipe.settings else {"vocab_size": VOCAB, **NOISE, **recipe.settings}
    )
    model = cls(cls.config_class(**settings)).eval()
    return model, saved_weights(model, directory)


def save(directory: Path, weights: Mapping[str, Tensor], shards: int) -> None:
    if shards == 1:
        save_file(dict(weights), directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    where = {key: f"model-{i * shards // len(names) + 1:05}-of-{shards:05}.safetensors" for i, key in enumerate(names)}
    for file in set(where.values()):
        save_file(
            {key: weights[key] for key in names if where[key] == file}, directory / file, metadata={"format": "pt"}
        )
    size = sum(w.numel() * w.element_size() for w in weights.values())
    write_json(directory / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": where})
