"""nano's network in plain torch: the decoder layers of Qwen3 (arXiv 2505.09388) and a head of its own.

Every operation is the one that transformers' `Qwen3ForCausalLM` does there, in the same order and precision, so that
the logits are the same bits; the test compares them. It leaves out what other models need: dropout, gradients, grouped
queries, sliding windows, other implementations of attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, scaled_dot_product_attention, silu

from decoders.models.store import Store


class Matrix(nn.Module):
    """A linear layer without a bias, or the table of an embedding. Its weights are not initialised, because they are
    read: this uses neither torch's generator nor the meta device, which imports a large part of torch."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, columns))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)


class Norm(nn.Module):
    """RMSNorm, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class Attention(nn.Module):
    """Attention with a norm on each head's queries and keys, whose positions are told by rotation."""

    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.size = c.head_dim
        inner = c.num_attention_heads * c.head_dim
        self.q_proj, self.k_proj, self.v_proj = (Matrix(inner, c.hidden_size) for _ in range(3))
        self.o_proj = Matrix(c.hidden_size, inner)
        self.q_norm, self.k_norm = (Norm(c.head_dim, c.rms_norm_eps) for _ in range(2))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, store: Store | None, layer: int) -> Tensor:
        shape = *x.shape[:2], -1, self.size
        q = rotated(self.q_norm(self.q_proj(x).view(shape)).transpose(1, 2), cos, sin)
        k = rotated(self.k_norm(self.k_proj(x).view(shape)).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(shape).transpose(1, 2)
        if store is not None:
            k, v = store.update(k, v, layer)
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.size**-0.5)
        return self.o_proj(mixed.transpose(1, 2).reshape(*x.shape[:2], -1))  # type: ignore[no-any-return]


class Feedforward(nn.Module):
    """SwiGLU."""

    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (Matrix(c.intermediate_size, c.hidden_size) for _ in range(2))
        self.down_proj = Matrix(c.hidden_size, c.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Layer(nn.Module):
    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(c), Feedforward(c)
        self.input_layernorm, self.post_attention_layernorm = (Norm(c.hidden_size, c.rms_norm_eps) for _ in range(2))

    def forward(self, x: Tensor, *told: Any) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), *told)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Body(nn.Module):
    """All but the head."""

    def __init__(self, c: SimpleNamespace) -> None:
        super().__init__()
        self.embed_tokens = Matrix(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)


class Network(nn.Module):
    """The whole, with the names that `TransformersModel` and the weights of the checkpoint have for its parts."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config`: config.json, of a Qwen3 with as many heads of keys and values as of queries."""
        super().__init__()
        self.config = told = SimpleNamespace(**config)
        told.get_text_config = lambda: told
        self.model = Body(self.config)
        self.lm_head = Matrix(self.config.vocab_size, self.config.hidden_size)

    @classmethod
    def read(cls, config: Mapping[str, Any], weights: Path, dtype: torch.dtype = torch.float32) -> Network:
        """With the weights of a file of safetensors. Raises `RuntimeError` unless they are just those of the network,
        and `OSError` or `safetensors.SafetensorError` if the file cannot be read."""
        from safetensors.torch import load_file

        made = cls(config)
        made.load_state_dict({name: x.to(dtype) for name, x in load_file(weights).items()}, assign=True)
        return made.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def forward(self, tokens: Tensor, position: Tensor, bias: Tensor, store: Store | None) -> Tensor:
        """(B, M, D) the last hidden states of `tokens (B, M)` at `position (B, M)`; attention adds `bias (B, 1, M, K)`
        to its scores, or what broadcasts to that; K columns are stored, or without a store M."""
        x = embedding(tokens, self.model.embed_tokens.weight)
        cos, sin = turns(position, self.config.head_dim, self.config.rope_parameters["rope_theta"], x.dtype)
        for i, layer in enumerate(self.model.layers):
            x = layer(x, cos, sin, bias, store, i)
        return self.model.norm(x)  # type: ignore[no-any-return]


def turns(position: Tensor, size: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(B, 1, M, D) cosines and sines of the rotation of heads of `size` D at `position (B, M)`, to the base `theta`.
    They are computed in float32 where `dtype` is no wider."""
    wide = torch.promote_types(dtype, torch.float)
    slow = 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.float, device=position.device) / size)
    angle = (position[..., None].to(wide) * slow.to(wide)).repeat(1, 1, 2)[:, None]
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads `x (B, H, M, D)`, whose dimensions i and i + D / 2 turn together."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin
