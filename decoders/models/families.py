"""What is known of each family of checkpoints: one row per family, and where a config needs it one small function.

Sources are the modelling codes of the checkpoints as public repositories hold copies of them; `algorithms` is the
project's own survey. Weights of these families were not at hand: names and ids are checked against those codes, shapes
against tiny random checkpoints, and no row but `nano` has run on a real one. The names of examples on the hub are those
that the same repositories load.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from decoders.core import UsageError, suggest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoders.core import Model

Attention = Literal["bidirectional", "block", "causal"]
Adapt = Callable[["PreTrainedModel", "int | None", tuple[int, ...]], "Model"]
Settings = Callable[[Mapping[str, Any], Any], dict[str, Any]]

INERT = frozenset(  # spoken of in configs, and of no meaning for a forward pass
    (
        "sliding_window max_window_layers alibi_bias_max rope_full_precision "
        "attention_layer_norm_with_affine fuse_norm"
    ).split()
)
TELLING = re.compile(r"alibi|rope|rotary|bias|window|norm|scal|softcap|expert|causal|scheduler|adapter")
ROPES = ("default", "linear", "yarn", "llama3")
"""Rotary embeddings whose frequencies do not depend on how long a row is, so that stored keys stay right."""


def refuse_unread(config: Mapping[str, Any], read: Collection[str]) -> None:
    """Raises `UsageError` for a setting that nothing reads, that is neither off nor a factor of one, and whose name
    speaks of the mathematics."""
    for key, value in config.items():
        idle = value is not True and value in (None, False, 1, "", [], {})
        if key not in read and key not in INERT and TELLING.search(key) and not idle:
            raise UsageError(f"its config.json sets {key}={value!r}, which is not known to this family")


def plain(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """The settings of the native config class `known` that stand in config.json under the same names. Raises
    `UsageError` for what would change the model and is none of them."""
    names = {*inspect.signature(known.__init__).parameters, "head_dim"} - {"architectures", "transformers_version"}
    refuse_unread(config, {*names, "rope_theta", "rope_scaling"})
    if config.get("use_sliding_window") or "sliding_attention" in (config.get("layer_types") or ()):
        raise UsageError("its config.json asks for a sliding window, which no diffusion decoding here has")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ROPES:
        raise UsageError(f"its config.json has the rotary embedding {kind!r}; known is {', '.join(ROPES)}")
    # transformers 4 wrote rope_theta and rope_scaling, and left the first out where it was the default of the class
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    settings = {key: value for key, value in config.items() if key in names}
    return settings | {"rope_parameters": {**rope, "rope_type": kind, "rope_theta": theta}}


# setting: what it is where config.json is silent, and what it has to be for Llama's layers to be the same
LLADA_HAS = {
    "block_type": ("sequential", "llama"), "layer_norm_type": ("default", "rms"), "activation_type": ("swiglu", "silu"),
    "rope": (False, True), "alibi": (False, False), "attention_layer_norm": (False, False),
    "input_emb_norm": (False, False), "scale_logits": (False, False), "include_bias": (False, False),
    "include_qkv_bias": (False, False), "bias_for_layer_norm": (None, False), "layer_norm_with_affine": (True, True),
    "multi_query_attention": (None, None),
}


def llada(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """OLMo's names to Llama's. Defaults are those of `configuration_llada.py`, a block of type `llama` with SiLU is
    `ff_out(silu(ff_proj(x)) * up_proj(x))`, and the rows of the embedding are `embedding_size`."""
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
    """Llama's own names; its norms are RMSNorm only where `layer_norm_eps` is not set."""
    if config.get("layer_norm_eps") is not None:
        raise UsageError("its config.json sets layer_norm_eps, and of this family only RMSNorm is known")
    return plain({key: value for key, value in config.items() if key != "layer_norm_eps"}, known)


