"""What is known of each family of checkpoints: one row per family, and where a config needs it one small function.

Sources are the modelling codes of the checkpoints as public repositories hold copies of them; `algorithms` is the
project's own survey. Weights of these families were not at hand: names and ids are checked against those codes, shapes
against tiny random checkpoints, and no row but `nano` has run on a real one. The names of examples on the hub are those
that the same repositories load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from decoders.core import UsageError
from decoders.models.configs import (
    LLADA_RENAMES,
    NEMOTRON_RENAMES,
    dream,
    idlm,
    illada,
    llada,
    llada2,
    llada_moe,
    mdlm,
    nemotron,
    plain,
    sdar,
    sedd,
    wedlm,
    whole,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from decoders.core import Model
    from decoders.models.dit.network import Dit

Attention = Literal["bidirectional", "block", "causal"]
Adapt = Callable[["PreTrainedModel", "int | None", tuple[int, ...]], "Model"]
Settings = Callable[[Mapping[str, Any], Any], dict[str, Any]]
Reference = Callable[[Mapping[str, Any], Mapping[str, "Tensor"], "Tensor"], "Tensor"]


def diffusion_gemma(model: PreTrainedModel, mask_id: int | None, stop_ids: tuple[int, ...]) -> Model:
    from decoders.models.diffusion_gemma import DiffusionGemmaModel

    return DiffusionGemmaModel(model, stop_ids)


def encoder(model: PreTrainedModel, mask_id: int | None, stop_ids: tuple[int, ...]) -> Model:
    from decoders.models.encoder import EncoderModel

    assert mask_id is not None
    return EncoderModel(model, mask_id=mask_id, stop_ids=stop_ids)


def scores(model: PreTrainedModel, mask_id: int | None, stop_ids: tuple[int, ...]) -> Model:
    from decoders.models.dit.sedd import SeddModel

    return SeddModel(cast("Dit", model), mask_id=mask_id, stop_ids=stop_ids)


def dit() -> type[PreTrainedModel]:
    from decoders.models.dit.network import Dit

    return Dit


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
    classes: Mapping[str, str] = field(default_factory=dict)
    """Where there are several, those of transformers by the architectures that the config names."""
    network: Callable[[], type[PreTrainedModel]] | None = None
    """A class of ours that runs it, where transformers has none."""
    keys: tuple[str, ...] = ()
    """Keys of the config that tell it, where that has neither type nor architecture."""
    only: Mapping[str, Any] = field(default_factory=dict)
    """What its config says besides, where type and architecture are another family's too."""
    remote: bool = False
    """Only the checkpoint's own code runs it."""
    settings: Settings = plain
    """config.json and the native config class to the settings of that class."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Names of weights: pattern to replacement, one group each."""
    spare: str = r"rotary_emb\.inv_freq$"
    """Weights in the files that nothing here needs."""
    shifted: bool = False
    """Its output i predicts position i + 1; so it is of every model that is run causally."""
    causal_context: bool = False
    """In blocks, what is left of the window is seen causally, and windows are counted from the end of the prompt."""
    causal_shift: bool = False
    """Where it is asked causally, its output i predicts position i + 1, though elsewhere it predicts i."""
    reordered: bool = False
    """Its masks were trained to be read behind all that is known, and predict their own position there
    (`Query.order`)."""
    attentions: tuple[Attention, ...] = ("bidirectional",)
    """What it was trained for, the default first."""
    mask: int | Literal["config", "tokenizer", "last", "none"] = "config"
    """The mask token is `mask_token_id` of the config, else this one, else what the tokenizer calls its mask; `last`:
    the last row of the embedding, one more than the tokenizer has tokens."""
    tokenizer: str = ""
    """The repository on the hub whose tokenizer it was trained with, for checkpoints that bring none."""
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
    """A checkpoint of it on the hub; of `causal`, as a command here writes one."""
    billions: float = 0.0
    """Parameters of that one, as its makers count them."""
    sample: Mapping[str, Any] = field(default_factory=dict)
    """What config.json says in a tiny checkpoint of it, under the keys of real ones: `decoders check` makes one. Type,
    architecture and the ids of tokens need not be named."""
    reference: Reference | None = None
    """For `decoders check`: the makers' own forward, from config.json, the weights by the names in the files, and
    `tokens (L,)` long to (L, V) logits, as it gives them. None: the class of transformers, with a mask of attention as
    it is declared here."""

    @property
    def decoder(self) -> str:
        """The strategy to begin with. A model without a mask token takes one that works on noise."""
        return "left_to_right" if self.attentions == ("causal",) else "gemma" if self.mask == "none" else "threshold"

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


