"""Translation of checkpoint configs to the settings of the transformers classes that run them. A setting that such a
class does not have is refused, and never ignored, if its name suggests that it changes the mathematics."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from decoders.core import UsageError

INERT = frozenset(  # settings without effect on a forward pass
    (
        "sliding_window max_window_layers alibi_bias_max rope_full_precision "
        "attention_layer_norm_with_affine fuse_norm"
    ).split()
)
TELLING = re.compile(r"alibi|rope|rotary|bias|window|norm|scal|softcap|expert|causal|scheduler|adapter")
ROPES = ("default", "linear", "yarn", "llama3")
"""Rotary embeddings whose frequencies do not depend on the length of a row, so that stored keys stay valid."""


def refuse_unread(config: Mapping[str, Any], read: Collection[str]) -> None:
    """Raises `UsageError` for a setting that is not read, that is neither off nor a factor of 1, and whose name
    suggests that it changes the mathematics."""
    for key, value in config.items():
        idle = value is not True and value in (None, False, 1, "", [], {})
        if key not in read and key not in INERT and TELLING.search(key) and not idle:
            raise UsageError(f"its config.json sets {key}={value!r}, which is not known to this family")


def plain(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """The settings of the native config class `known` that config.json has under the same names. Raises `UsageError`
    for any other setting that would change the model."""
    names = {*inspect.signature(known.__init__).parameters, "head_dim"} - {"architectures", "transformers_version"}
    refuse_unread(config, {*names, "rope_theta", "rope_scaling"})
    if config.get("use_sliding_window") or "sliding_attention" in (config.get("layer_types") or ()):
        raise UsageError("its config.json asks for a sliding window, which no diffusion decoding here has")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ROPES:
        raise UsageError(f"its config.json has the rotary embedding {kind!r}; known is {', '.join(ROPES)}")
    # transformers 4 wrote rope_theta and rope_scaling, and left out rope_theta if it was the default of the class
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    settings = {key: value for key, value in config.items() if key in names}
    return settings | {"rope_parameters": {**rope, "rope_type": kind, "rope_theta": theta}}


# setting: its default, and the value with which the layers are Llama's
LLADA_HAS = {
    "block_type": ("sequential", "llama"), "layer_norm_type": ("default", "rms"), "activation_type": ("swiglu", "silu"),
    "rope": (False, True), "alibi": (False, False), "attention_layer_norm": (False, False),
    "input_emb_norm": (False, False), "scale_logits": (False, False), "include_bias": (False, False),
    "include_qkv_bias": (False, False), "bias_for_layer_norm": (None, False), "layer_norm_with_affine": (True, True),
    "multi_query_attention": (None, None),
}


def llada(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Translates OLMo's names to Llama's. Defaults are those of `configuration_llada.py`, a block of type `llama` with
    SiLU is `ff_out(silu(ff_proj(x)) * up_proj(x))`, and the embedding has `embedding_size` rows."""
    for key, (default, needed) in LLADA_HAS.items():
        if (config.get(key, default) or None) != (needed or None):
            raise UsageError(f"its config.json has {key}={config.get(key, default)!r}, and only {needed!r} is known")
    refuse_unread(config, {*LLADA_HAS, "rope_theta", "rms_norm_eps"})
    missing = [key for key in ("d_model", "n_heads", "n_layers", "vocab_size") if not isinstance(config.get(key), int)]
    if missing:
        raise UsageError(f"its config.json has no {missing[0]}")
    width = config["d_model"]
    return {
        "hidden_size": width,
        "num_attention_heads": config["n_heads"],
        "num_key_value_heads": config.get("n_kv_heads") or config["n_heads"],
        "num_hidden_layers": config["n_layers"],
        "intermediate_size": config.get("mlp_hidden_size") or config.get("mlp_ratio", 4) * width,
        "vocab_size": config.get("embedding_size") or config["vocab_size"],
        "max_position_embeddings": config.get("max_sequence_length", 1024),
        "rope_parameters": {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)},
        "rms_norm_eps": config.get("rms_norm_eps", 1e-5),
        "tie_word_embeddings": config.get("weight_tying", True),
    }


