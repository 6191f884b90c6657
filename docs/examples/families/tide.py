"""A family whose attention goes in blocks."""

from decoders import Family

TIDE = Family(
    "tide",
    types=("tide",),
    architectures=("TideForBlockDiffusion",),
    native="Qwen3ForCausalLM",  # whose names and keys its checkpoints have
    attentions=("block",),  # a block sees itself and what is left of it
    block=4,  # where config.json does not say block_length
    block_key="block_length",
    shifted=True,  # output i predicts position i + 1
    sample={
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 48, "vocab_size": 112, "max_position_embeddings": 256, "block_length": 8,
    },
)