GPT2 = "openai-community/gpt2"

FAMILIES = {
    f.name: f
    for f in (
        Family(
            "nano", ("qwen3",), (), "Qwen3ForCausalLM", settings=whole, attentions=("bidirectional", "block"),
            length=64, block=8,
        ),
        # Autoregression: Qwen3's layers, each position seeing those left of it, so that any rule that commits says one
        # token after the other. Checkpoints as `decoders bench versus -o RUN` writes them.
        Family(
            "causal", (), (), "Qwen3ForCausalLM", settings=whole, shifted=True, attentions=("block",), length=64,
            block=1, window=1, example="RUN/ar",
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
        # DreamOn-7B is Dream with a token that asks for one more position (<|expand|>, 151667), and its end token asks
        # for one less: eval/evaluate.py and generator.py of DreamLM/DreamOn 8a0a549. The strategy `dreamon` goes by
        # them; with any other the first is never generated, as theirs forbids it where no position is left. That its
        # config is Dream's was not seen.
        Family(
            "dream", ("Dream",), ("DreamModel",), "Qwen2ForCausalLM", settings=dream, mask=151666, shifted=True,
            ends=(151643, 151645), example="Dream-org/Dream-v0-Instruct-7B", billions=7,
        ),
        # A2D, models of transformers taught to see both sides (Tiny-A2D): dllm/pipelines/a2d/models of ZHZisZZ/dllm
        # ca17675, which are Llama, Qwen2 and Qwen3 with a mask of padding alone; not shifted, and the mask token is the
        # tokenizer's (dllm/core/samplers). Those trained as BD3LM have the config of those trained as MDLM, so the
        # name tells; their block 32 is in examples/a2d/README.md there, and blocks are counted from the row's start.
        Family(
            "a2d", ("a2d-qwen3", "a2d-qwen2", "a2d-llama"),
            ("A2DQwen3LMHeadModel", "A2DQwen2LMHeadModel", "A2DLlamaLMHeadModel"), "", mask="tokenizer",
            classes={f"A2D{x}LMHeadModel": f"{x}ForCausalLM" for x in ("Qwen3", "Qwen2", "Llama")},
            attentions=("bidirectional", "block"), told={"bd3lm": "block"},
            example="dllm-hub/Qwen3-0.6B-diffusion-bd3lm-v0.1", billions=0.6,
        ),
        # WeDLM-8B: Qwen3's names and layers, causal, and trained for the next token beside its masks, which predict
        # their own positions and are read behind what is known (compute_ar_loss and compute_mlm_loss in
        # finetune/src/loss.py of Tencent/WeDLM c64417a). It is run as an autoregressive model, and `wedlm` is its own
        # decoding. Mask 151665, where the config gives none: wedlm/engine/model_runner.py and finetune/src/trainer.py
        # there.
        Family(
            "wedlm", ("wedlm",), ("WeDLMForCausalLM",), "Qwen3ForCausalLM", settings=wedlm, mask=151665, shifted=True,
            reordered=True, attentions=("causal",), block=1, example="tencent/WeDLM-8B-Instruct", billions=8,
        ),
        # Nemotron-Labs-Diffusion-3B, 8B and 14B: mlx_vlm/models/nemotron_labs_diffusion of Blaizzy/mlx-vlm 02c8784 (its
        # language.py and config.py), which follows the checkpoints' own code: Ministral 3 behind the names `encoder`
        # and `diffusion_head`, mask 100, EOS 11. Blocks are counted from the end of the prompt, see each other, and see
        # what is left of them as it was computed causally; there output i predicts position i. Where it is asked
        # causally (`left_to_right`, `nemotron_linear`, all of `attention=causal`), output i predicts position i + 1.
        # Theirs takes a block's first token from the causal forward, ours as the others of the block.
        Family(
            "nemotron", ("nemotron_labs_diffusion",), ("NemotronLabsDiffusionModel",),
            "Ministral3ForCausalLM", settings=nemotron, renames=NEMOTRON_RENAMES, mask=100,
            attentions=("block", "causal"), causal_context=True, causal_shift=True, block=32, ends=(11,),
            example="nvidia/Nemotron-Labs-Diffusion-3B", billions=3,
        ),
        # I-DLM-8B: SDAR's config with blocks of one; training/model/Qwen3-8B-b1-allmasked in thuEcstasy/I-DLM 3342a17,
        # whose targets are those of the next position, and inference/.../idlm_blockN.py, whose tokens have the
        # distribution of that causal prediction. It is run as an autoregressive model, in whose masks its own decoding,
        # `introspective`, drafts. That its released config is that of the training was not seen.
        Family(
            "idlm", ("sdar",), ("SDARForCausalLM",), "Qwen3ForCausalLM", only={"block_size": 1}, settings=idlm,
            mask=151669, shifted=True, attentions=("causal",), block=1, example="yifanyu/I-DLM-8B", billions=8,
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
        # Stable-DiffCoder-8B: the class of the checkpoints as copied in public, whose every layer is Llama's: blocks of
        # 4, counted from the start of the row, that see each other, mask 5, no shift (the defaults of its
        # `generate_block`). Its type is `llama`, so the architecture tells.
        Family(
            "stable_diffcoder", (), ("StableDiffcoderForCausalLM",), "LlamaForCausalLM", mask=5,
            attentions=("block",), block=4, ends=(2,), example="ByteDance-Seed/Stable-DiffCoder-8B-Instruct",
            billions=8,
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
        # end token: pad and EOS 156892 in the same copies. LLaDA2.2, which also deletes and inserts (delete_token_id
        # 156930, split_token_id 156931; joint_threshold_indel.py in sgl-project/sglang 0fbe7e4), is refused: every
        # block of 32 tokens keeps 48 of its 256 experts, by their best score in the block, and each token takes 8 of
        # these (pull request 31768 of sgl-project/sglang; README and src/diffuse-moe-graph.cpp of Akicou/diffuse-cpp
        # b799157, which follow the checkpoint's code; that code itself was not seen).
        Family(
            "llada2", ("llada2_moe",), ("LLaDA2MoeModelLM",), "", settings=llada2, remote=True, mask=156895,
            attentions=("block",), ends=(156892,), length=256, example="inclusionAI/LLaDA2.0-mini", billions=16,
        ),
        Family(
            "diffusion_gemma", ("diffusion_gemma",), ("DiffusionGemmaForBlockDiffusion",),
            "DiffusionGemmaForBlockDiffusion", settings=whole, mask="none", attentions=("block",), length=256,
            block=256, block_key="canvas_length", adapter=diffusion_gemma,
            example="google/diffusiongemma-26B-A4B-it", billions=26,
        ),
        # MDLM and BD3-LM (OpenWebText, 0.17B): models/dit.py and diffusion.py of kuleshov-group/mdlm c112c52,
        # models/hf/modeling_bd3lm.py and configuration_bd3lm.py of kuleshov-group/bd3lms 1c3e8f4; names and keys of
        # MDLM's config are those of its checkpoint's own code as copied in public. The mask is one more token than
        # GPT-2's tokenizer has, 50257, and 50256 stands between texts; neither checkpoint brings a tokenizer. Blocks
        # are counted from the start of the row and see each other, as in its forward with `sample_mode`.
        Family(
            "mdlm", ("mdlm",), ("MDLM",), "", network=dit, settings=mdlm, mask="last", tokenizer=GPT2, ends=(50256,),
            example="kuleshov-group/mdlm-owt", billions=0.17,
        ),
        Family(
            "bd3lm", ("bd3lm",), ("BD3LM",), "", network=dit, settings=mdlm, mask="last", tokenizer=GPT2,
            ends=(50256,), attentions=("block",), block=4, spare=r"inv_freq$|^sampling_eps_m(in|ax)$",
            example="kuleshov-group/bd3lm-owt-block_size4", billions=0.17,
        ),
        # SEDD small and medium: model/transformer.py, graph_lib.py and noise_lib.py of
        # louaaron/Score-Entropy-Discrete-Diffusion 0605786. Its config is that of its training (configs/config.yaml);
        # those on the hub have masks, and one that was trained on the uniform graph has no mask token.
        Family(
            "sedd", (), (), "", network=dit, keys=("graph", "noise", "model", "tokens"), settings=sedd, mask="last",
            tokenizer=GPT2, ends=(50256,), adapter=scores, example="louaaron/sedd-small", billions=0.17,
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
