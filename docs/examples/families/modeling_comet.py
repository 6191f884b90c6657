"""The code of a model, as its makers publish it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat([-high, low], -1) * sin


class Block(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        h = self.norm_1(x)  # (L, width)
        q, k, v = (f(h).unflatten(-1, (self.heads, -1)).transpose(0, 1) for f in (self.q, self.k, self.v))
        seen = scaled_dot_product_attention(rotated(q, cos, sin), rotated(k, cos, sin), v)
        x = x + self.out(seen.transpose(0, 1).flatten(1))
        h = self.norm_2(x)
        return x + self.down(silu(self.gate(h)) * self.up(h))


class Comet(nn.Module):
    """Everything sees everything."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, heads = config["d_model"], config["n_heads"]
        self.embed = nn.Embedding(config["vocab_size"], width)
        self.blocks = nn.ModuleList(Block(width, heads, config["d_inner"]) for _ in range(config["n_layers"]))
        self.norm, self.head = nn.RMSNorm(width, eps=1e-5), nn.Linear(width, config["vocab_size"], bias=False)
        self.angle = config["rope_base"] ** -(torch.arange(0, width // heads, 2) / (width // heads))

    def forward(self, tokens: Tensor) -> Tensor:  # (L,) long to (L, V)
        angle = (torch.arange(len(tokens))[:, None] * self.angle).repeat(1, 2)
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, angle.cos(), angle.sin())
        return self.head(self.norm(x))
