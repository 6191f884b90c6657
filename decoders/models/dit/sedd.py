"""SEDD's network as a `Model`: its scores are read as probabilities, and its noise level is read off the row. Lou, Meng
and Ermon 2024, 2310.16834; `Absorbing` in graph_lib.py of louaaron/Score-Entropy-Discrete-Diffusion 0605786.

- Scores. At a masked position the network gives the logarithm of s(y) = p(x with y there) / p(x). In the absorbing
  process that is p(y | what is not masked) / (exp(sigma) - 1), so what differs between tokens is the logarithm of their
  probabilities, and the official code subtracts log(exp(sigma) - 1) and a constant from all of them alike. The logits
  here are those before it does: their softmax over the tokens, without the mask, is what its scores say.
- Noise level. The network is told sigma, by which a position is masked with probability 1 - exp(-sigma). Decoders here
  have no time: sigma is the one under which as many positions of the row are masked as are masked, which is its
  estimate of maximum likelihood, within the levels of the training.
- Nothing is stored, because keys and values depend on the noise level, and every forward changes it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from decoders.models.dit.network import Dit
from decoders.models.rows import RowModel, RowWork
from decoders.models.work import Work


class SeddModel(RowModel):
    """A `Dit` that is told a noise level."""

    def __init__(self, model: Dit, *, mask_id: int, stop_ids: tuple[int, ...] = ()) -> None:
        self.model: Dit = model.eval()  # type: ignore[no-untyped-call]
        self.mask_id: int | None = mask_id
        self.stop_ids = stop_ids
        self.vocab = int(model.config.vocab_size)
        self.positions = int(model.config.max_position_embeddings)
        work, layers = Work.of(model), model.config.num_hidden_layers
        self.work = RowWork(work.column, work.pair / layers, (None,) * layers, work.row)

    def states(self, tokens: Tensor, end: Tensor) -> Tensor:
        inside = torch.arange(tokens.shape[1], device=tokens.device) < end[:, None]
        dtype = self.model.dtype
        bias = torch.zeros(inside.shape, dtype=dtype, device=tokens.device).masked_fill(~inside, torch.finfo(dtype).min)
        out = self.model.backbone(tokens, attention_mask=bias[:, None, None], level=self.level(tokens, inside))
        return cast(Tensor, out.last_hidden_state)

    def level(self, tokens: Tensor, inside: Tensor) -> Tensor:
        """(B,) float64: the noise level of rows `tokens (B, M)`, of which those `inside (B, M)` are theirs."""
        masked = ((tokens == self.mask_id) & inside).sum(-1).double() / inside.sum(-1).clamp(min=1)
        return (-torch.log1p(-masked)).clamp(self.model.config.least, self.model.config.most)

    def head(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.model.get_output_embeddings()(hidden))
