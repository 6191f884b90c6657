"""Several canvases of a row in one forward, for models that run rows: each candidate is a row of its own beside the
row's.

A model with the capability `candidates` returns this session if they are needed:

    def session(self, spec):
        return Spread(self, spec) if spec.candidates else ...
"""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from decoders.core import Attention, Forward, Model, Movable, Pred, SessionSpec


class Spread:
    """A session of B rows with A candidates each, on a session of B (1 + A) rows.

    Every candidate has its own keys and values. Columns that see the window are computed in every forward, by the
    decoder's query; the rest of a row is the same for all its candidates, and a candidate computes it when it is first
    used in a window. A candidate that wants nothing computes nothing. `Pred.cost` is that of all canvases together: one
    forward, at the price of several.
    """

    def __init__(self, model: Model, spec: SessionSpec) -> None:
        self.canvases = 1 + spec.candidates
        self.session = model.session(replace(spec, rows=spec.rows * self.canvases, candidates=0))
        self.current: Tensor | None = None
        """(B, A) bool: candidates whose stored columns outside of the window are those of this window."""

    def take(self, rows: Tensor) -> None:
        if isinstance(self.session, Movable):
            canvas = torch.arange(self.canvases, device=rows.device)
            self.session.take((rows[:, None] * self.canvases + canvas).flatten())
        if self.current is not None:
            self.current = self.current[rows]

    def __call__(self, f: Forward) -> Pred:
        flat, n, (B, W) = self.flat(f), self.canvases, f.at.shape
        p = self.session(flat)
        logits, at = p.logits.unflatten(0, (B, n)), p.at.unflatten(0, (B, n))
        positions, flops = p.cost or (flat.compute.sum(-1), torch.zeros(B * n, dtype=torch.double, device=at.device))
        cost = positions.unflatten(0, (B, n)).sum(1), flops.unflatten(0, (B, n)).sum(1)
        maps = p.attention and Attention(p.attention.weights[::n], p.attention.index[::n])
        others = tuple(Pred(logits[:, i], at[:, i], W) for i in range(1, n))
        return Pred(logits[:, 0], at[:, 0], W, cost, maps, beside=others)

    def flat(self, f: Forward) -> Forward:
        """The forward of all canvases, a row's own and then its candidates, row after row."""
        n, used = self.canvases, f.candidate_want.any(-1)
        kept = torch.zeros_like(used) if self.current is None else self.current & ~f.entered[:, None]
        self.current = kept | used
        reach = torch.where(f.compute, f.until, 0).amax(-1, keepdim=True)
        within = torch.arange(f.tokens.shape[1], device=f.tokens.device) < reach
        others = used[..., None] & (f.compute[:, None] | (~kept[..., None] & within[:, None]))

        def beside(own: Tensor, others: Tensor) -> Tensor:
            return torch.cat([own[:, None], others], 1).flatten(0, 1)

        repeated = {x.name: v.repeat_interleave(n, 0) for x in fields(Forward) if (v := getattr(f, x.name)) is not None}
        flat = replace(f, **repeated | {name: repeated[name][:, :0] for name in ("candidate_tokens", "candidate_want")})
        window = beside(f.tokens.gather(1, f.at), f.candidate_tokens)
        return replace(
            flat, tokens=flat.tokens.scatter(1, flat.at, window), compute=beside(f.compute, others),
            want=beside(f.want, f.candidate_want)
        )
