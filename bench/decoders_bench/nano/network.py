"""The network of the embedded model in plain torch: that of transformers' `Qwen3ForCausalLM`, with the same names of
weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

EPS, THETA = 1e-6, 10_000.0


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


Turn = tuple[Tensor, Tensor]
"""Cosines and sines (N, 1, T, size / 2) of the angles of positions."""


def turn(position: Tensor, size: int) -> Turn:
    """The rotary angles of `position (N, T)`, for heads of `size` (Su et al. 2021, 2104.09864)."""
    rate = THETA ** -(torch.arange(0, size, 2, device=position.device).float() / size)
    angle = (position[..., None].float() * rate)[:, None]
    return angle.cos(), angle.sin()


def turned(x: Tensor, by: Turn) -> Tensor:
    """`x (N, heads, T, size)`, rotated: the first half of each head with the second."""
    (a, b), (cos, sin) = x.chunk(2, -1), by
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Attention(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (linear(hidden, hidden) for _ in range(4))
        self.q_norm, self.k_norm = (nn.RMSNorm(hidden // heads, EPS) for _ in range(2))

    def forward(self, x: Tensor, by: Turn, sees: Tensor) -> Tensor:
        """(N, T, D) from (N, T, D); `sees (N, T, T)` bool."""
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)) for f in (self.q_proj, self.k_proj, self.v_proj))
        q, k = (turned(norm(y.float()).transpose(1, 2), by) for norm, y in ((self.q_norm, q), (self.k_norm, k)))
        kind = torch.float32 if x.device.type == "cpu" else torch.bfloat16  # bfloat16 has slow gradients on a CPU
        with torch.autocast(x.device.type, enabled=False):
            seen = scaled_dot_product_attention(q.to(kind), k.to(kind), v.to(kind).transpose(1, 2), sees[:, None])
        out: Tensor = self.o_proj(seen.transpose(1, 2).flatten(2))
        return out


class Gated(nn.Module):
    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (
            linear(hidden, inner),
            linear(hidden, inner),
            linear(inner, hidden),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(hidden, heads), Gated(hidden, inner)
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(hidden, EPS) for _ in range(2))

    def forward(self, x: Tensor, by: Turn, sees: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), by, sees)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Body(nn.Module):
    def __init__(self, vocab: int, hidden: int, layers: int, heads: int, inner: int) -> None:
        super().__init__()
        self.size = hidden // heads
        self.embed_tokens = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads, inner) for _ in range(layers))
        self.norm = nn.RMSNorm(hidden, EPS)

    def forward(self, tokens: Tensor, position: Tensor, sees: Tensor) -> Tensor:
        """(N, T, D) the last hidden states of `tokens (N, T)` at `position (N, T)`, with the attention mask `sees (N,
        T, T)`."""
        return self.through(self.embed_tokens(tokens), position, sees)

    def through(self, x: Tensor, position: Tensor, sees: Tensor) -> Tensor:
        """The same for embeddings `x (N, T, D)` instead of tokens."""
        by = turn(position, self.size)
        for layer in self.layers:
            x = layer(x, by, sees)
        states: Tensor = self.norm(x)
        return states


class Network(nn.Module):
    """`lm_head` maps the output of `model` to the logits."""

    def __init__(self, vocab: int, hidden: int, layers: int, heads: int, inner: int) -> None:
        super().__init__()
        self.model, self.lm_head = Body(vocab, hidden, layers, heads, inner), linear(hidden, vocab)


def config_of(vocab: int, hidden: int, layers: int, heads: int, inner: int, end: int, mask: int) -> dict[str, object]:
    """The config.json of a checkpoint, for transformers and this library."""
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "diffusion_family": "nano", "mask_token_id": mask,
        "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads, "head_dim": hidden // heads, "hidden_act": "silu", "rms_norm_eps": EPS,
        "attention_bias": False,
        "rope_parameters": {"rope_theta": THETA, "rope_type": "default"}, "max_position_embeddings": 1024,
        "tie_word_embeddings": False,
        "bos_token_id": None, "eos_token_id": end, "pad_token_id": end, "dtype": "bfloat16",
    }  # fmt: skip
