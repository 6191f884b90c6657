"""SEDD's network as a `Model`: its scores are converted to probabilities, and its noise level is estimated from the
row. Lou, Meng and Ermon 2024, 2310.16834; `Absorbing`, `Uniform` and the samplers in
louaaron/Score-Entropy-Discrete-Diffusion 0605786 (graph_lib.py, sampling.py).

The network gives the logarithm of s(y) = p(x with y at i) / p(x), the ratio of two probabilities at its noise level.

- Masks. At a masked position s(y) is p(y | what is not masked) / (exp(sigma) - 1), so the log scores of tokens differ
  by their log probabilities, and the official code subtracts log(exp(sigma) - 1) and a constant from all of them. The
  logits here are those before this subtraction: their softmax over the tokens, without the mask, gives the
  probabilities.
- Uniform noise. s over its sum, with s = 1 at the present token, is p(y at i | the rest) at the noise level; a share a
  = exp(-sigma) of it is text and the rest uniform. So the text's own distribution is that less (1 - a) / V, divided by
  a, and, by Bayes's rule, the present token gets the weight a + (1 - a) / V against (1 - a) / V for others. The
  official denoiser samples from this distribution.
- Noise level. The network gets sigma; a position is masked, or replaced by noise, with probability 1 - exp(-sigma).
  Decoders here have no time: sigma is its maximum likelihood estimate from the number of noisy positions of the row
  (`Forward.open`), within the levels of the training.
- Nothing is stored, because keys and values depend on the noise level, and every forward changes it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from decoders.core import Forward
from decoders.models.dit.network import Dit
from decoders.models.rows import RowModel, RowWork
from decoders.models.work import Work


class SeddModel(RowModel):
    """A `Dit` with a noise level. `mask_id`: None if noise is uniform."""

    def __init__(self, model: Dit, *, mask_id: int | None, stop_ids: tuple[int, ...] = ()) -> None:
        self.model: Dit = model.eval()  # type: ignore[no-untyped-call]
        self.mask_id = mask_id
        self.stop_ids = stop_ids
        self.vocab = int(model.config.vocab_size)
        self.positions = int(model.config.max_position_embeddings)
        work, layers = Work.of(model), model.config.num_hidden_layers
        self.work = RowWork(work.column, work.pair / layers, (None,) * layers, work.row)

    def shown(self, f: Forward, end: Tensor) -> Tensor:
        return self.states(f.tokens[:, :-1], end, self.noisy(f)[:, :-1])

    def states(self, tokens: Tensor, end: Tensor, noisy: Tensor | None = None) -> Tensor:
        """`noisy (B, M)` bool: the noisy positions; None: the mask tokens."""
        inside = torch.arange(tokens.shape[1], device=tokens.device) < end[:, None]
        dtype = self.model.dtype
        bias = torch.zeros(inside.shape, dtype=dtype, device=tokens.device).masked_fill(~inside, torch.finfo(dtype).min)
        level = self.level(self.masked(tokens) if noisy is None else noisy, end)
        return cast(Tensor, self.model.backbone(tokens, attention_mask=bias[:, None, None], level=level)[0])

    def masked(self, tokens: Tensor) -> Tensor:
        """Like `tokens`, bool: the mask tokens."""
        return torch.zeros_like(tokens, dtype=torch.bool) if self.mask_id is None else tokens.eq(self.mask_id)

    def noisy(self, f: Forward) -> Tensor:
        """(B, L) bool: the noisy columns: mask tokens, or else the open columns, or, if these are unknown, the wanted
        ones."""
        if self.mask_id is not None:
            return self.masked(f.tokens)
        return torch.zeros_like(f.compute).scatter(1, f.at, f.want) if f.open is None else f.open

    def level(self, noisy: Tensor, end: Tensor) -> Tensor:
        """(B,) float64: the noise level of rows that end at `end (B,)`, of which those `noisy (B, M)` are noise."""
        inside = torch.arange(noisy.shape[1], device=noisy.device) < end[:, None]
        share = (noisy & inside).sum(-1).double() / end.clamp(min=1)
        return (-torch.log1p(-share)).clamp(self.model.config.least, self.model.config.most)

    def head(self, hidden: Tensor) -> Tensor:
        return cast(Tensor, self.model.get_output_embeddings()(hidden))

    def said(self, f: Forward, hidden: Tensor, column: Tensor) -> Tensor:
        logits = self.head(hidden)
        if self.mask_id is not None:
            return logits
        level = self.level(self.noisy(f), f.until.amax(-1))
        return denoised(logits, f.tokens.gather(1, column), level)


def denoised(score: Tensor, token: Tensor, level: Tensor) -> Tensor:
    """(B, N, V) the log probability of each token to be the text, from the logarithms of the ratios `score (B, N, V)`
    at positions where uniform noise of a `level (B,)` has left `token (B, N)`. Not normalised."""
    own = token[..., None]
    wide = score.to(torch.promote_types(score.dtype, torch.float32)).scatter(-1, own, 0.0)
    text = (-level)[:, None, None].exp().to(wide.dtype)
    uniform = -torch.expm1(-level)[:, None, None].to(wide.dtype) / score.shape[-1]
    clean = ((wide.softmax(-1) - uniform) / text).clamp(min=torch.finfo(torch.float32).tiny)
    seen = torch.zeros_like(clean).scatter(-1, own, text.expand(own.shape)) + uniform
    return (clean.log() + seen.log()).to(score.dtype)