def dream(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen2's own names. Queries, keys and values have a bias and nothing else has one, whatever `attention_bias`
    says."""
    if config.get("use_mrope") or config.get("mlp_bias"):
        raise UsageError("its config.json sets use_mrope or mlp_bias, which Qwen2 does not have")
    return plain({key: value for key, value in config.items() if key != "attention_bias"}, known)


def llada_moe(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen3-MoE's layers under names of its own: a norm on each head's queries and keys, and the probabilities of the
    chosen experts as they are, whatever `norm_topk_prob` says. Neither `routed_scaling_factor` nor
    `moe_router_score_function` has a part in its forward."""
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


def sdar(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """Qwen3's own names. Checkpoints trained to see their prompt causally say `use_regular_causal`."""
    if config.get("use_regular_causal"):
        raise UsageError(
            "its config.json sets use_regular_causal: it was trained to see its prompt causally, which is not known "
            "here"
        )
    return plain(config, known)


def whole(config: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """A config of transformers' own, as it is."""
    return {
        key: value
        for key, value in config.items()
        if key not in ("auto_map", "architectures", "transformers_version", "model_type")
    }


def diffusion_gemma(model: PreTrainedModel, mask_id: int | None, stop_ids: tuple[int, ...]) -> Model:
    from decoders.models.diffusion_gemma import DiffusionGemmaModel

    return DiffusionGemmaModel(model, stop_ids)


def encoder(model: PreTrainedModel, mask_id: int | None, stop_ids: tuple[int, ...]) -> Model:
    from decoders.models.encoder import EncoderModel

    assert mask_id is not None
    return EncoderModel(model, mask_id=mask_id, stop_ids=stop_ids)


@dataclass(frozen=True)
class Family:
    """How checkpoints of one family are run."""

    name: str
    """`diffusion_family` of the config, for checkpoints that say it."""
    types: tuple[str, ...]
    """`model_type` of the config."""
    architectures: tuple[str, ...]
    """`architectures` of the config that are this family; a name that begins with `*` stands for its endings."""
    native: str
    """The class of transformers that runs it; empty: the class that the config names, if the checkpoint brings no code
    of its own."""
    remote: bool = False
    """Only the checkpoint's own code runs it."""
    settings: Settings = plain
    """config.json and the native config class to the settings of that class."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Names of weights: pattern to replacement, one group each."""
    spare: str = r"rotary_emb\.inv_freq$"
    """Weights in the files that nothing here needs."""
    shifted: bool = False
    """Its output i predicts position i + 1."""
    attentions: tuple[Attention, ...] = ("bidirectional",)
    """What it was trained for, the default first."""
    mask: int | Literal["config", "tokenizer", "none"] = "config"
    """The mask token is `mask_token_id` of the config, else this one, else what the tokenizer calls its mask."""
    ends: tuple[int, ...] = ()
    """Stop tokens besides `eos_token_id`, for checkpoints whose end token is among them or who name none."""
    length: int = 128
    """Positions after the prompt, where nobody says otherwise."""
    block: int = 32
    """Block of the attention, where neither the config nor anybody else says otherwise."""
    settled: bool = False
    """Its checkpoints are those that say nothing of diffusion and whose type and class are a pair of transformers'
    own."""
    block_key: str = "block_size"
    """Where the config says it."""
    window: int | None = None
    """Window inside the blocks of the attention, which are then fixed; none: blocks follow the windows."""
    told: Mapping[str, Attention] = field(default_factory=dict)
    """Where its config does not tell what it was trained for: a part of the checkpoint's name to the attention."""
    adapter: Adapt | None = None
    """Makes the `Model`; none: `TransformersModel`."""
    example: str = ""
    """A checkpoint of it on the hub."""
    billions: float = 0.0
    """Parameters of that one, as its makers count them."""

    def attention(self, name: str) -> Attention:
        """What a checkpoint was trained for, as far as its name tells."""
        return next((a for part, a in self.told.items() if part in name.lower()), self.attentions[0])

    def blocks(self, config: Mapping[str, Any], attention: Attention) -> tuple[int | None, int | None]:
        """The size of the windows, none being one over the whole row, and the fixed block of the attention, none where
        it follows the windows. Raises `UsageError` if the config has another thing in that place."""
        if attention == "causal":
            return 1, 1
        if attention != "block":
            return None, None
        block = config.get(self.block_key) or self.block
        if not isinstance(block, int) or isinstance(block, bool) or block < 1:
            raise UsageError(f"{self.block_key} in its config.json must be the size of a block, not {str(block)[:50]}")
        return self.window or block, block if self.window else None


FAMILIES = {
    f.name: f
    for f in (
        Family(
            "nano", ("qwen3",), (), "Qwen3ForCausalLM", settings=whole, attentions=("bidirectional", "block"),
            length=64, block=8,
        ),
        # Autoregression: Qwen3's layers, each position seeing those left of it, so that any rule that commits says one
        # token after the other. `decoders bench versus` writes such checkpoints.
        Family(
            "causal", (), (), "Qwen3ForCausalLM", settings=whole, shifted=True, attentions=("block",), length=64,
            block=1, window=1,
        ),
        # LLaDA-8B-Base, -Instruct and 1.5. Config and weight names: charleschen-ml/pa-dllm configuration_llada.py,
        # Feng-Hong/WINO-DLLM modeling_llada.py; ids in the config.json of the 8B models: d_model 4096, mask 126336, EOS
        # 126081. EoT 126348: generate.py of ML-GSAI/LLaDA b7e6c35. LLaDA rotates in float32 (`rope_full_precision`)
        # where Llama rotates in the model's dtype: in bfloat16 the two differ by rounding. That 1.5 has the same ids is
        # said by those who run it, not by a file.
        Family(
            "llada", ("llada",), ("LLaDAModelLM",), "LlamaForCausalLM", settings=llada, renames=LLADA_RENAMES,
            mask=126336, ends=(126081, 126348), example="GSAI-ML/LLaDA-8B-Instruct", billions=8,
        ),
        # LLaDA-MoE-7B-A1B: the type of LLaDA-8B and an architecture of its own. modeling_lladamoe.py and
        # configuration_lladamoe.py in ZHZisZZ/dllm ca17675 (dllm/pipelines/llada/models). Mask 156895: its card and
        # the converters to GGUF, its config gives none; EOS 156892.
        Family(
            "llada_moe", ("llada", "lladamoe"), ("LLaDAMoEModelLM",), "Qwen3MoeForCausalLM", settings=llada_moe,
            mask=156895, ends=(156892,), example="inclusionAI/LLaDA-MoE-7B-A1B-Instruct", billions=7,
        ),
        # iLLaDA-8B: a type and names of its own, grouped queries, tied head. Its modeling_illada.py as copied in
        # public; mask 5: README of ML-GSAI/LLaDA, its config.json gives none. Its end token was not seen: it is what
        # the config says.
        Family(
            "illada", ("illada",), ("ILLaDAForCausalLM",), "LlamaForCausalLM", settings=illada, mask=5,
            example="GSAI-ML/iLLaDA-8B-Instruct", billions=8,
        ),
        # Dream-7B and DiffuCoder-7B: modeling_dream.py in NVlabs/Fast-dLLM, which is Qwen2 with full attention and the
        # shift of its sampler. 151643 and 151645 are the end tokens of Qwen2.5's tokenizer; that DiffuCoder keeps them
        # is not confirmed. DreamForCausalLM of the same type (Dream reasoners: blocks, no shift) is another model.
        Family(
            "dream", ("Dream",), ("DreamModel",), "Qwen2ForCausalLM", settings=dream, mask=151666, shifted=True,
            ends=(151643, 151645), example="Dream-org/Dream-v0-Instruct-7B", billions=7,
        ),
        # A2D, models of transformers taught to see both sides (Tiny-A2D): dllm/pipelines/a2d/models of ZHZisZZ/dllm
        # ca17675, which are Llama, Qwen2 and Qwen3 with a mask of padding alone; not shifted, and the mask token is the
        # tokenizer's (dllm/core/samplers). Those trained as BD3LM have the config of those trained as MDLM, so the
        # name tells; their block 32 is in examples/a2d/README.md there, and blocks are counted from the row's start.
        *(
            Family(
                f"a2d_{kind}", (f"a2d-{kind}",), (f"A2D{cls}LMHeadModel",), f"{cls}ForCausalLM", mask="tokenizer",
                attentions=("bidirectional", "block"), told={"bd3lm": "block"}, example=example, billions=billions,
            )
            for kind, cls, example, billions in (
                ("qwen3", "Qwen3", "dllm-hub/Qwen3-0.6B-diffusion-bd3lm-v0.1", 0.6),
                ("qwen2", "Qwen2", "dllm-hub/Qwen2.5-Coder-0.5B-Instruct-diffusion-bd3lm-v0.1", 0.5),
                ("llama", "Llama", "", 0.0),
            )
        ),
        # WeDLM-8B: Qwen3's names and layers, causal, and trained for the next token beside its masks (compute_ar_loss
        # in finetune/src/loss.py of Tencent/WeDLM c64417a). It is run as an autoregressive model; its own decoding,
        # which moves decided tokens in front of masks, is not here.
        Family(
            "wedlm", ("wedlm",), ("WeDLMForCausalLM",), "Qwen3ForCausalLM", settings=wedlm, mask="none", shifted=True,
            attentions=("causal",), block=1, example="tencent/WeDLM-8B-Instruct", billions=8,
        ),
        # SDAR-1.7B to 8B: modeling_sdar.py and generate.py of JetAstra/SDAR; Qwen3's layers and names. Block and mask:
        # sglang's DLLM_PARAMS. The SDAR-30B-A3B code was read only in descriptions: Qwen3-MoE's layers and names, not
        # confirmed.
        Family(
            "sdar", ("sdar",), ("SDARForCausalLM",), "Qwen3ForCausalLM", settings=sdar, mask=151669,
            attentions=("block",), block=4, example="JetLM/SDAR-1.7B-Chat", billions=1.7,
        ),
        Family(
            "sdar_moe", ("sdar_moe",), ("SDARMoeForCausalLM",), "Qwen3MoeForCausalLM", settings=sdar, mask=151669,
            attentions=("block",), block=4, example="JetLM/SDAR-30B-A3B-Chat", billions=30,
        ),
        # Fast-dLLM v2 (1.5B and 7B): modeling.py and configuration.py of the checkpoints as copied in public,
        # v2/run_chatbot.py of NVlabs/Fast-dLLM (small_block_size 8). Attention blocks are bd_size, counted from the
        # start of the row; mask 151665 and stop token 151645 are the defaults of its sampler.
        Family(
            "fast_dllm_v2", ("Fast_dLLM_Qwen",), ("Fast_dLLM_QwenForCausalLM",), "Qwen2ForCausalLM", settings=dream,
            mask=151665, shifted=True, attentions=("block",), block=32, block_key="bd_size", window=8, ends=(151645,),
            example="Efficient-Large-Model/Fast_dLLM_v2_7B", billions=7,
        ),
        # LLaDA2.0-mini and 2.1-mini: modeling_llada2_moe.py as copied in public; block and mask: sglang's DLLM_PARAMS;
        # end token: pad and EOS 156892 in the same copies.
        Family(
            "llada2", ("llada2_moe",), ("LLaDA2MoeModelLM",), "", remote=True, mask=156895, attentions=("block",),
            ends=(156892,), length=256, example="inclusionAI/LLaDA2.0-mini", billions=16,
        ),
        Family(
            "diffusion_gemma", ("diffusion_gemma",), ("DiffusionGemmaForBlockDiffusion",),
            "DiffusionGemmaForBlockDiffusion", settings=whole, mask="none", attentions=("block",), length=256,
            block=256, block_key="canvas_length", adapter=diffusion_gemma,
            example="google/diffusiongemma-26B-A4B-it", billions=26,
        ),
        # Masked language models of transformers (BERT, ModernBERT, RoBERTa, DistilBERT ...). Poolers and next-sentence
        # heads lie in many of their files and take no part in it.
        Family(
            "masked_lm", (), ("*ForMaskedLM",), "", settings=whole, mask="tokenizer", length=64,
            spare=r"pooler\.|seq_relationship\.|position_ids$|inv_freq$|\.decoder\.(weight|bias)$", adapter=encoder,
            example="answerdotai/ModernBERT-base", billions=0.15,
        ),
        # Autoregressive models of transformers (Llama, SmolLM2, Qwen2 and 3, OLMo ...). `causal` refuses those of them
        # that cannot be run with a mask of attention of ours.
        Family(
            "causal_lm", (), ("*ForCausalLM",), "", settings=whole, mask="none", shifted=True, attentions=("causal",),
            block=1, settled=True, example="HuggingFaceTB/SmolLM2-360M-Instruct", billions=0.36,
        ),
    )
}


def family_of(config: Mapping[str, Any], where: str) -> Family:
    """The family that a config names: by `diffusion_family`, or by `model_type` and `architectures`. Raises
    `UsageError` if it names none or one that is not in the table."""
    name = config.get("diffusion_family")
    if isinstance(name, str):
        if name not in FAMILIES:
            raise UsageError(f"{where} is of the unknown family {name!r}{suggest(name, FAMILIES)}")
        return FAMILIES[name]
    kind, made = config.get("model_type"), config.get("architectures")
    made = [a for a in made if isinstance(a, str)] if isinstance(made, list) else []
    for f in FAMILIES.values():
        typed = kind in f.types if f.types else bool(made)
        named = f.architectures and typed and all(any(fits(a, known) for known in f.architectures) for a in made)
        if named and (not f.settled or is_settled(config, made)):
            return f
    said = f"model_type {kind!r} with {', '.join(made) or 'no architecture'}"
    known = ", ".join(
        f"{' or '.join(f.types) or 'any'} with {' or '.join(f.architectures)}"
        for f in FAMILIES.values()
        if f.architectures
    )
    raise UsageError(
        f"the config.json of {where} names no diffusion_family, and {said} is none that is known; known is {known}"
    )


def is_settled(config: Mapping[str, Any], made: list[str]) -> bool:
    """Whether nothing in a config speaks of diffusion or of code of its own, and its type and class are a pair of
    transformers' own, an autoregressive model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as PAIRS

    foreign = config.get("auto_map") or config.get("mask_token_id") is not None
    return not foreign and made == [PAIRS.get(str(config.get("model_type")))]


def fits(architecture: str, known: str) -> bool:
    return architecture.endswith(known[1:]) if known.startswith("*") else architecture == known