LLADA_RENAMES = {
    r"^model\.transformer\.wte\.": "model.embed_tokens.",
    r"^model\.transformer\.ln_f\.": "model.norm.",
    r"^model\.transformer\.ff_out\.": "lm_head.",
    **{
        rf"^model\.transformer\.blocks\.(\d+)\.{old}\.": rf"model.layers.\1.{new}."
        for old, new in {
            "q_proj": "self_attn.q_proj", "k_proj": "self_attn.k_proj", "v_proj": "self_attn.v_proj",
            "attn_out": "self_attn.o_proj", "ff_proj": "mlp.gate_proj", "up_proj": "mlp.up_proj",
            "ff_out": "mlp.down_proj", "attn_norm": "input_layernorm", "ff_norm": "post_attention_layernorm",
        }.items()
    },
}


def illada(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Llama's own names; its norms are RMSNorm only if `layer_norm_eps` is not set."""
    if config.get("layer_norm_eps") is not None:
        raise UsageError("its config.json sets layer_norm_eps, and of this family only RMSNorm is known")
    return plain({key: value for key, value in config.items() if key != "layer_norm_eps"}, known)


def dream(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen2's own names. Only queries, keys and values have a bias, whatever `attention_bias` is."""
    if config.get("use_mrope") or config.get("mlp_bias"):
        raise UsageError("its config.json sets use_mrope or mlp_bias, which Qwen2 does not have")
    return plain({key: value for key, value in config.items() if key != "attention_bias"}, known)


def llada_moe(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen3-MoE's layers under other names: a norm on each head's queries and keys, and the probabilities of the chosen
    experts without normalisation, whatever `norm_topk_prob` is. Its forward uses neither `routed_scaling_factor` nor
    `moe_router_score_function`."""
    own = (
        "expert_intermediate_size dense_intermediate_size shared_expert_intermediate_size moe_layer_freq qk_layernorm "
        "clip_qkv moe_router_enable_expert_bias moe_router_score_function routed_scaling_factor router_num_group "
        "router_topk_group norm_topk_prob"
    ).split()
    needed = {"qk_layernorm": True, "clip_qkv": None, "shared_expert_intermediate_size": None}
    for key, value in {**needed, "moe_router_enable_expert_bias": None}.items():
        if (config.get(key) or None) != value:
            raise UsageError(f"its config.json has {key}={config.get(key)!r}, and only {value!r} is known")
    if not all(config.get("moe_layer_freq") or [1]):
        raise UsageError("its config.json has layers without experts (moe_layer_freq), which are not known here")
    if not isinstance(config.get("expert_intermediate_size"), int):
        raise UsageError("its config.json has no expert_intermediate_size")
    rest = {key: value for key, value in config.items() if key not in own}
    size = {"moe_intermediate_size": config["expert_intermediate_size"], "norm_topk_prob": False}
    return {"head_dim": config["hidden_size"] // config["num_attention_heads"]} | plain(rest, known) | size


def wedlm(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen3's own names; `qk_norm` says whether queries and keys are normed, as Qwen3's are."""
    if config.get("qk_norm") is not True:
        raise UsageError("its config.json does not set qk_norm, and of this family only Qwen3's layers are known")
    return plain({key: value for key, value in config.items() if key != "qk_norm"}, known)


def nemotron(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Ministral 3's own names. Settings that begin with `default_` are for its sampler; queries are scaled by their
    position only if `llama_4_scaling_beta` is set."""
    if config.get("dlm_paradigm", "bidirectional") != "bidirectional":
        raise UsageError(f"its config.json has dlm_paradigm={config['dlm_paradigm']!r}; only 'bidirectional' is known")
    if config.get("sliding_window"):
        raise UsageError("its config.json asks for a sliding window, which no diffusion decoding here has")
    found = plain({key: value for key, value in config.items() if not key.startswith("default_")}, known)
    unscaled = {"llama_4_scaling_beta": 0.0, "original_max_position_embeddings": config.get("max_position_embeddings")}
    return found | {"rope_parameters": unscaled | found["rope_parameters"]}


NEMOTRON_RENAMES = {r"^encoder\.": "model.", r"^diffusion_head\.": "lm_head."}


def idlm(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen3's own names. With blocks of one position all attention is causal, as `use_regular_causal` requires for the
    prompt."""
    return plain({key: value for key, value in config.items() if key != "use_regular_causal"}, known)


def sdar(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen3's own names. Checkpoints trained with a causal prompt set `use_regular_causal`."""
    if config.get("use_regular_causal"):
        raise UsageError(
            "its config.json sets use_regular_causal: it was trained to see its prompt causally, which is not known "
            "here"
        )
    return plain(config, known)


def sizes(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The sizes of a network, renamed by `names`. Raises `UsageError` if one is missing."""
    for key in names:
        if not isinstance(config.get(key), int) or isinstance(config[key], bool):
            raise UsageError(f"its config.json has no {key}")
    return {ours: config[key] for key, ours in names.items()}


DIT_SIZES = {"cond_dim": "cond_dim", "n_blocks": "num_hidden_layers", "n_heads": "num_attention_heads"}


def mdlm(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """MDLM's names and those of BD3-LM. Without `time_conditioning` their networks always get the noise level 0;
    dropout and `var_min` are for training."""
    needed = {"time_conditioning": (False, False), "cross_attn": (True, True), "adaln": (True, True)}
    for key, (default, value) in needed.items():
        if config.get(key, default) is not value:
            raise UsageError(f"its config.json has {key}={config[key]!r}, and only {value!r} is known")
    refuse_unread(config, needed)
    own = {"hidden_dim": "hidden_size", "vocab_size": "vocab_size", "model_length": "max_position_embeddings"}
    return sizes(config, {**own, **DIT_SIZES})


def sedd(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """The settings of SEDD's training, of which the network's are a part. Noise levels are those of its schedules: the
    log-linear one masks a share of (1 - eps) t with eps 1e-3, and is trained from t = 1e-3 on."""
    model, graph, noise = (x if isinstance(x := config.get(key), dict) else {} for key in ("model", "graph", "noise"))
    if graph.get("type") not in ("absorb", "uniform"):
        raise UsageError(f"its config.json has the graph {graph.get('type')!r}; known is absorb, uniform")
    if model.get("type") != "ddit":
        raise UsageError(f"its config.json has a model of the type {model.get('type')!r}, and only 'ddit' is known")
    if noise.get("type") == "geometric":
        levels = {"least": float(noise["sigma_min"]), "most": float(noise["sigma_max"])}
    elif noise.get("type") == "loglinear":
        levels = {"least": -math.log1p(-0.999e-3), "most": -math.log(1e-3)}
    else:
        raise UsageError(f"its config.json has the noise {noise.get('type')!r}; known is loglinear, geometric")
    own = {"hidden_size": "hidden_size", "length": "max_position_embeddings"}
    rows = sizes(config, {"tokens": "vocab_size"})["vocab_size"] + (graph["type"] == "absorb")
    return sizes(model, {**own, **DIT_SIZES}) | levels | {"vocab_size": rows}


def llada2(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """A config for the code of the checkpoint, unchanged. With `expert_capacity` (LLaDA2.2) each block of `block_size`
    tokens keeps the experts that score best for any of its tokens, and each token chooses among those: the output of a
    position depends on which others are in the same forward, and forwards here do not contain whole blocks."""
    if config.get("expert_capacity"):
        raise UsageError(
            f"its config.json sets expert_capacity={config['expert_capacity']!r}, as those of LLaDA2.2 do, whose "
            "experts are chosen for whole blocks: each keeps so many, by their best score among its tokens, and a "
            "forward here may hold a part of a block"
        )
    return dict(config)


def whole(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """A config of transformers' own, unchanged."""
    return {
        key: value
        for key, value in config.items()
        if key not in ("auto_map", "architectures", "transformers_version", "model_type")
    }
