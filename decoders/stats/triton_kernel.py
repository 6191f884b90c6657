"""Row statistics in one read of the logits, as two Triton kernels: `scan` over stretches of rows, `finish` over rows.

`scan` reads every logit once. A program takes one stretch of one row and keeps, for each of its lanes, the running
maximum, the sum of exponentials below it and their sum weighted by the distance from it (online softmax: Milakov and
Gimelshein 2018, 1805.02867), all in float32. `finish` combines the stretches of a row and reads a second time at most
one tile, for the leftmost argmax, one lane, for the second maximum, and one stretch, for the sampled token.

The division of a row depends on the vocabulary alone, never on the number of rows, so that a row has the same bits in
any batch. It also keeps a GPU busy when rows are few. Loads are along the row; rows with another layout are copied
first.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from decoders.stats.constants import among, constant

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
NEVER = tl.constexpr(1 << 30)  # more than any column
LOG2E, LN2 = tl.constexpr(1.4426950408889634), tl.constexpr(0.6931471805599453)
FAR = tl.constexpr(-200.0)  # 2 to this is 0 in float32, and 0 times it is not NaN


@dataclass(frozen=True)
class Cut:
    """How rows are cut and what a program looks like. Sizes are powers of two; `lanes * depth` divides `stretch`."""

    lanes: int
    """Columns that have running sums of their own."""
    depth: int
    """Columns of a lane that are read at once."""
    stretch: int
    """Columns of one program."""
    warps: int = 1
    """One needs no barrier between its lanes."""

    @classmethod
    @lru_cache
    def of(cls, vocab: int) -> Cut:
        """For rows of `vocab` columns: at least 8 stretches from 16,384 on, and 16 for the 126,464 of LLaDA. The choice
        rests on the instructions that the compiler makes of it for an H100 (docs/gpu-kernel.md), not on a
        measurement."""
        lanes = min(256, triton.next_power_of_2(vocab))
        depth = min(8, triton.next_power_of_2(triton.cdiv(vocab, lanes)))
        return cls(lanes, depth, min(8192, max(lanes * depth, triton.next_power_of_2(triton.cdiv(vocab, 8)))))


@triton.jit
def load(logits, columns, vocab, banned, begin, size: tl.constexpr, N_BANNED: tl.constexpr):
    """float32 logits of `columns`, which lie in [begin, begin + size); -inf where they are banned or past the end."""
    at, there = logits + columns.to(tl.int64), columns < vocab
    x = tl.load(at, mask=there, other=float("-inf"))
    if N_BANNED > 0:
        concerned = False
        for k in tl.static_range(N_BANNED):
            token = tl.load(banned + k)
            concerned |= (token >= begin) & (token < begin + size)
        # read again: the compiler makes a branch of this, and of a comparison several instructions for every logit
        if concerned:
            for k in tl.static_range(N_BANNED):
                there &= columns != tl.load(banned + k)
            x = tl.load(at, mask=there, other=float("-inf"))
    return x.to(tl.float32)


@triton.jit
def below(x, top):
    """x - top in powers of two, where `top` is the maximum of what x is from: at most 0, -inf if x is. A GPU has an
    instruction for 2^x and none for e^x."""
    return (x - tl.where(top == float("-inf"), 0.0, top)) * LOG2E


@triton.jit
def scrambled(h):
    """`decoders.stats.random.scramble`, bit for bit."""
    h = h.to(tl.uint64, bitcast=True)
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB
    return h ^ (h >> 31)


@triton.jit
def noise(h):
    """float64 Gumbel noise from int64 numbers: `gumbel(unit(scramble(h)))` of `decoders.stats.random`."""
    u = (scrambled(h) >> 11).to(tl.float64) * 1.1102230246251565e-16  # 2^-53
    u = tl.where(u < 2.2250738585072014e-308, 2.2250738585072014e-308, u)
    return -tl.log(-tl.log(u))


@triton.jit
def scan(
    logits, row_stride, vocab, banned, temperature, keys, part, tiles, raced, racer, stretches,
    LANES: tl.constexpr, DEPTH: tl.constexpr, STRETCH: tl.constexpr, TEMPERED: tl.constexpr, RACE: tl.constexpr,
    N_BANNED: tl.constexpr,
):
    """One stretch of one row: five float32 to `part`, [row, stretch, field], and one int32 to `tiles`; for a race also
    the best score and its column to `raced` and `racer`."""
    row, stretch = tl.program_id(0), tl.program_id(1)
    logits += row.to(tl.int64) * row_stride
    TILE: tl.constexpr = LANES * DEPTH
    lane = tl.arange(0, LANES)
    inside = tl.arange(0, DEPTH)[:, None] * LANES + lane[None, :]
    top = tl.full([LANES], float("-inf"), tl.float32)
    total = tl.zeros([LANES], tl.float32)  # sum of exp(x - top)
    spread = tl.zeros([LANES], tl.float32)  # sum of exp(x - top) (x - top) / ln 2
    warm = tl.zeros([LANES], tl.float32)  # sum of exp((x - top) / temperature)
    tile = tl.zeros([LANES], tl.int32)  # the first tile in which `top` was met
    scale = 1.0
    if TEMPERED:
        scale = (1.0 / tl.load(temperature)).to(tl.float32)
    if RACE:
        key, t64 = tl.load(keys + row), tl.load(temperature)
        first = tl.full([LANES], float("-inf"), tl.float64)
        winner = stretch * STRETCH + lane
    for i in range(STRETCH // TILE):
        begin = stretch * STRETCH + i * TILE
        columns = begin + inside
        x = load(logits, columns, vocab, banned, begin, TILE, N_BANNED)
        highest = tl.max(x, 0)
        tile = tl.where(highest > top, i, tile)
        new = tl.maximum(top, highest)
        d, fall = below(x, new[None, :]), below(top, new)
        e, kept = tl.exp2(d), tl.exp2(fall)
        spread = kept * (spread + total * tl.maximum(fall, FAR)) + tl.sum(e * tl.maximum(d, FAR), 0)
        total = kept * total + tl.sum(e, 0)
        if TEMPERED:
            warm = tl.exp2(fall * scale) * warm + tl.sum(tl.exp2(d * scale), 0)
        top = new
        if RACE:
            score = x.to(tl.float64) / t64 + noise(key + columns.to(tl.int64))
            most = tl.max(score, 0)
            leftmost = tl.min(tl.where(score == most[None, :], columns, NEVER), 0)
            winner = tl.where(most > first, leftmost, winner)
            first = tl.maximum(first, most)
    best = tl.max(top, 0)
    one = tl.min(tl.where(top == best, lane, NEVER), 0)
    fall = below(top, best)
    kept = tl.exp2(fall)
    at = row * stretches + stretch
    tl.store(part + at * 5, best)
    tl.store(part + at * 5 + 1, tl.sum(kept * total, 0))
    tl.store(part + at * 5 + 2, tl.sum(kept * (spread + total * tl.maximum(fall, FAR)), 0))
    tl.store(part + at * 5 + 3, tl.max(tl.where(lane == one, float("-inf"), top), 0))
    if TEMPERED:
        tl.store(part + at * 5 + 4, tl.sum(tl.exp2(fall * scale) * warm, 0))
    tl.store(tiles + at, tl.min(tl.where(top == best, tile, NEVER), 0))
    if RACE:
        most = tl.max(first, 0)
        tl.store(raced + at, most)
        tl.store(racer + at, tl.min(tl.where(first == most, winner, NEVER), 0))


@triton.jit
def draw(
    logits, vocab, banned, temperature, uniform, warm, n, there, weights, fall, best,
    STRETCH: tl.constexpr, TILE: tl.constexpr, TEMPERED: tl.constexpr, N_BANNED: tl.constexpr,
):
    """The column in which the sum of weights passes `uniform` of their whole: first the stretch, then the column in it.
    `weights` are the stretches' sums of exp(x - best); where a temperature is given they are read from `warm`."""
    scale = 1.0
    weight = weights.to(tl.float64)
    if TEMPERED:
        scale = (1.0 / tl.load(temperature)).to(tl.float32)
        weight = (tl.exp2(fall * scale) * tl.load(warm, mask=there, other=0.0)).to(tl.float64)
    mass, goal = tl.cumsum(weight, 0), uniform * tl.sum(weight, 0)
    last = tl.max(tl.where(weight > 0, n, 0), 0)
    own = tl.minimum(tl.sum(((mass <= goal) & there).to(tl.int32), 0), last)
    before = tl.sum(tl.where(n < own, weight, 0.0), 0)
    hit, final = NEVER, 0
    for i in range(STRETCH // TILE):
        since = own * STRETCH + i * TILE
        place = since + tl.arange(0, TILE)
        y = load(logits, place, vocab, banned, since, TILE, N_BANNED)
        share = tl.exp2(below(y, best) * scale).to(tl.float64)
        reached = (before + tl.cumsum(share, 0) > goal) & (share > 0)
        hit = tl.minimum(hit, tl.min(tl.where(reached, place, NEVER), 0))
        final = tl.maximum(final, tl.max(tl.where(share > 0, place, 0), 0))
        before += tl.sum(share, 0)
    # because of rounding, no column may reach the goal
    return tl.where(hit == NEVER, final, hit)


@triton.jit
def finish(
    logits, row_stride, vocab, banned, temperature, uniform, part, tiles, raced, racer, stretches,
    token, logit, share, log_share, entropy, margin, sample, chance, race,
    STRETCHES: tl.constexpr, LANES: tl.constexpr, DEPTH: tl.constexpr, STRETCH: tl.constexpr, TEMPERED: tl.constexpr,
    SAMPLE: tl.constexpr, RACE: tl.constexpr, N_BANNED: tl.constexpr,
):
    """One row, from its stretches."""
    row = tl.program_id(0)
    logits += row.to(tl.int64) * row_stride
    TILE: tl.constexpr = LANES * DEPTH
    n = tl.arange(0, STRETCHES)
    there = n < stretches
    at = row * stretches + n
    top = tl.load(part + at * 5, mask=there, other=float("-inf"))
    total = tl.load(part + at * 5 + 1, mask=there, other=0.0)
    spread = tl.load(part + at * 5 + 2, mask=there, other=0.0)
    best = tl.max(top, 0)
    fall = below(top, best)
    kept = tl.exp2(fall)
    z = tl.sum(kept * total, 0)

    # the leftmost column of the maximum: in the first tile of the first stretch that has it
    stretch = tl.min(tl.where((top == best) & there, n, NEVER), 0)
    stretch = tl.where(stretch == NEVER, 0, stretch)  # NaN
    begin = stretch * STRETCH + tl.load(tiles + row * stretches + stretch) * TILE
    columns = begin + tl.arange(0, TILE)
    x = load(logits, columns, vocab, banned, begin, TILE, N_BANNED)
    column = tl.min(tl.where((x == best) & (columns < vocab), columns, NEVER), 0)
    column = tl.where(column == NEVER, 0, column)

    # the second: the best of other stretches, of other lanes, or of the same lane
    others = tl.max(tl.where(n == stretch, float("-inf"), top), 0)
    columns = stretch * STRETCH + column % LANES + tl.arange(0, STRETCH // LANES) * LANES
    x = load(logits, columns, vocab, banned, stretch * STRETCH, STRETCH, N_BANNED)
    same = tl.max(tl.where(columns == column, float("-inf"), x), 0)
    second = tl.maximum(tl.maximum(others, same), tl.load(part + (row * stretches + stretch) * 5 + 3))

    lost = tl.sum(kept * (spread + total * tl.maximum(fall, FAR)), 0)
    defined, norm = (best - best == 0) & (z == z), tl.log(z)  # finite, and no NaN in the row
    tl.store(token + row, column.to(tl.int64))
    tl.store(logit + row, best)
    tl.store(share + row, tl.where(defined, 1 / z, 0.0))
    tl.store(log_share + row, tl.where(defined, -norm, float("-inf")))
    tl.store(entropy + row, tl.where(defined, norm - lost * LN2 / z, 0.0))
    tl.store(margin + row, tl.where(defined, (1 - tl.exp2(below(second, best))) / z, 0.0))

    if SAMPLE:
        drawn = draw(
            logits, vocab, banned, temperature, tl.load(uniform + row), part + at * 5 + 4, n, there,
            kept * total, fall, best, STRETCH, TILE, TEMPERED, N_BANNED,
        )
        drawn = tl.where(defined, drawn, 0)
        x_drawn = tl.load(logits + drawn.to(tl.int64)).to(tl.float32)
        tl.store(sample + row, drawn.to(tl.int64))
        tl.store(chance + row, tl.where(defined, tl.exp2(below(x_drawn, best)) / z, 0.0))
    if RACE:
        score = tl.load(raced + at, mask=there, other=float("-inf"))
        most = tl.max(score, 0)
        winner = tl.min(tl.where((score == most) & there, tl.load(racer + at, mask=there, other=NEVER), NEVER), 0)
        tl.store(race + row, tl.where(winner < vocab, winner, 0).to(tl.int64))


@dataclass(frozen=True)
class Found:
    """What one pass finds of R rows. Probabilities and entropy are of the raw distribution; rows without one (-inf
    everywhere, +inf or NaN somewhere) have token 0 where none is the likeliest, and 0 for all the rest."""

    token: Tensor  # (R,) long
    logit: Tensor  # (R,) float32
    share: Tensor  # (R,) float32  the probability of `token`,
    log_share: Tensor  # (R,) float32  and its logarithm; -inf where it is 0
    entropy: Tensor  # (R,) float32  nats
    margin: Tensor  # (R,) float32
    sample: Tensor | None = None  # (R,) long
    chance: Tensor | None = None  # (R,) float32  the probability of `sample`
    race: Tensor | None = None  # (R,) long


ALWAYS = ("token", "logit", "share", "log_share", "entropy", "margin")


def laid(logits: Tensor) -> tuple[Tensor, int]:
    """Logits whose columns are neighbours, and how far their rows are apart. Where rows are a multiple of 16 columns
    apart, the compiler makes wider loads, which sum in another order: on an H100 a row had other last bits in a view
    than in a copy of it. So views are copied where that differs from what the vocabulary says."""
    R, V = logits.shape
    odd = R > 1 and (logits.stride(0) % 16 == 0) != (V % 16 == 0)
    if odd or logits.stride(1) != 1:
        logits = logits.clone(memory_format=torch.contiguous_format)
    return logits, logits.stride(0) if R > 1 else V


def one_pass(
    logits: Tensor, banned: tuple[int, ...] = (), *, u: Tensor | None = None, h: Tensor | None = None,
    temperature: float = 1.0, columns: int | None = None, cut: Cut | None = None,
) -> Found:
    """Everything about the first `columns` of `logits (R, V)`, bfloat16, float16 or float32, with the tokens `banned`
    made impossible. With `u (R,)` double also the sample of `decoders.stats.reference.sample`, with `h (R,)` long that
    of `race`, each at `temperature`."""
    logits, row_stride = laid(logits)
    R, V, device = len(logits), columns or logits.shape[1], logits.device
    c = cut or Cut.of(V)
    S = triton.cdiv(V, c.stretch)
    found = Found(
        **{
            name: torch.empty(R, dtype=torch.long if name == "token" else torch.float32, device=device)
            for name in ALWAYS
        },
        sample=None if u is None else torch.empty(R, dtype=torch.long, device=device),
        chance=None if u is None else torch.empty(R, device=device),
        race=None if h is None else torch.empty(R, dtype=torch.long, device=device),
    )
    if R == 0:
        return found
    part, tiles = torch.empty(R, S, 5, device=device), torch.empty(R, S, dtype=torch.int32, device=device)
    raced = racer = tiles
    if h is not None:
        raced, racer = torch.empty(R, S, dtype=torch.double, device=device), torch.empty_like(tiles)
    ids = constant(banned, device) if banned else tiles
    warmth = constant((temperature,), device, torch.double)
    row = logits, row_stride, V, ids, warmth
    tempered = u is not None and temperature != 1
    how = {"LANES": c.lanes, "DEPTH": c.depth, "STRETCH": c.stretch, "TEMPERED": tempered, "RACE": h is not None}
    how |= {"N_BANNED": len(banned), "num_warps": c.warps}
    scratch = part, tiles, raced, racer, S
    scan[R, S](*row, tiles if h is None else h.contiguous(), *scratch, **how)
    # what was not asked for is not written to: any tensor may stand there
    out = [part if x is None else x for x in (getattr(found, f.name) for f in fields(Found))]
    finish[R,](
        *row, part if u is None else u.contiguous(), *scratch, *out, STRETCHES=triton.next_power_of_2(S),
        SAMPLE=u is not None, **how,
    )
    return found


FEW = 8
"""Banned tokens that the kernels look for one by one."""


@lru_cache
def narrowed(banned: tuple[int, ...], vocab: int) -> tuple[int, tuple[int, ...]]:
    """How many columns are left of the banned ones at the end of the vocabulary, where a head that is wider than its
    tokenizer has hundreds, and which of the others are banned."""
    gone = set(banned)
    columns = next((v for v in range(vocab, 1, -1) if v - 1 not in gone), 1)
    return columns, tuple(t for t in banned if t < columns)


class OnePass:
    """The statistics of R rows, `decoders.stats.Statistics`: the first one that is used computes all the others."""

    def __init__(self, logits: Tensor, banned: tuple[int, ...]) -> None:
        self.logits, self.banned = logits, banned
        columns, others = narrowed(banned, logits.shape[-1])
        few = len(others) <= FEW
        self.read, self.columns, self.sought = logits if few else self.allowed, columns, others if few else ()
        self.found: Found | None = None

    def passed(self, temperature: float = 1.0, u: Tensor | None = None, h: Tensor | None = None) -> Found:
        return one_pass(self.read, self.sought, u=u, h=h, temperature=temperature, columns=self.columns)

    def once(self) -> Found:
        if self.found is None:
            self.found = self.passed()
        return self.found

    @property
    def allowed(self) -> Tensor:
        return (
            self.logits.index_fill(-1, constant(self.banned, self.logits.device), -torch.inf)
            if self.banned
            else self.logits
        )

    @property
    def defined(self) -> Tensor | None:
        return None if self.found is None else self.found.log_share.isfinite()

    def best(self) -> tuple[Tensor, Tensor]:
        found = self.once()
        return found.token, found.share

    def prob(self, tokens: Tensor) -> Tensor:
        found = self.once()
        below = self.logits.gather(1, tokens[:, None])[:, 0].float() - found.logit
        return (below + found.log_share).exp().masked_fill(among(tokens, self.banned), 0.0).nan_to_num(0.0)

    def entropy(self) -> Tensor:
        return self.once().entropy

    def margin(self) -> Tensor:
        return self.once().margin

    def sample(self, u: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        found = self.passed(temperature, u=u)
        self.found = self.found or found
        assert found.sample is not None
        assert found.chance is not None
        return found.sample, found.chance

    def race(self, h: Tensor, temperature: float) -> Tensor:
        found = self.passed(temperature, h=h)
        self.found = self.found or found
        assert found.race is not None
        return found.race
