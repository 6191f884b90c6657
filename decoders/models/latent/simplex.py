"""SSD-LM (Han et al. 2022, 2210.17432): latents as wide as the vocabulary, denoised in blocks from left to right.

At a position stands a number for each token, +1 for those that are there and -1 for the others, under noise; RoBERTa
reads their softmax as a mean of embeddings, with the time added, and the text left of the block as it is. The clean
latent is its prediction cut to a nucleus. Names of files and of weights are those of its checkpoints (xhan77/ssd-lm
c0b6761); written from its formulas. What is no setting there is the default of its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from decoders.core import Forward, Pred, Space, UsageError
from decoders.models.latent.layers import step_of
from decoders.models.latent.model import WholeRows
from decoders.stats import betas

STEPS, OFFSET = 1000, 1e-4  # of training, and of its cosine schedule
BLOCK = 25
SHARP = 3.0
"""What the numbers are multiplied by before their softmax."""
NUCLEUS = 0.2
MOST = 1 << 23
"""Numbers that the latents of one block may have."""


def levels() -> tuple[float, ...]:
    """gamma after each step of training, from noise to text."""
    left = betas.cosine(OFFSET)(torch.arange(STEPS + 1, dtype=torch.float64) / STEPS)
    return betas.gammas((left / left[0])[1:])


def projected(logits: Tensor) -> Tensor:
    """Like `logits (..., V)`: +1 for the likeliest tokens up to a probability of `NUCLEUS`, the likeliest one among
    them, and -1 for the others."""
    likely, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
    kept = likely.cumsum(-1) - likely < NUCLEUS
    return torch.full_like(logits, -1.0).scatter(-1, order, torch.where(kept, 1.0, -1.0).to(logits.dtype))


class SimplexModel(WholeRows):
    """A masked language model of transformers with the two layers that read latents and time. Raises `UsageError` if
    a block of its latents is larger than `MOST`."""

    block_causal = True

    def __init__(
        self, model: nn.Module, extra: Mapping[str, Mapping[str, Tensor]], stop_ids: tuple[int, ...] = ()
    ) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.embed, self.time = extra["embed_sum_layer"]["weight"], extra["timestep_layer"]
        self.vocab, self.stop_ids = int(self.embed.shape[1]), stop_ids
        if self.vocab * BLOCK > MOST:
            raise UsageError(
                f"this is a checkpoint of SSD-LM, whose latents are as wide as its vocabulary of {self.vocab}: that is "
                f"too wide for blocks of {BLOCK}"
            )
        self.levels = levels()
        self.space = Space(self.vocab, self.levels, discrete=True)

    @property
    def device(self) -> torch.device:
        return self.embed.device

    @torch.inference_mode()
    def forward(self, f: Forward) -> Pred:
        assert f.latents is not None
        assert f.level is not None
        (B, L), W = f.tokens.shape, f.at.shape[1]
        here, width = f.at[..., None], self.embed.shape[0]
        time = (step_of(self.levels, f.level) + 1) / STEPS
        told = time.to(self.embed)[:, None] @ self.time["weight"].T + self.time["bias"]
        noisy = (SHARP * f.latents.z.to(self.embed)).softmax(-1) @ self.embed.T + told[:, None]
        given = f.given.gather(1, f.at)[..., None]
        text = self.model.get_input_embeddings()(f.tokens)
        block = torch.where(given, text.gather(1, here.expand(-1, -1, width)), noisy)
        end = f.until.gather(1, f.at[:, :1])
        there = torch.arange(L, device=f.tokens.device) < end
        row = text.scatter(1, here.expand(-1, -1, width), block)[:, : L - 1]  # less the bin
        logits = self.model(inputs_embeds=row, attention_mask=there[:, : L - 1].long()).logits
        logits = logits.gather(1, here.clamp(max=L - 2).expand(-1, -1, self.vocab))
        columns = torch.where(f.want.any(-1), there.sum(-1), 0)
        return Pred(logits, f.place, W, (columns, torch.zeros(B, device=end.device).double()), point=projected(logits))
