"""Networks of equal shape computed together: one batched product instead of one for each network.

Training many small networks is limited by the launch rate of a device's kernels, so all twins of a run are computed
together. Each is numerically equal to a `decoders_bench.nano.network.Network` of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, rms_norm, scaled_dot_product_attention, silu

from decoders_bench.nano.network import EPS, Turn, turn, turned


class Stack(nn.Module):
    """`weights`: those of E networks, by the names in a network with `/` for the dots, each (E, ...)."""

    def __init__(self, networks: Sequence[Mapping[str, Tensor]], heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.layers = sum(name.endswith("q_proj.weight") for name in networks[0])
        self.weights = nn.ParameterDict(
            {name.replace(".", "/"): torch.stack([own[name] for own in networks]) for name in networks[0]}
        )

    def weight(self, name: str) -> Tensor:
        found: Tensor = self.weights[name.replace(".", "/") + "/weight"]
        return found

    def network(self, number: int) -> dict[str, Tensor]:
        """The weights of one network."""
        return {name.replace("/", "."): x[number].detach() for name, x in self.weights.items()}

    @property
    def matrices(self) -> list[nn.Parameter]:
        """The weight matrices of the layers, (E, R, C)."""
        return [p for name, p in self.weights.items() if p.dim() == 3 and name.startswith("model/layers")]

    @property
    def rest(self) -> list[nn.Parameter]:
        """The embedding tables and the norms."""
        return [p for name, p in self.weights.items() if p.dim() == 2 or not name.startswith("model/layers")]

    def norm(self, x: Tensor, name: str) -> Tensor:
        """The norm of `x (E, ..., D)`."""
        w = self.weight(name)
        return rms_norm(x, x.shape[-1:], eps=EPS) * w.view(len(w), *(1,) * (x.dim() - 2), -1)

    def linear(self, x: Tensor, name: str) -> Tensor:
        """(E, M, O) for `x (E, M, I)`."""
        return torch.bmm(x, self.weight(name).mT)

    def attention(self, x: Tensor, by: Turn, sees: Tensor, layer: str) -> Tensor:
        """Attention for `x (E, N * T, D)`; `sees (E * N, 1, T, T)` bool."""
        E, T = len(x), sees.shape[-1]
        q, k, v = (self.linear(x, f"{layer}.{w}_proj").unflatten(-1, (self.heads, -1)) for w in "qkv")
        q, k = self.norm(q.float(), f"{layer}.q_norm"), self.norm(k.float(), f"{layer}.k_norm")
        q, k, v = (y.flatten(0, 1).unflatten(0, (-1, T)).transpose(1, 2) for y in (q, k, v))  # (E * N, heads, T, size)
        kind = torch.float32 if x.device.type == "cpu" else torch.bfloat16  # bfloat16 has slow gradients on a CPU
        with torch.autocast(x.device.type, enabled=False):
            seen = scaled_dot_product_attention(turned(q, by).to(kind), turned(k, by).to(kind), v.to(kind), sees)
        return self.linear(seen.transpose(1, 2).flatten(2).view(E, -1, x.shape[-1]), f"{layer}.o_proj")

    def forward(self, tokens: Tensor, position: Tensor, sees: Tensor) -> Tensor:
        """(E, N * T, D) the last hidden states of `tokens (E, N, T)` at `position (E, N, T)`, with the attention mask
        `sees (E, N, T, T)`."""
        table = self.weight("model.embed_tokens")
        E, V, D = table.shape
        offset = V * torch.arange(E, device=tokens.device)[:, None]
        x = embedding(tokens.flatten(1) + offset, table.flatten(0, 1))
        by, seen = turn(position.flatten(0, 1), D // self.heads), sees.flatten(0, 1)[:, None]
        for i in range(self.layers):
            own = f"model.layers.{i}"
            x = x + self.attention(self.norm(x, f"{own}.input_layernorm"), by, seen, f"{own}.self_attn")
            y = self.norm(x, f"{own}.post_attention_layernorm")
            x = x + self.linear(
                silu(self.linear(y, f"{own}.mlp.gate_proj")) * self.linear(y, f"{own}.mlp.up_proj"),
                f"{own}.mlp.down_proj",
            )
        return self.norm(x, "model.norm")

    def logits(self, states: Tensor, at: Tensor) -> Tensor:
        """(E, C, V) at the columns `at (E, C)` of `states (E, N * T, D)`."""
        return self.linear(states.gather(1, at[..., None].expand(-1, -1, states.shape[-1])), "lm_head")
