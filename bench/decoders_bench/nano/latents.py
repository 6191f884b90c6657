"""Training data and losses of nano-latent: noisy latents of answers after their prompts, at noise levels that adapt to
the loss.

The batch of a step is sent to the device as tokens and lengths; the noise, the attention masks and the weights are
computed there. Some examples begin in the middle of their answer, like a later window, and in some a part of the answer
is given as tokens, as in infilling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

from decoders.core import alpha, sigma
from decoders.models.latent.nano import Denoiser, Rounder, rounder_sees
from decoders_bench.nano.batches import PAD_WEIGHT, Example, Mixture
from decoders_bench.nano.network import Body
from decoders_bench.nano.tokenizer import segmenter

LATENT, ROUNDER_LAYERS = 32, 2
LOWEST, HIGHEST, BINS = -4.0, 6.0, 40
"""The range of levels, and the number of bins in which their loss is estimated."""
FLAT = 0.25
"""The share of examples whose level is uniform, independent of the loss."""
CONDITIONED = 4
"""One in this many examples is self-conditioned on the model's own prediction: a part of each batch, in turn."""
BEGUN, SHOWN = 0.1, 0.15
"""The share of examples with a given beginning of the answer, and the share of those with some given tokens."""
NOISE = 0.5
"""The largest noise that is added to the clean latents in the rounder's input."""
ALIGNED = 16


@dataclass(frozen=True)
class LatentBatch:
    """Rows `tokens (N, T)` of int16, whose window is from `begin (N,)` to `total (N,)`; the answer ends before `end
    (N,)`. The tokens of `shown (N, T)` are given as tokens. `counts (K,)` are the indices of latents in the flattened
    batch, and `width` is the length of the longest window."""

    tokens: Tensor
    begin: Tensor
    end: Tensor
    total: Tensor
    shown: Tensor
    counts: Tensor
    width: int

    def to(self, device: str) -> LatentBatch:
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "width"}
        if device.startswith("cuda"):  # the copy overlaps with earlier work on the device
            own = {name: x.pin_memory() for name, x in own.items()}
        own = {name: x.to(device, non_blocking=True) for name, x in own.items()}
        return LatentBatch(**own | {"tokens": own["tokens"].long()}, width=self.width)

    @property
    def column(self) -> Tensor:
        return torch.arange(self.tokens.shape[1], device=self.tokens.device)

    @property
    def noisy(self) -> Tensor:
        """(N, T) bool: the positions of latents."""
        inside = (self.column >= self.begin[:, None]) & (self.column < self.total[:, None])
        return inside & ~self.shown

    @property
    def sees(self) -> Tensor:
        """(N, T, T) bool: left of the window, attention is causal; in the window, a position attends to everything."""
        wide = self.column[:, None] >= self.begin[:, None, None]
        seen: Tensor = (self.column < self.total[:, None, None]) & (wide | (self.column <= self.column[:, None]))
        return seen

    @property
    def weight(self) -> Tensor:
        """(N, T): the weight of each latent; those of a row are divided by the square root of their sum."""
        each = torch.where(self.column < self.end[:, None], 1.0, PAD_WEIGHT) * self.noisy
        return each / each.sum(-1, keepdim=True).clamp(min=PAD_WEIGHT).sqrt()


