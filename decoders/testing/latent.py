"""Models of latents whose denoisers are known in closed form, for tests of samplers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from decoders.core import Forward, ModelDefaults, Pred, Session, SessionSpec, Space, State, alpha, sigma
from decoders.stats.random import normal, scramble
from decoders.strategies.latent.base import Latent

CPU = torch.device("cpu")


def even(first: float, last: float, count: int) -> tuple[float, ...]:
    """So many levels from the first to the last."""
    return tuple(torch.linspace(first, last, count, dtype=torch.float64).tolist())


SPACE = Space(2, even(8.0, -8.0, 33))


@dataclass(frozen=True)
class ToyLatent(ModelDefaults):
    """Tokens are points in the plane; a position holds each with a probability of its own, which depends on its place
    and on the tokens that are given. Its denoiser is exact: the posterior of the token, given the noisy point.

    With causal queries it is a rounder: each token depends on the token before it and on the clean latents. Every
    position is computed by itself, so that the batch has no effect."""

    capabilities = frozenset({"movable", "causal"})
    vocab: int = 9
    mask_id: int | None = 8
    stop_ids: tuple[int, ...] = ()
    space: Space | None = SPACE
    spread: float = 3.0
    pull: float = 3.0
    """How strongly a token determines the next one, for the rounder."""
    seed: int = 0
    device: torch.device = CPU

    @cached_property
    def table(self) -> Tensor:
        """(V, 2) where the tokens are."""
        return 1.5 * normal(torch.arange(self.vocab) + (self.seed << 20), 2)

    def prior(self, tokens: Tensor, given: Tensor, at: Tensor) -> Tensor:
        """(B, W, V) log probabilities of each token at the columns `at (B, W)`."""
        context = torch.where(given, scramble(tokens + (torch.arange(tokens.shape[1]) << 20)), 0).sum(-1)
        h = scramble(context[:, None] + scramble(at + (self.seed << 40)))
        return (self.spread * normal(h, self.vocab)).index_fill(-1, torch.tensor([self.vocab - 1]), -torch.inf)

    def denoising(self, f: Forward, level: Tensor, z: Tensor) -> Tensor:
        """(B, W, V) logits of the posterior of each token."""
        a, b = (x(level).to(z.dtype) for x in (alpha, sigma))
        gap = z[..., None, :] - a[..., None] * self.table.to(z)
        near = -(gap[..., 0] ** 2 + gap[..., 1] ** 2) / (2 * b**2)
        return self.prior(f.tokens, f.given, f.at).to(z.dtype) + near

    def rounding(self, f: Forward, clean: Tensor) -> Tensor:
        """(B, W, V) logits of the token at each position, from the tokens left of it and the clean latents."""
        left = torch.where(f.at > 0, f.tokens.gather(1, (f.at - 1).clamp(min=0)), self.vocab)
        chain = self.pull * normal(scramble(left + (self.seed << 30)), self.vocab)
        gap = clean[..., None, :] - self.table.to(clean)
        said = chain.to(clean.dtype) - gap[..., 0] ** 2 - gap[..., 1] ** 2
        return said.index_fill(-1, torch.tensor([self.vocab - 1], device=said.device), -torch.inf)

    def session(self, spec: SessionSpec) -> Session:
        def forward(f: Forward) -> Pred:
            assert f.latents is not None
            assert f.level is not None
            W, (z, said) = f.at.shape[1], (f.latents.z, f.latents.said)
            logits = self.denoising(f, f.level, z)
            if spec.causal:
                logits = torch.where(f.causal[:, None, None], self.rounding(f, said), logits)
            return Pred(logits, f.place, W, table=self.table.to(z))

        return forward


Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(B, W, D) the clean latent that is expected at z (B, W, D), at a level (B,)."""

MEANS = torch.tensor([[1.0, 0.5], [-1.2, 0.3], [0.2, -1.5]], dtype=torch.float64)
VARIANCES = torch.tensor([0.04, 0.09, 0.02], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def mixture(z: Tensor, level: Tensor) -> Tensor:
    """The denoiser of three round clouds in the plane, whose flow is smooth, so that a solver shows its order on it."""
    a, noise = alpha(level)[..., None], sigma(level)[..., None] ** 2
    variance = a**2 * VARIANCES[:, None] + noise
    gap = z[..., None, :] - a * MEANS
    share = WEIGHTS.log() - ((gap**2).sum(-1, keepdim=True) / (2 * variance) + variance.log())[..., 0]
    found = MEANS + a * VARIANCES[:, None] / variance * gap
    return (share.softmax(-1)[..., None] * found).sum(-2)


def solved(decoder: Latent, denoiser: Denoiser = mixture, points: int = 400) -> Tensor:
    """(points, 2): the last x of a sampler that starts at so many points of noise."""
    zero, one = torch.zeros(1, points, dtype=torch.long), torch.ones(1, dtype=torch.long)
    size = one * points
    s: State = State(
        tokens=zero, open=zero == 0, editable=zero == 0, confidence=zero.double(), committed_at=zero - 1,
        position=torch.arange(points)[None], size=size, room=size, opened=size, windows=one, step=one - 1,
        clock=one - 1, key=one, mask_id=None, vocab=2, limit=size, space=Space(2, even(8.0, -8.0, 2)),
    )
    s = decoder.begin(s)
    s = replace(s, memo=s.memo._replace(z=s.memo.z.double(), said=s.memo.said.double(), x=s.memo.x.double()))
    at, table = torch.arange(points)[None], torch.zeros(2, 2, dtype=torch.float64)
    while not bool(decoder.done(s)):
        q = decoder.query(s)
        assert q.latents is not None
        assert q.level is not None
        point = denoiser(q.latents.z, q.level)
        after = decoder.step(s, Pred(torch.zeros(1, points, 2), at, points, table=table, point=point))
        s = replace(after, step=s.step + 1, clock=s.clock + 1)
    found: Tensor = s.memo.x[0]
    return found


def gain(of: Callable[[int], Latent], truth: Tensor, steps: int = 64) -> float:
    """The factor by which the median error falls if a sampler `of` so many levels gets twice as many: about 2 for a
    solver of first order, and 4 for one of second."""
    coarse, fine = (float((solved(of(n)) - truth).norm(dim=-1).median()) for n in (steps, 2 * steps))
    return coarse / fine
