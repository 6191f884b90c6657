"""Row statistics in plain torch: the reference for every faster form.

All functions take `logits (R, V)` of any floating dtype, accumulate in float32 (float64 for float64 logits) and break
ties to the left. On a CPU they go through memory once, in blocks that stay in its cache, and find the maximum in two
levels, because `torch.max(-1)` and `torch.logsumexp` over a long row are several times slower than memory. A row of
only -inf has probability 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from decoders.stats.constants import constant
from decoders.stats.random import gumbel, scramble, unit

BLOCK = 1 << 18  # elements of logits that are worked on at a time, on a CPU
CHUNK = 512  # columns of one chunk of the two-level searches


def accumulator(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def blocked(f: Callable[..., tuple[Tensor, ...]], logits: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
    """`f(logits, *rows)`, on a CPU a few rows at a time so that temporaries stay in cache. The split depends on shapes
    only."""
    n = max(BLOCK // logits.shape[-1], 1)
    if logits.device.type != "cpu" or logits.shape[0] <= n:
        return f(logits, *rows)
    parts = [f(*part) for part in zip(*(x.split(n) for x in (logits, *rows)), strict=True)]
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def chunks(x: Tensor, fill: float) -> Tensor:
    """(R, C, CHUNK): columns in chunks, the last one padded."""
    pad = -x.shape[-1] % CHUNK
    padded = torch.nn.functional.pad(x, (0, pad), value=fill) if pad else x
    return padded.view(x.shape[0], -1, CHUNK)


def first(where: Tensor) -> Tensor:
    """(...,) index of the first true entry of the last dimension; 0 if there is none."""
    return where.to(torch.uint8).argmax(-1)


def argmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) long and (R,): the likeliest token and its logit."""
    if logits.shape[-1] <= 4 * CHUNK or logits.device.type != "cpu":
        top, token = logits.max(-1)
        return token, top
    whole = logits.shape[-1] // CHUNK * CHUNK
    body = logits[:, :whole].unflatten(-1, (-1, CHUNK))
    best = body.amax(-1)  # (R, C)
    rest = logits[:, whole:]
    if rest.shape[-1]:
        best = torch.cat([best, rest.amax(-1, keepdim=True)], -1)
    top = best.amax(-1)
    chunk = first(best == top[:, None])
    inside = chunk[:, None] * CHUNK + torch.arange(CHUNK, device=logits.device)
    value = logits.gather(1, inside.clamp(max=logits.shape[-1] - 1))
    return (chunk * CHUNK + first(value == top[:, None])).clamp(max=logits.shape[-1] - 1), top


