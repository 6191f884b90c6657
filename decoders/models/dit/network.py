"""The diffusion transformer of SEDD, MDLM and BD3-LM in plain torch, as a class that transformers reads weights into.

Its layers are those of a DiT (Peebles and Xie 2023, 2212.09748): a linear layer computes from the noise level the scale
and the shift of each norm, and the scale of each layer's output. Positions are rotary. The names of the modules are
those of the weights in the checkpoints.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention, silu
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from decoders.models.nano.network import rotated, turns
from decoders.models.store import Store

FREQUENCIES, PERIOD, THETA, WIDENING = 256, 10000.0, 10000.0, 4
"""Fixed in the code of all three: sines and cosines of the noise level and the longest period among them, the base of
the rotation, and how much wider than the network its feedforward layers are."""


class DitConfig(PreTrainedConfig):
    """Sizes, under transformers' usual names. `least` and `most`: the noise levels between which it was trained; None:
    it gets no noise level."""

    model_type = "dit"

    def __init__(
        self, vocab_size: int = 50258, hidden_size: int = 768, cond_dim: int = 128, num_hidden_layers: int = 12,
        num_attention_heads: int = 12, max_position_embeddings: int = 1024, least: float | None = None,
        most: float | None = None, initializer_range: float = 0.02, **rest: Any,
    ) -> None:
        self.vocab_size, self.hidden_size, self.cond_dim = vocab_size, hidden_size, cond_dim
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.max_position_embeddings, self.initializer_range = max_position_embeddings, initializer_range
        self.least, self.most = least, most
        super().__init__(**{"tie_word_embeddings": False, **rest})


class Table(nn.Module):
    """The embedding of the tokens."""

    def __init__(self, rows: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(rows, size))

    @property
    def weight(self) -> nn.Parameter:
        """By the name that transformers has for it."""
        return self.embedding

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embedding[tokens]


class Norm(nn.Module):
    """A layer norm without a bias."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight.shape, self.weight)


class NoiseLevel(nn.Module):
    """A vector for each noise level (B,)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(FREQUENCIES, size), nn.SiLU(), nn.Linear(size, size))

    def forward(self, level: Tensor) -> Tensor:
        half = FREQUENCIES // 2
        steps = torch.arange(half, dtype=torch.float32, device=level.device)
        angle = level.float()[:, None] * torch.exp(-math.log(PERIOD) * steps / half)
        waves = torch.cat([angle.cos(), angle.sin()], -1)
        return silu(self.mlp(waves.to(next(self.mlp.parameters()).dtype)))


class Block(nn.Module):
    def __init__(self, c: DitConfig) -> None:
        super().__init__()
        size = c.hidden_size
        self.heads = c.num_attention_heads
        self.norm1, self.norm2 = Norm(size), Norm(size)
        self.attn_qkv, self.attn_out = nn.Linear(size, 3 * size, bias=False), nn.Linear(size, size, bias=False)
        wide = WIDENING * size
        self.mlp = nn.Sequential(nn.Linear(size, wide), nn.GELU(approximate="tanh"), nn.Linear(wide, size))
        self.adaLN_modulation = nn.Linear(c.cond_dim, 6 * size)

    def forward(
        self, x: Tensor, told: Tensor, turn: tuple[Tensor, Tensor], bias: Tensor | None, store: Store | None,
        layer: int, maps: list[Tensor] | None,
    ) -> Tensor:
        a, b, gate, c, d, late = self.adaLN_modulation(told)[:, None].chunk(6, -1)
        mixed = self.attention(self.norm1(x) * (1 + b) + a, turn, bias, store, layer, maps)
        x = x + gate * self.attn_out(mixed)
        return x + late * self.mlp(self.norm2(x) * (1 + d) + c)  # type: ignore[no-any-return]

    def attention(
        self, x: Tensor, turn: tuple[Tensor, Tensor], bias: Tensor | None, store: Store | None, layer: int,
        maps: list[Tensor] | None,
    ) -> Tensor:
        """(B, M, D) the joined outputs of the heads; with `maps`, their weights (B, H, M, K) are stored there."""
        q, k, v = self.attn_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotated(q, *turn), rotated(k, *turn)
        if store is not None:
            k, v = store.update(k, v, layer)
        if maps is not None:
            score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
            maps.append((score if bias is None else score + bias).softmax(-1))
        return scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


class Output(nn.Module):
    """The last norm and the head."""

    def __init__(self, c: DitConfig) -> None:
        super().__init__()
        self.norm_final = Norm(c.hidden_size)
        self.linear = nn.Linear(c.hidden_size, c.vocab_size)
        self.adaLN_modulation = nn.Linear(c.cond_dim, 2 * c.hidden_size)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """The input of the head."""
        shift, scale = self.adaLN_modulation(told)[:, None].chunk(2, -1)
        return self.norm_final(x) * (1 + scale) + shift  # type: ignore[no-any-return]


class Backbone(PreTrainedModel):
    """All of it, up to the head's matrix."""

    config_class = DitConfig
    config: DitConfig

    def __init__(self, config: DitConfig) -> None:
        super().__init__(config)
        self.vocab_embed = Table(config.vocab_size, config.hidden_size)
        self.sigma_map = NoiseLevel(config.cond_dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.output_layer = Output(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None,
        past_key_values: Store | None = None, use_cache: bool = False, output_attentions: bool = False,
        level: Tensor | None = None,
    ) -> BaseModelOutput:
        """`input_ids` and `position_ids` (B, M) long; `attention_mask` (B, 1, M, K) is added to the scores of the
        attention, none: everything sees everything; `past_key_values`: a store of K columns; `level` (B,): the noise
        levels, none: 0."""
        x = self.vocab_embed(input_ids)
        told = self.sigma_map(torch.zeros_like(input_ids[:1, 0]) if level is None else level)
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=x.device)[None]
        turn = turns(position_ids, self.config.hidden_size // self.config.num_attention_heads, THETA, x.dtype)
        maps: list[Tensor] | None = [] if output_attentions else None
        store = past_key_values if use_cache else None
        for i, block in enumerate(self.blocks):
            x = block(x, told, turn, attention_mask, store, i, maps)
        attentions: Any = None if maps is None else tuple(maps)
        return BaseModelOutput(last_hidden_state=self.output_layer(x, told), attentions=attentions)


class Dit(PreTrainedModel):
    """With its head."""

    config_class = DitConfig
    config: DitConfig
    base_model_prefix = "backbone"

    def __init__(self, config: DitConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        return self.backbone.vocab_embed

    def get_output_embeddings(self) -> nn.Module:
        return self.backbone.output_layer.linear

    def forward(self, input_ids: Tensor, **how: Any) -> CausalLMOutput:
        """`how` as of `Backbone`."""
        hidden = self.backbone(input_ids, **how).last_hidden_state
        logits: Any = self.backbone.output_layer.linear(hidden)
        return CausalLMOutput(logits=logits)

    def once(self) -> list[nn.Parameter]:
        """The weights of layers that run once per row, and not once per position."""
        parts = [m for name, m in self.named_modules() if name.endswith(("sigma_map", "adaLN_modulation"))]
        return [p for m in parts for p in m.parameters()]
