"""Fast-dLLM's own loops and network: the directory `llada` of a checkout of NVlabs/Fast-dLLM, given as the argument."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # it compiles one call of attention, which takes seconds and saves none
ROOT = Path(sys.argv[1]) / "llada"
sys.path.insert(0, str(ROOT))

import generate  # noqa: E402
import torch  # noqa: E402
from model import LLaDAConfig, LLaDAModelLM  # noqa: E402
from networks import network  # noqa: E402
from serving import Counted, Decode, Job, serve  # noqa: E402

INNER = {
    "self_attn.q_proj": "q_proj", "self_attn.k_proj": "k_proj", "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out", "mlp.gate_proj": "ff_proj", "mlp.up_proj": "up_proj", "mlp.down_proj": "ff_out",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ff_norm",
}
OUTER = {"model.embed_tokens": "wte", "model.norm": "ln_f", "lm_head": "ff_out"}


def renamed(name: str) -> str:
    """LLaDA's name of a weight of Llama."""
    own = name.removesuffix(".weight")
    if own in OUTER:
        return f"model.transformer.{OUTER[own]}.weight"
    _, _, layer, part = own.split(".", 3)
    return f"model.transformer.blocks.{layer}.{INNER[part]}.weight"


def own_network(job: Job) -> Any:
    """Their network class with the weights of the job's network."""
    net = network(job)
    c = net.config
    config = LLaDAConfig(
        d_model=c.hidden_size, n_heads=c.num_attention_heads, n_layers=c.num_hidden_layers,
        mlp_hidden_size=c.intermediate_size, vocab_size=c.vocab_size, embedding_size=c.vocab_size, block_type="llama",
        layer_norm_type="rms", rms_norm_eps=c.rms_norm_eps, activation_type="silu", rope=True,
        rope_theta=c.rope_parameters["rope_theta"], max_sequence_length=c.max_position_embeddings, weight_tying=False,
        eos_token_id=None, pad_token_id=None, mask_token_id=job["mask"],
    )
    config.use_cache = False  # it expects an older transformers, whose configs had this entry
    own = LLaDAModelLM(config).eval()
    own.load_state_dict({renamed(name): x for name, x in net.state_dict().items()}, assign=True)
    return own


def blocks(job: Job) -> Decode:
    """One of its three loops, by name."""
    own = own_network(job)
    count = Counted(own)
    options = dict(job["options"])
    loop = getattr(generate, options.pop("loop"))

    def decode(prompt: list[int], draws: Any) -> tuple[list[int], int]:
        count.times = 0
        out, _ = loop(
            own, torch.tensor([prompt]), gen_length=job["length"], block_length=job["block"], mask_id=job["mask"],
            **options,
        )
        return out[0, len(prompt) :].tolist(), count.times

    return decode


if __name__ == "__main__":
    serve(blocks, ["einops"], files=[ROOT / "generate.py", ROOT / "model" / "modeling_llada.py"])
