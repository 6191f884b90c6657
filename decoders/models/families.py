"""The table of checkpoint families: one row per family, and one small function where its config needs translation.

Sources are copies of the checkpoints' modelling code in public repositories; `algorithms` is the project's own survey.
No weights of these families were available: names and ids are checked against that code, shapes against tiny random
checkpoints, and no row except `nano` has run on a real checkpoint. The names of examples on the hub are those that the
same repositories load.
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
    """`diffusion_family` of the config, for checkpoints that set it."""
    types: tuple[str, ...]
    """`model_type` of the config."""
    architectures: tuple[str, ...]
    """`architectures` of the config that are this family; `*` at the start of a name stands for any beginning."""
    native: str
    """The transformers class that runs it; empty: the class that the config names, if the checkpoint has no code of its
    own."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """The transformers classes by architecture, if the family has several architectures."""
    network: Callable[[], type[PreTrainedModel]] | None = None
    """This library's class that runs it, if transformers has none."""
    keys: tuple[str, ...] = ()
    """Keys that identify its config, if that has neither type nor architecture."""
    only: Mapping[str, Any] = field(default_factory=dict)
    """Further values that identify its config, if another family has the same type and architecture."""
    remote: bool = False
    """Only the checkpoint's own code can run it."""
    settings: Settings = plain
    """Maps config.json and the native config class to the settings of that class."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """Renames weights: pattern to replacement, with one group each."""
    spare: str = r"rotary_emb\.inv_freq$"
    """Pattern of the weights in the files that are not used."""
    shifted: bool = False
    """Its output i predicts position i + 1, as in every model that is run causally."""
    causal_context: bool = False
    """With block attention, the text left of the window is computed causally, and windows are counted from the end of
    the prompt."""
    causal_shift: bool = False
    """In causal forwards its output i predicts position i + 1, in others position i."""
    reordered: bool = False
    """It was trained to read masks after all known tokens, where the output at a mask predicts that position
    (`Query.order`)."""
    attentions: tuple[Attention, ...] = ("bidirectional",)
    """The kinds of attention that it was trained for, the default first."""
    mask: int | Literal["config", "tokenizer", "last", "none"] = "config"
    """The mask token if the config has no `mask_token_id`: this id; `tokenizer`: the tokenizer's mask token; `last`:
    the last row of the embedding, one after the tokenizer's last token. `none`: the family has no mask token."""
    tokenizer: str = ""
    """The repository on the hub with the tokenizer of its training, for checkpoints without a tokenizer."""
    ends: tuple[int, ...] = ()
    """Stop tokens besides `eos_token_id`, for checkpoints whose end token is one of these or that name none."""
    length: int = 128
    """The default number of positions after the prompt."""
    block: int = 32
    """The default block size of the attention, if the config gives none."""
    settled: bool = False
    """Its checkpoints are those that do not mention diffusion and whose type and class belong together in
    transformers."""
    block_key: str = "block_size"
    """The key of the config with the block size."""
    window: int | None = None
    """Window size inside the attention blocks, whose size is then fixed; None: the blocks are the windows."""
    told: Mapping[str, Attention] = field(default_factory=dict)
    """Part of a checkpoint's name to its attention, if the config does not tell what it was trained for."""
    adapter: Adapt | None = None
    """Makes the `Model`; None: `TransformersModel` does."""
    example: str = ""
    """A checkpoint of it on the hub; for `causal`, one that a command of this library writes."""
    billions: float = 0.0
    """Parameters of that checkpoint in billions, as its authors count them."""
    sample: Mapping[str, Any] = field(default_factory=dict)
    """config.json of a tiny checkpoint that `decoders check` makes, under the keys of real checkpoints. Type,
    architecture and token ids may be left out."""
    reference: Reference | None = None
    """For `decoders check`: the authors' own forward, from config.json, the weights under their names in the files, and
    `tokens (L,)` long to (L, V) logits, exactly as it returns them. None: the transformers class, with the attention
    mask that is declared here."""

    @property
    def decoder(self) -> str:
        """The default strategy; for a model without a mask token, one that works on noise."""
        return "left_to_right" if self.attentions == ("causal",) else "gemma" if self.mask == "none" else "threshold"

    def attention(self, name: str) -> Attention:
        """The attention that a checkpoint was trained for, from its name, else the default."""
        return next((a for part, a in self.told.items() if part in name.lower()), self.attentions[0])

    def blocks(self, config: Mapping[str, Any], attention: Attention) -> tuple[int | None, int | None]:
        """The size of the windows, None for one window over the whole row, and the fixed block size of the attention,
        None if the blocks are the windows. Raises `UsageError` if the config has no valid block size under its key."""
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
        # Autoregression: Qwen3's layers with causal attention, so every commit rule generates one token after the
        # other. Checkpoints are those that `decoders bench versus -o RUN` writes.
        Family(
            "causal", (), (), "Qwen3ForCausalLM", settings=whole, shifted=True, attentions=("block",), length=64,
            block=1, window=1, example="RUN/ar",
        ),
        # LLaDA-8B-Base, -Instruct and 1.5. Config and weight names: charleschen-ml/pa-dllm configuration_llada.py,
        # Feng-Hong/WINO-DLLM modeling_llada.py; ids in the config.json of the 8B models: d_model 4096, mask 126336, EOS
        # 126081. EoT 126348: generate.py of ML-GSAI/LLaDA b7e6c35. LLaDA rotates in float32 (`rope_full_precision`) and
        # Llama in the model's dtype: in bfloat16 the two differ by rounding. Users of 1.5 report that it has the same
        # ids; no file was seen that confirms it.
        Family(
            "llada", ("llada",), ("LLaDAModelLM",), "LlamaForCausalLM", settings=llada, renames=LLADA_RENAMES,
            mask=126336, ends=(126081, 126348), example="GSAI-ML/LLaDA-8B-Instruct", billions=8,
        ),
        # LLaDA-MoE-7B-A1B: the type of LLaDA-8B and its own architecture. modeling_lladamoe.py and
        # configuration_lladamoe.py in ZHZisZZ/dllm ca17675 (dllm/pipelines/llada/models). Mask 156895: its card and
        # the converters to GGUF, its config gives none; EOS 156892.
        Family(
            "llada_moe", ("llada", "lladamoe"), ("LLaDAMoEModelLM",), "Qwen3MoeForCausalLM", settings=llada_moe,
            mask=156895, ends=(156892,), example="inclusionAI/LLaDA-MoE-7B-A1B-Instruct", billions=7,
        ),
        # iLLaDA-8B: its own type and names, grouped queries, tied head. A public copy of its modeling_illada.py; mask
        # 5: README of ML-GSAI/LLaDA, its config.json gives none. Its end token was not seen: it is taken from the
        # config.
        Family(
            "illada", ("illada",), ("ILLaDAForCausalLM",), "LlamaForCausalLM", settings=illada, mask=5,
            example="GSAI-ML/iLLaDA-8B-Instruct", billions=8,
        ),
        # Dream-7B and DiffuCoder-7B: modeling_dream.py in NVlabs/Fast-dLLM, which is Qwen2 with full attention and the
        # shift of its sampler. 151643 and 151645 are the end tokens of Qwen2.5's tokenizer; that DiffuCoder keeps them
        # is not confirmed. DreamForCausalLM of the same type (Dream reasoners: blocks, no shift) is another model.
        # DreamOn-7B is Dream with a token that requests one more position (<|expand|>, 151667), and its end token
        # requests one less: eval/evaluate.py and generator.py of DreamLM/DreamOn 8a0a549. The strategy `dreamon` obeys
        # them; no other strategy ever generates the first, just as the authors' code forbids it if no position is left.
        # Its config was not seen, and is assumed to be Dream's.
        Family(
            "dream", ("Dream",), ("DreamModel",), "Qwen2ForCausalLM", settings=dream, mask=151666, shifted=True,
            ends=(151643, 151645), example="Dream-org/Dream-v0-Instruct-7B", billions=7,
        ),
        # A2D, autoregressive models converted to bidirectional attention (Tiny-A2D): dllm/pipelines/a2d/models of
        # ZHZisZZ/dllm ca17675, which are Llama, Qwen2 and Qwen3 with only a padding mask; not shifted, and the mask
        # token is the tokenizer's (dllm/core/samplers). Checkpoints trained as BD3LM and as MDLM have the same config,
        # so the name decides; the block size 32 is in examples/a2d/README.md there, and blocks are counted from the
        # start of the row.
        Family(
            "a2d", ("a2d-qwen3", "a2d-qwen2", "a2d-llama"),
            ("A2DQwen3LMHeadModel", "A2DQwen2LMHeadModel", "A2DLlamaLMHeadModel"), "", mask="tokenizer",
            classes={f"A2D{x}LMHeadModel": f"{x}ForCausalLM" for x in ("Qwen3", "Qwen2", "Llama")},
            attentions=("bidirectional", "block"), told={"bd3lm": "block"},
            example="dllm-hub/Qwen3-0.6B-diffusion-bd3lm-v0.1", billions=0.6,
        ),
        # WeDLM-8B: Qwen3's names and layers, causal. It was trained to predict the next token, and also its masks,
        # which predict their own positions and are read after all known tokens (compute_ar_loss and compute_mlm_loss in
        # finetune/src/loss.py of Tencent/WeDLM c64417a). It is run as an autoregressive model, and `wedlm` is its own
        # decoding. Mask 151665, if the config gives none: wedlm/engine/model_runner.py and finetune/src/trainer.py
        # there.
        Family(
            "wedlm", ("wedlm",), ("WeDLMForCausalLM",), "Qwen3ForCausalLM", settings=wedlm, mask=151665, shifted=True,
            reordered=True, attentions=("causal",), block=1, example="tencent/WeDLM-8B-Instruct", billions=8,
        ),
        # Nemotron-Labs-Diffusion-3B, 8B and 14B: mlx_vlm/models/nemotron_labs_diffusion of Blaizzy/mlx-vlm 02c8784 (its
        # language.py and config.py), which follows the checkpoints' own code: Ministral 3 under the names `encoder`
        # and `diffusion_head`, mask 100, EOS 11. Blocks are counted from the end of the prompt; their positions see
        # each other and the causally computed text to their left, and output i predicts position i. In causal forwards
        # (`left_to_right`, `nemotron_linear`, all of `attention=causal`), output i predicts position i + 1. The
        # authors' code takes a block's first token from the causal forward, this library like the others of the block.
        Family(
            "nemotron", ("nemotron_labs_diffusion",), ("NemotronLabsDiffusionModel",),
            "Ministral3ForCausalLM", settings=nemotron, renames=NEMOTRON_RENAMES, mask=100,
            attentions=("block", "causal"), causal_context=True, causal_shift=True, block=32, ends=(11,),
            example="nvidia/Nemotron-Labs-Diffusion-3B", billions=3,
        ),
        # I-DLM-8B: SDAR's config with blocks of one position; training/model/Qwen3-8B-b1-allmasked in thuEcstasy/I-DLM
        # 3342a17, whose targets are the next positions, and inference/.../idlm_blockN.py, whose tokens have the
        # distribution of that causal prediction. It is run as an autoregressive model; its own decoding,
        # `introspective`, drafts at mask tokens. Its released config was not seen, and is assumed to be the training's.
        Family(
            "idlm", ("sdar",), ("SDARForCausalLM",), "Qwen3ForCausalLM", only={"block_size": 1}, settings=idlm,
            mask=151669, shifted=True, attentions=("causal",), block=1, example="yifanyu/I-DLM-8B", billions=8,
        ),
        # SDAR-1.7B to 8B: modeling_sdar.py and generate.py of JetAstra/SDAR; Qwen3's layers and names. Block and mask:
        # sglang's DLLM_PARAMS. Of the code of SDAR-30B-A3B only descriptions were read: Qwen3-MoE's layers and names,
        # not confirmed.
        Family(
            "sdar", ("sdar",), ("SDARForCausalLM",), "Qwen3ForCausalLM", settings=sdar, mask=151669,
            attentions=("block",), block=4, example="JetLM/SDAR-1.7B-Chat", billions=1.7,
        ),
        Family(
            "sdar_moe", ("sdar_moe",), ("SDARMoeForCausalLM",), "Qwen3MoeForCausalLM", settings=sdar, mask=151669,
            attentions=("block",), block=4, example="JetLM/SDAR-30B-A3B-Chat", billions=30,
        ),
        # Stable-DiffCoder-8B: a public copy of the checkpoints' class, in which every layer is Llama's; blocks of 4
        # positions that see each other, counted from the start of the row, mask 5, no shift (the defaults of its
        # `generate_block`). Its type is `llama`, so only the architecture identifies it.
        Family(
            "stable_diffcoder", (), ("StableDiffcoderForCausalLM",), "LlamaForCausalLM", mask=5,
            attentions=("block",), block=4, ends=(2,), example="ByteDance-Seed/Stable-DiffCoder-8B-Instruct",
            billions=8,
        ),
        # Fast-dLLM v2 (1.5B and 7B): public copies of modeling.py and configuration.py of the checkpoints, and
        # v2/run_chatbot.py of NVlabs/Fast-dLLM (small_block_size 8). Attention blocks are bd_size, counted from the
        # start of the row; mask 151665 and stop token 151645 are the defaults of its sampler.
        Family(
            "fast_dllm_v2", ("Fast_dLLM_Qwen",), ("Fast_dLLM_QwenForCausalLM",), "Qwen2ForCausalLM", settings=dream,
            mask=151665, shifted=True, attentions=("block",), block=32, block_key="bd_size", window=8, ends=(151645,),
            example="Efficient-Large-Model/Fast_dLLM_v2_7B", billions=7,
        ),
        # LLaDA2.0-mini and 2.1-mini: public copies of modeling_llada2_moe.py; block and mask: sglang's DLLM_PARAMS; end
        # token: pad and EOS 156892 in the same copies. LLaDA2.2, which also deletes and inserts positions
        # (delete_token_id 156930, split_token_id 156931; joint_threshold_indel.py in sgl-project/sglang 0fbe7e4), is
        # refused: every block of 32 tokens keeps 48 of its 256 experts, by their best score in the block, and each
        # token takes 8 of these (pull request 31768 of sgl-project/sglang; README and src/diffuse-moe-graph.cpp of
        # Akicou/diffuse-cpp b799157, which follow the checkpoint's code; that code itself was not seen).
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
        # MDLM's config are those of a public copy of its checkpoint's own code. The mask is the id after GPT-2's last
        # token, 50257, and 50256 separates texts; neither checkpoint has a tokenizer. Blocks are counted from the start
        # of the row, and their positions see each other, as in BD3-LM's forward with `sample_mode`.
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
        # checkpoints on the hub use mask tokens, and one that was trained on the uniform graph has no mask token.
        Family(
            "sedd", (), (), "", network=dit, keys=("graph", "noise", "model", "tokens"), settings=sedd, mask="last",
            tokenizer=GPT2, ends=(50256,), adapter=scores, example="louaaron/sedd-small", billions=0.17,
        ),
        # Masked language models of transformers (BERT, ModernBERT, RoBERTa, DistilBERT ...). Many of their files also
        # contain poolers and next-sentence heads, which are not used.
        Family(
            "masked_lm", (), ("*ForMaskedLM",), "", settings=whole, mask="tokenizer", length=64,
            spare=r"pooler\.|seq_relationship\.|position_ids$|inv_freq$|\.decoder\.(weight|bias)$", adapter=encoder,
            example="answerdotai/ModernBERT-base", billions=0.15,
        ),
        # Autoregressive models of transformers (Llama, SmolLM2, Qwen2 and 3, OLMo ...). The module `causal` refuses
        # those that cannot be run with the attention masks of this library.
        Family(
            "causal_lm", (), ("*ForCausalLM",), "", settings=whole, mask="none", shifted=True, attentions=("causal",),
            block=1, settled=True, example="HuggingFaceTB/SmolLM2-360M-Instruct", billions=0.36,
        ),
    )
}
