"""A model that knows its joint distribution by enumeration, so that what a decoder samples can be held against the
truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from decoders.core import (
    Blocks,
    Decoder,
    Forward,
    ModelDefaults,
    Plan,
    Pred,
    Session,
    SessionSpec,
    Shape,
    UsageError,
    apply,
    layout,
    prepare,
    session_spec,
)
from decoders.testing.toy import CPU


@dataclass(frozen=True)
class Oracle(ModelDefaults):
    """A random joint distribution over all texts of `length` tokens, with an energy for every pair of positions; a
    `decoders.core.Model` for canvases without a prompt.

    Its logits are the exact log conditionals given what is shown, in float64. The mask token is the last of the
    vocabulary and is never predicted. `sharp`: how far from uniform.
    """

    letters: int = 3
    length: int = 4
    seed: int = 0
    sharp: float = 4.0
    device: torch.device = CPU

    @property
    def mask_id(self) -> int:
        return self.letters

    @property
    def vocab(self) -> int:
        return self.letters + 1

    @cached_property
    def texts(self) -> Tensor:
        """(letters ** length, length) long: every text, in counting order."""
        return torch.cartesian_prod(*[torch.arange(self.letters)] * self.length).view(-1, self.length)

    @cached_property
    def joint(self) -> Tensor:
        """(letters ** length,) float64: the probability of every text."""
        n, v = self.length, self.letters
        g = torch.Generator().manual_seed(self.seed)
        pair = torch.randn(n, n, v, v, generator=g, dtype=torch.float64)
        energy = torch.zeros(len(self.texts), dtype=torch.float64)
        for i in range(n):
            for j in range(i):
                energy += pair[i, j][self.texts[:, i], self.texts[:, j]]
        return (self.sharp * energy / n).softmax(0)

    @cached_property
    def table(self) -> Tensor:
        """(vocab ** length, length, vocab) float64: log p(token | what is shown) for every partial text, in counting
        order."""
        shown = torch.cartesian_prod(*[torch.arange(self.vocab)] * self.length).view(-1, self.length)
        fits = ((self.texts[None] == shown[:, None]) | (shown[:, None] == self.mask_id)).all(-1) * self.joint
        onehot = torch.nn.functional.one_hot(self.texts, self.vocab).double()
        p = torch.einsum("sn,nwv->swv", fits, onehot)
        return (p / p.sum(-1, keepdim=True)).log()

    def code(self, tokens: Tensor, base: int) -> Tensor:
        """(...,) long: the place of `tokens (..., length)` in counting order."""
        return (tokens * base ** torch.arange(self.length - 1, -1, -1)).sum(-1)

    def session(self, spec: SessionSpec) -> Session:
        if spec.columns != self.length + 1:
            raise UsageError(f"an oracle decodes rows of {self.length} positions without a prompt")
        return self.forward

    def forward(self, f: Forward) -> Pred:
        x, i = f.tokens[:, : self.length], torch.arange(self.length)
        # (B, length, length) what causal rows see
        left = torch.where(i[None, :] < i[:, None], x[:, None], self.mask_id)
        row = torch.where(f.causal[:, None], self.code(left, self.vocab), self.code(x, self.vocab)[:, None])
        logits = self.table[row, i]  # (B, length, V)
        width = f.at.shape[1]
        where = f.at.clamp(max=self.length - 1)[..., None].expand(-1, -1, self.vocab)
        return Pred(logits.gather(1, where), torch.where(f.want, torch.arange(width), width), width)


@torch.inference_mode()
def sampled(decoder: Decoder, oracle: Oracle, rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(rows,) long the text that every row became, in counting order, and (rows,) long its forwards. Every row has a
    seed of its own: `seed * rows` and those after it."""
    from decoders.core import Exact

    plan = Plan(decoder, Blocks(oracle.length), Exact())
    keys = range(seed * rows, (seed + 1) * rows)
    c = layout(Shape.of(oracle), decoder, [[]] * rows, length=oracle.length, keys=keys, windows=plan.windows)
    forward = oracle.session(session_spec(plan, c))
    while bool(c.live.any()):
        f = prepare(plan, c)
        c = apply(plan, c, f, forward(f))
    return oracle.code(c.tokens[:, : oracle.length], oracle.letters), c.clock


def distance(decoder: Decoder, oracle: Oracle, rows: int = 4000, seed: int = 0) -> tuple[float, float]:
    """Total variation between `rows` samples and the truth, and mean forwards a row. Even perfect samples are some way
    off, by chance: see `floor`."""
    code, forwards = sampled(decoder, oracle, rows, seed)
    frequency = torch.bincount(code, minlength=len(oracle.joint)).double() / rows
    return float((frequency - oracle.joint).abs().sum() / 2), float(forwards.double().mean())


def floor(oracle: Oracle, rows: int = 4000, seed: int = 0, repeats: int = 200) -> tuple[float, float]:
    """Mean and standard deviation of the total variation between the truth and `rows` independent perfect samples of
    it."""
    g = torch.Generator().manual_seed(seed)
    tv = []
    for _ in range(repeats):
        code = oracle.joint.multinomial(rows, replacement=True, generator=g)
        frequency = torch.bincount(code, minlength=len(oracle.joint)).double() / rows
        tv.append((frequency - oracle.joint).abs().sum() / 2)
    found = torch.stack(tv)
    return float(found.mean()), float(found.std())
