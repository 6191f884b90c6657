"""A family that is held against the code of its makers."""

from collections.abc import Mapping
from typing import Any

from modeling_comet import Comet
from torch import Tensor

from decoders import Family


def settings(config: Mapping[str, Any], known: type) -> dict[str, Any]:
    return {
        "hidden_size": config["d_model"],
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"],
        "intermediate_size": config["d_inner"],
        "vocab_size": config["vocab_size"],
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": config["rope_base"]},
    }


def reference(config: Mapping[str, Any], weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """(L, V): what the makers' code gives for a row of tokens (L,)."""
    model = Comet(dict(config))
    model.load_state_dict(dict(weights))
    return model(tokens)


LAYER = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "out": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
    "norm_1": "input_layernorm", "norm_2": "post_attention_layernorm",
}

COMET = Family(
    "comet",
    types=("comet",),
    architectures=("Comet",),
    native="LlamaForCausalLM",
    settings=settings,
    renames={
        r"^embed\.": "model.embed_tokens.",
        r"^norm\.": "model.norm.",
        r"^head\.": "lm_head.",
        **{rf"^blocks\.(\d+)\.{theirs}\.": rf"model.layers.\1.{ours}." for theirs, ours in LAYER.items()},
    },
    sample={"d_model": 32, "n_layers": 2, "n_heads": 4, "d_inner": 48, "vocab_size": 112, "rope_base": 500.0},
    reference=reference,
)