def collate(examples: Sequence[Example], rng: Random, end: int) -> LatentBatch:
    """Pad the examples to the longest."""
    longest = max(len(e.prompt) + e.size for e in examples)
    N, T = len(examples), -(-longest // ALIGNED) * ALIGNED
    begin, ends, total, rows, shown = [], [], [], [], torch.zeros(N, T, dtype=torch.bool)
    for i, e in enumerate(examples):
        P, n, kind = len(e.prompt), len(e.answer), rng.random()
        rows.append([*e.prompt, *e.answer] + [end] * (T - P - n))
        begin.append(P + (rng.randrange(n) if kind < BEGUN else 0))
        ends.append(P + n)
        total.append(P + e.size)
        if BEGUN <= kind < BEGUN + SHOWN:
            share = rng.random()  # of all tokens but the last
            shown[i, P : P + n - 1] = torch.tensor([rng.random() < share for _ in range(n - 1)], dtype=torch.bool)
    first, last, whole = (torch.tensor(x) for x in (begin, ends, total))
    width = -(-max(t - p for p, t in zip(begin, total, strict=True)) // 8) * 8
    batch = LatentBatch(torch.tensor(rows, dtype=torch.int16), first, last, whole, shown, first, width)
    return replace(batch, counts=batch.noisy.flatten().nonzero().flatten())


def latent_batches(
    mix: dict[str, float], rng: Random, positions: int, widest: int
) -> Iterator[LatentBatch]:
    """About `positions` in all, in batches that are padded to at most `widest`, or of one example. The order of the
    examples in each batch is random, since the self-conditioned ones are contiguous."""
    tokenizer, drawn, total = segmenter(), [], 0
    mixture = iter(Mixture(tokenizer, mix, rng))
    while total < positions:
        drawn.append(next(mixture))
        total += len(drawn[-1].prompt) + drawn[-1].size
    drawn.sort(key=lambda e: len(e.prompt) + e.size)
    group: list[Example] = []
    for e in drawn:
        if group and (len(e.prompt) + e.size) * (len(group) + 1) > widest:
            yield collate(rng.sample(group, len(group)), rng, tokenizer.end)
            group = []
        group.append(e)
    yield collate(rng.sample(group, len(group)), rng, tokenizer.end)


class Pair(nn.Module):
    """Both networks, and the estimated loss at each level."""

    def __init__(self, vocab: int, hidden: int, layers: int, heads: int, inner: int) -> None:
        super().__init__()
        config = {"vocab_size": vocab, "hidden_size": hidden, "latent_size": LATENT}
        self.denoiser = Denoiser(config, Body(vocab, hidden, layers, heads, inner))
        self.rounder = Rounder(config, Body(vocab, hidden, ROUNDER_LAYERS, heads, inner))
        self.register_buffer("known", torch.linspace(0.05, 3.0, BINS))  # cross-entropy by level
        self.known: Tensor

    def warp(self, u: Tensor) -> Tensor:
        """The levels at `u` in [0, 1), in ascending order: they are dense where the loss rises (CDCD 2211.15089,
        section 5.1)."""
        steep = self.known.cummax(0).values.diff(prepend=self.known[:1]).clamp(min=0)
        steep[0] = steep[1]
        smooth = functional.avg_pool1d(functional.pad(steep[None, None], (2, 2), mode="replicate"), 5, 1)[0, 0]
        density = (1 - FLAT) * smooth / smooth.sum().clamp(min=1e-6) + FLAT / BINS
        mass = functional.pad(density.cumsum(0), (1, 0))
        mass = mass / mass[-1]
        i = torch.searchsorted(mass, u, right=True).clamp(1, BINS) - 1
        part = (u - mass[i]) / (mass[i + 1] - mass[i])
        return LOWEST + (HIGHEST - LOWEST) / BINS * (i + part)

    def learn(self, level: Tensor, loss: Tensor) -> None:
        """Move the estimated loss towards the `loss (N,)` of examples at these levels."""
        place = ((level - LOWEST) / (HIGHEST - LOWEST) * BINS).long().clamp(0, BINS - 1)
        count = torch.zeros_like(self.known).scatter_add_(0, place, torch.ones_like(loss))
        mean = torch.zeros_like(self.known).scatter_add_(0, place, loss) / count.clamp(min=1)
        self.known.lerp_(mean, (0.02 * count).clamp(max=0.3) * (count > 0))


def hidden_of(pair: Pair, b: LatentBatch, rows: slice, z: Tensor, said: Tensor, level: Tensor) -> Tensor:
    """(N, T, H): the hidden states of the denoiser for some rows of a batch."""
    net = pair.denoiser
    body: Body = net.body  # type: ignore[assignment]
    with torch.autocast(z.device.type, torch.bfloat16):
        x = torch.where(b.noisy[rows, :, None], net.shown(z, said, level), body.embed_tokens(b.tokens[rows]))
        return body.through(x, b.column.expand(len(z), -1), b.sees[rows])


def expected(pair: Pair, hidden: Tensor, z: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """(K, V) logits and (K, D) clean latents, in full precision, of positions `z (K, D)` at the levels `level (K,)`."""
    net = pair.denoiser
    with torch.autocast(z.device.type, torch.bfloat16):
        said = net.head(hidden)
    logits = net.logits(said.float()[:, None], z[:, None], level)[:, 0]
    return logits, logits.softmax(-1) @ net.table


def losses(pair: Pair, b: LatentBatch, dice: torch.Generator, turn: int = 0) -> tuple[Tensor, Tensor]:
    """The losses of the denoiser and of the rounder, each the sum over the examples."""
    device, N = b.tokens.device, len(b.tokens)
    u = (torch.rand(N, generator=dice, device=device).argsort() + torch.rand((), generator=dice, device=device)) / N
    level = pair.warp(u)
    denoiser, rounder, own = losses_at(pair, b, level, dice, turn)
    pair.learn(level, own)
    return denoiser, rounder


def losses_at(
    pair: Pair, b: LatentBatch, level: Tensor, dice: torch.Generator, turn: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """The same sums with the examples at the levels `level (N,)`, and the mean cross-entropy of each example, (N,)."""
    device, (N, T) = b.tokens.device, b.tokens.shape
    x = pair.denoiser.table[b.tokens]
    z = alpha(level) * x + sigma(level) * torch.randn(x.shape, generator=dice, device=device)
    said = torch.zeros_like(z)
    size = N // CONDITIONED
    first = slice(turn % CONDITIONED * size, (turn % CONDITIONED + 1) * size)
    if size:
        with torch.no_grad():
            known = hidden_of(pair, b, first, z[first], said[first], level[first])
            each = level[first].repeat_interleave(T)
            said[first] = expected(pair, known.flatten(0, 1), z[first].flatten(0, 1), each)[1].view_as(z[first])
    hidden = hidden_of(pair, b, slice(None), z, said, level).flatten(0, 1)[b.counts]
    row = b.counts.div(T, rounding_mode="floor")
    logits, clean = expected(pair, hidden, z.flatten(0, 1)[b.counts], level[row])
    target, weight = b.tokens.flatten()[b.counts], b.weight.flatten()[b.counts]
    ce = functional.cross_entropy(logits, target, reduction="none")
    off = (clean - x.flatten(0, 1)[b.counts]).pow(2).sum(-1)
    share = torch.zeros_like(level).scatter_add_(0, row, weight)
    own = torch.zeros_like(level).scatter_add_(0, row, ce.detach() * weight) / share.clamp(min=PAD_WEIGHT)
    rounded = rounder_loss(pair, b, x.detach(), clean.detach(), dice)
    return ((ce + off) * weight).sum(), rounded, own


def rounder_loss(pair: Pair, b: LatentBatch, x: Tensor, clean: Tensor, dice: torch.Generator) -> Tensor:
    """The sum over the examples. For every second one, the latents are the denoiser's prediction `clean (K, D)`; for
    the others they are the true `x (N, T, D)` with noise."""
    net, (N, T) = pair.rounder, b.tokens.shape
    body: Body = net.body  # type: ignore[assignment]
    said = x.flatten(0, 1).index_copy(0, b.counts, clean).view_as(x)
    spread = NOISE * torch.rand(N, 1, 1, generator=dice, device=x.device)
    noised = x + spread * torch.randn(x.shape, generator=dice, device=x.device)
    truth = torch.arange(N, device=x.device) % 2 == 0
    given = torch.where(truth[:, None, None] & b.noisy[..., None], noised, said)
    at = b.begin[:, None] + torch.arange(b.width, device=x.device)
    there, at = at < b.total[:, None], at.clamp(max=T - 1)
    latents = given.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
    left, token = b.tokens.gather(1, (at - 1).clamp(min=0)), b.tokens.gather(1, at)
    weight = b.weight.gather(1, at) * there
    with torch.autocast(x.device.type, torch.bfloat16):
        shown = net.shown(latents, body.embed_tokens(left))
        position = torch.arange(b.width, device=x.device).repeat(2).expand(N, -1)
        hidden = body.through(shown, position, rounder_sees(there))
        said = net.head(hidden[:, b.width :])
    logits = net.logits(said.float(), latents, pair.denoiser.table.detach())
    ce = functional.cross_entropy(logits.flatten(0, 1), token.flatten(), reduction="none")
    return (ce * weight.flatten()).sum()