def best(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(R,) long, (R,) and (R,): the likeliest token, its logit, and the log of the sum of exponentials.

    The normaliser comes out of `log_softmax`, whose kernel sums exponentials as it reads and is faster than
    `logsumexp`. Its other output is not needed, so on a CPU it is written to one small buffer again and again, without
    new memory.
    """
    token, top = argmax(logits)
    kind, (R, V) = accumulator(logits), logits.shape
    n = max(BLOCK // V, 1)
    if logits.device.type != "cpu" or n >= R:
        log_p = logits.log_softmax(-1, dtype=kind).gather(1, token[:, None])[:, 0]
        return token, top, top - log_p  # in the wider of the two types
    out = torch.empty(n, V, dtype=kind)
    wide = out if logits.dtype == kind else torch.empty_like(out)
    found = []
    for x, t in zip(logits.split(n), token.split(n), strict=True):
        rows = x if x.dtype == kind else wide[: len(x)].copy_(x)
        found.append(torch.log_softmax(rows, -1, out=out[: len(x)]).gather(1, t[:, None])[:, 0])
    return token, top, top.to(kind) - torch.cat(found)


def probability(logit: Tensor, log_z: Tensor) -> Tensor:
    """exp(logit - log_z); 0 where that is undefined, in a row of -inf or NaN, so that no selection ever stalls on
    it."""
    return (logit - log_z).exp().nan_to_num(0.0)


def entropy(logits: Tensor) -> Tensor:
    """(R,): Shannon entropy in nats."""

    def part(x: Tensor) -> tuple[Tensor, ...]:
        return (torch.special.entr(x.softmax(-1, dtype=accumulator(x))).sum(-1).nan_to_num(0.0),)

    return blocked(part, logits)[0]


def margin(logits: Tensor) -> Tensor:
    """(R,): probability of the likeliest token less that of the second."""

    def part(x: Tensor) -> tuple[Tensor, ...]:
        two = x.softmax(-1, dtype=accumulator(x)).nan_to_num(0.0).topk(min(2, x.shape[-1]), -1).values
        return (two[:, 0] - two[:, 1] if two.shape[-1] > 1 else two[:, 0],)

    return blocked(part, logits)[0]


def sample(logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """(R,) long: the token sampled by the uniform number `u (R,)` (inverse transform). One number a row draws from
    softmax(logits / temperature) exactly as Gumbel noise on every logit would. Token 0 in a row of -inf or with a
    NaN."""

    def part(x: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        x = x.to(accumulator(x))
        weight = chunks((x if temperature == 1 else x / temperature).softmax(-1).nan_to_num(0.0), 0.0)
        mass = weight.sum(-1, dtype=torch.float64).cumsum(-1)
        goal = (u * mass[:, -1])[:, None]
        chunk = (mass <= goal).sum(-1, keepdim=True).clamp(max=mass.shape[-1] - 1)
        before = torch.where(chunk > 0, mass.gather(1, (chunk - 1).clamp(min=0)), 0.0)
        own = weight.gather(1, chunk[..., None].expand(-1, -1, CHUNK))[:, 0].double()
        inside = before + own.cumsum(-1)
        # of the tokens in this chunk, the first that reaches the goal; rounding must never end on one of weight zero
        hit = (inside > goal) & (own > 0)
        last = CHUNK - 1 - first((own > 0).flip(-1))
        token = chunk[:, 0] * CHUNK + torch.where(hit.any(-1), first(hit), last)
        return (torch.where(mass[:, -1] > 0, token, 0),)

    return blocked(part, logits, u)[0]


def race(logits: Tensor, h: Tensor, temperature: float = 1.0) -> Tensor:
    """(R,) long: a sample by the Gumbel race. The noise of token v is a hash of `h (R,)` int64 and v, so two
    distributions that race with the same `h` agree as often as any coupling of their kind lets them."""

    def part(x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        noise = gumbel(unit(scramble(h[:, None] + torch.arange(x.shape[-1], device=x.device))))
        return ((x.double() / temperature + noise).argmax(-1),)

    return blocked(part, logits, h)[0]


def filtered(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """(R, V): -inf outside the `top_k` likeliest tokens, then outside the smallest set of likeliest tokens whose
    probability reaches `top_p` (the token that crosses the bound stays)."""
    if top_k is not None and top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k, -1).values[:, -1:], -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, index = logits.sort(dim=-1, descending=True, stable=True)
        p = ordered.to(accumulator(ordered)).softmax(-1)
        out = p.cumsum(-1) - p > top_p
        logits = logits.masked_fill(torch.zeros_like(out).scatter(1, index, out), -torch.inf)
    return logits


class InTorch:
    """The statistics of R rows, `decoders.stats.Statistics`, each computed at its first use."""

    def __init__(self, logits: Tensor, banned: tuple[int, ...]) -> None:
        self.allowed = logits.index_fill(-1, constant(banned, logits.device), -torch.inf) if banned else logits
        self.found: tuple[Tensor, Tensor, Tensor] | None = None

    def once(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.found is None:
            self.found = best(self.allowed)
        return self.found

    @property
    def defined(self) -> Tensor | None:
        return None if self.found is None else self.found[2].isfinite()

    def best(self) -> tuple[Tensor, Tensor]:
        token, logit, log_z = self.once()
        return token, probability(logit, log_z)

    def prob(self, tokens: Tensor) -> Tensor:
        return probability(self.allowed.gather(1, tokens[:, None])[:, 0], self.once()[2])

    def entropy(self) -> Tensor:
        return entropy(self.allowed)

    def margin(self) -> Tensor:
        return margin(self.allowed)

    def sample(self, u: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        token = sample(self.allowed, u, temperature)
        return token, self.prob(token)

    def race(self, h: Tensor, temperature: float) -> Tensor:
        return race(self.allowed, h, temperature)
