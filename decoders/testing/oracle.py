"""A model that knows its joint distribution by enumeration, so that a decoder's samples can be compared with the
truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from decoders.core import (
    Attention,
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
from decoders.models.spread import Spread
from decoders.testing.toy import CPU


@dataclass(frozen=True)
class Oracle(ModelDefaults):
    """A random joint distribution over all texts of `length` tokens, with an energy for every pair of positions; a
    `decoders.core.Model` for canvases without a prompt.

    Its logits are the exact log conditionals given what each position sees, in float64. The mask token is the last of
    the vocabulary and is never predicted. `sharp`: how far from uniform. Its attention is that of an ideal model: each
    position attends to the others in proportion to their dependence (`bonds`).
    """

    capabilities = frozenset("causal store attention sight order leave_one_out candidates".split())
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
    def shown(self) -> Tensor:
        """(vocab ** length, length) long: every partial text, in counting order."""
        return torch.cartesian_prod(*[torch.arange(self.vocab)] * self.length).view(-1, self.length)

    @cached_property
    def fits(self) -> Tensor:
        """(vocab ** length, letters ** length) float64: the probability of every text given every partial one."""
        fit = (self.texts[None] == self.shown[:, None]) | (self.shown[:, None] == self.mask_id)
        weight = fit.all(-1) * self.joint
        return weight / weight.sum(-1, keepdim=True)

    @cached_property
    def onehot(self) -> Tensor:
        """(letters ** length, length, vocab) float64."""
        return torch.nn.functional.one_hot(self.texts, self.vocab).double()

    @cached_property
    def table(self) -> Tensor:
        """(vocab ** length, length, vocab) float64: log p(token | what is shown) for every partial text, in counting
        order."""
        return torch.einsum("sn,nwv->swv", self.fits, self.onehot).log()

    @cached_property
    def bonds(self) -> Tensor:
        """(vocab ** length, length, length) float64, in nats: the dependence between any two positions of every partial
        text. For two open positions it is their mutual information given the shown tokens; for a shown one, the
        divergence of the other's distribution from that without it. It is 0 for a position with itself."""
        both = torch.einsum("sn,niv,njw->sijvw", self.fits, self.onehot, self.onehot)
        p = self.table.exp()
        apart = p[:, :, None, :, None] * p[:, None, :, None, :]
        mutual = (torch.special.xlogy(both, both) - torch.special.xlogy(both, apart)).sum((-2, -1))
        i = torch.arange(self.length)
        without = self.shown[:, None].masked_fill(torch.eye(self.length, dtype=torch.bool), self.mask_id)
        q = p[self.code(without, self.vocab)[:, None], i[:, None]]  # (S, length of i, length of j, V)
        told = (torch.special.xlogy(p, p)[:, :, None] - torch.special.xlogy(p[:, :, None], q)).sum(-1)
        bond = torch.where(self.shown[:, None] == self.mask_id, mutual, told)
        return bond.clamp(min=0).masked_fill(torch.eye(self.length, dtype=torch.bool), 0)

    def code(self, tokens: Tensor, base: int) -> Tensor:
        """(...,) long: the place of `tokens (..., length)` in counting order."""
        return (tokens * base ** torch.arange(self.length - 1, -1, -1)).sum(-1)

    def session(self, spec: SessionSpec) -> Session:
        if spec.columns != self.length + 1:
            raise UsageError(f"an oracle decodes rows of {self.length} positions without a prompt")
        return Spread(self, spec) if spec.candidates else partial(self.forward, attention=spec.attention)

    def forward(self, f: Forward, attention: bool = False) -> Pred:
        x, i = f.tokens[:, : self.length], torch.arange(self.length)
        row = self.code(torch.where(self.sees(f), x[:, None], self.mask_id), self.vocab)  # (B, length)
        logits, width = self.table[row, i], f.at.shape[1]
        where = f.at.clamp(max=self.length - 1)[..., None].expand(-1, -1, self.vocab)
        return Pred(logits.gather(1, where), f.place, width, attention=self.maps(row) if attention else None)

    def sees(self, f: Forward) -> Tensor:
        """(B, length, length) bool: which positions each position is predicted from; its own is one of them."""
        column, own = torch.arange(self.length), f.unseen[:, : self.length]
        read = column if f.rank is None else f.rank[:, None, : self.length]
        seen = read < f.until[:, : self.length, None]
        seen = seen & ~((column >= own[..., :1]) & (column < own[..., 1:]))
        left_out = torch.zeros_like(f.compute).scatter(1, f.at, f.left_out & f.want)[:, : self.length]
        seen = seen & ~(left_out[:, None] & torch.eye(self.length, dtype=torch.bool))
        return torch.where(f.causal[:, None, None], column < column[:, None], seen)

    def maps(self, row: Tensor) -> Attention:
        """For positions that see the partial texts `row (B, length)`: their normalised bonds, or attention to
        themselves if they have none. Every column is given, computed or not."""
        bond = self.bonds[row, torch.arange(self.length)]
        total = bond.sum(-1, keepdim=True)
        share = torch.where(total > 0, bond / total, torch.eye(self.length, dtype=torch.double))
        whole = torch.nn.functional.pad(share, (0, 1, 0, 1)).float()  # and the bin
        return Attention(whole, torch.arange(self.length + 1).expand(len(row), -1))


@torch.inference_mode()
def sampled(decoder: Decoder, oracle: Oracle, rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(rows,) long the text of every row, in counting order, and (rows,) long its forwards. Every row has its own seed:
    `seed * rows` and those after it."""
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
    """Total variation between `rows` samples and the truth, and mean forwards per row. It is above 0 even for perfect
    samples, by chance: see `floor`."""
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
