"""SEDD's network as a `Model`: its scores are read as probabilities, and its noise level is read off the row. Lou, Meng
and Ermon 2024, 2310.16834; `Absorbing`, `Uniform` and the samplers in louaaron/Score-Entropy-Discrete-Diffusion 0605786
(graph_lib.py, sampling.py).

The network gives the logarithm of s(y) = p(x with y at i) / p(x), the ratio of two probabilities at its noise level.

- Masks. At a masked position s(y) is p(y | what is not masked) / (exp(sigma) - 1), so what differs between tokens is
  the logarithm of their probabilities, and the official code subtracts log(exp(sigma) - 1) and a constant from all of
  them alike. The logits here are those before it does: their softmax over the tokens, without the mask, is what its
  scores say.
- Uniform noise. s over its sum, with s = 1 at the token that stands there, is p(y at i | the rest) at the noise level;
  a share a = exp(-sigma) of it is text and the rest uniform. So the text's own distribution is that less (1 - a) / V,
  over a, and, by Bayes's rule, what stands there makes its own token likelier: by a + (1 - a) / V against (1 - a) / V.
  That is what the official denoiser samples from.
- Noise level. The network is told sigma, by which a position is masked, or drawn anew, with probability 1 -
  exp(-sigma). Decoders here have no time: sigma is the one under which as many positions of the row are noise as are
  (`Forward.open`), which is its estimate of maximum likelihood, within the levels of the training.
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
    """A `Dit` that is told a noise level. `mask_id`: none, where noise is uniform."""

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
        """`noisy (B, M)` bool: what is noise; none: the mask tokens."""
        inside = torch.arange(tokens.shape[1], device=tokens.device) < end[:, None]
        dtype = self.model.dtype
        bias = torch.zeros(inside.shape, dtype=dtype, device=tokens.device).masked_fill(~inside, torch.finfo(dtype).min)
        level = self.level(self.masked(tokens) if noisy is None else noisy, end)
        return cast(Tensor, self.model.backbone(tokens, attention_mask=bias[:, None, None], level=level)[0])

    def masked(self, tokens: Tensor) -> Tensor:
        """Like `tokens`, bool: the mask tokens."""
        return torch.zeros_like(tokens, dtype=torch.bool) if self.mask_id is None else tokens.eq(self.mask_id)

    def noisy(self, f: Forward) -> Tensor:
        """(B, L) bool: the columns that are noise: mask tokens, or else what is open, or, where nobody says what is,
        what is asked about."""
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
    """(B, N, V) the logarithm of how likely each token is to be the text, from the logarithms of the ratios `score (B,
    N, V)` at positions where uniform noise of a `level (B,)` has left `token (B, N)`. Not normalised."""
    own = token[..., None]
    wide = score.to(torch.promote_types(score.dtype, torch.float32)).scatter(-1, own, 0.0)
    text = (-level)[:, None, None].exp().to(wide.dtype)
    uniform = -torch.expm1(-level)[:, None, None].to(wide.dtype) / score.shape[-1]
    clean = ((wide.softmax(-1) - uniform) / text).clamp(min=torch.finfo(torch.float32).tiny)
    seen = torch.zeros_like(clean).scatter(-1, own, text.expand(own.shape)) + uniform
    return (clean.log() + seen.log()).to(score.dtype)
