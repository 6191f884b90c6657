"""The two networks of nano-latent: a denoiser in LangFlow's form, and its rounder.

Each class has the layers around a stack like Qwen3's: the embedded model uses that of transformers, and its training
another one with the same names of weights. The denoiser reads tokens causally up to the start of the latents, which see
the whole row; so the keys and values of a prompt do not change between forwards. The rounder sees all clean latents,
and the tokens left of each position; it does not see the prompt. The similarity of a latent to each token's latent is
added to the logits of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from decoders.models.latent.model import prior

FREQUENCIES = 32
NEAREST = 8.0
"""The initial weight of the nearest token in the rounder's logits."""


class Denoiser(nn.Module):
    """The ends of the network around `body`, whose positions are `config["hidden_size"]` wide."""

    def __init__(self, config: Mapping[str, Any], body: nn.Module) -> None:
        super().__init__()
        vocab, hidden, latent = config["vocab_size"], config["hidden_size"], config["latent_size"]
        self.body = body
        self.embedding = nn.Parameter(torch.randn(vocab, latent))
        self.inp, self.said = (nn.Linear(latent, hidden, bias=False) for _ in range(2))
        self.time = nn.Linear(2 * FREQUENCIES, hidden, bias=False)
        self.kind = nn.Parameter(torch.randn(hidden) / 2)
        self.head = nn.Linear(hidden, vocab)
        nn.init.normal_(self.inp.weight, std=0.5 * latent**-0.5)
        for quiet in (self.said.weight, self.time.weight, self.head.weight, self.head.bias):
            nn.init.zeros_(quiet)

    @property
    def table(self) -> Tensor:
        """(V, D), of unit norm."""
        return functional.normalize(self.embedding, dim=-1)

    def shown(self, z: Tensor, said: Tensor, level: Tensor) -> Tensor:
        """(B, L, H): what the body takes for the latents `z (B, L, D)` at the levels `level (B,)`, of which it last
        said `said (B, L, D)`."""
        latent, level = z.shape[-1], level.float()
        scale = ((-level).sigmoid() / latent + level.sigmoid()).rsqrt().to(z.dtype)[:, None, None]
        angle = torch.linspace(-5, 5, FREQUENCIES, device=z.device).exp() * level[:, None]
        time = self.time(torch.cat([angle.sin(), angle.cos()], -1).to(z.dtype))[:, None]
        found: Tensor = self.inp(z * scale) + self.said(said * latent**0.5) + time + self.kind
        return found

    def logits(self, said: Tensor, z: Tensor, level: Tensor) -> Tensor:
        """(B, L, V) from what the head says of what the body makes of them, `said (B, L, V)`."""
        return said + prior(z, level.float(), self.table)


class Rounder(nn.Module):
    """The ends of the rounder's network around `body`."""

    def __init__(self, config: Mapping[str, Any], body: nn.Module) -> None:
        super().__init__()
        vocab, hidden, latent = config["vocab_size"], config["hidden_size"], config["latent_size"]
        self.body = body
        self.inp = nn.Linear(latent, hidden, bias=False)
        self.kind = nn.Parameter(torch.randn(hidden) / 2)
        self.head = nn.Linear(hidden, vocab, bias=False)
        self.near = nn.Parameter(torch.tensor([NEAREST]))
        nn.init.normal_(self.inp.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.02)

    def shown(self, clean: Tensor, embedded: Tensor) -> Tensor:
        """(B, 2W, H): what the body takes for the latents `clean (B, W, D)`, and behind them for the tokens left of
        each position, `embedded (B, W, H)`."""
        return torch.cat([self.inp(clean) + self.kind, embedded], 1)

    def logits(self, said: Tensor, clean: Tensor, table: Tensor) -> Tensor:
        """(B, W, V) from what the head says of what the body makes of the tokens, `said (B, W, V)`."""
        found: Tensor = said + self.near * (clean @ table.T)
        return found


def rounder_sees(there: Tensor) -> Tensor:
    """(B, 2W, 2W) bool: what the latents and the tokens of the positions that are `there (B, W)` see: all latents, and
    the tokens up to themselves."""
    W, both = there.shape[1], there.repeat(1, 2)
    i = torch.arange(2 * W, device=there.device)
    causal = (i < W) | ((i[:, None] >= W) & (i <= i[:, None]))
    return causal & both[:, None] | (i == i[:, None])
