"""Replay of a whole run: final tokens, number of forward passes, and the canvas after every forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from decoders import Blocks, Decoder, Plan, Pred, State, apply, choose, decode, prepare
from decoders.core import Cache, Canvas, Exact, Model, Shape, Trace, layout, session_spec, view
from decoders.models.adapter import TransformersModel
from decoders.models.guidance import Guided
from decoders_bench.golden.cases import Case, MismatchError, SkipError, rows
from decoders_bench.golden.models import Models

Score = Callable[[Pred], tuple[Tensor, Tensor]]
"""(B, W) the token that a rule commits at each position, and (B, W) the score by which it ranks positions."""


@dataclass(frozen=True)
class Setup:
    """How this library decodes a case."""

    decoder: Decoder
    score: Score
    block: int | None = None
    guidance: float = 0.0
    cache: Cache = field(default_factory=Exact)
    padding: Literal["keys", "both"] = "keys"
    """How the reference masks left padding: only the padded keys, or also everything that a padded query would attend
    to."""


@dataclass(frozen=True)
class Job:
    """A case and its decoding. Padded prompt tokens are dropped: rows here start at column 0, and rotary positions are
    relative."""

    setup: Setup
    model: Model
    prompts: list[list[int]]
    pads: list[int]
    length: int
    infill: bool
    tokens: list[list[int]]  # the reference's final tokens, without the padding
    nfe: int
    canvases: list[list[list[int]]]
    widths: list[int]  # positions that the reference computed in each forward pass, if recorded
    nan: list[bool]  # rows in which the reference computed only NaN
    # decides when the reference ends a row early, as an argument of `decode`
    halt: Callable[[int, Sequence[int]], bool] | None = None

    @property
    def windows(self) -> Blocks:
        longest = max(map(len, self.prompts)) + self.length
        return Blocks(longest if self.setup.block is None or self.infill else self.setup.block)

    @property
    def compared(self) -> list[int]:
        return [b for b, nan in enumerate(self.nan) if not nan]


def job_of(case: Case, models: Models, setup: Setup) -> Job:
    """Reads a trajectory case. Raises `MismatchError` or `SkipError`."""
    prompts, mask_id = rows(case.need("prompt")), case.mask_id
    masks = paddings(case.params.get("attention_mask"), prompts)
    pads = [m.count(0) for m in masks]
    if any(m != sorted(m) for m in masks):
        raise SkipError("only left padding can be replayed")
    tokens = rows(case.need("expected", "tokens"))
    length = int(case.params.get("gen_length", case.params.get("max_new_tokens", len(tokens[0]) - len(prompts[0]))))
    model = models.get(case.need("model"), mask_id)
    nan = reference_nan(model, prompts, masks, length, setup.padding) if any(pads) else [False] * len(prompts)
    if all(nan):
        raise SkipError("the reference computed only NaN in every row")
    expected = case.need("expected")
    canvases = [rows(canvas) for canvas in expected.get("canvases") or []]
    shapes, nfe = [shape[1] for shape in expected.get("forward_shapes") or []], int(case.need("expected", "nfe"))
    if case.wasted:  # this library does not have them
        idle = [k for k in range(1, len(canvases)) if canvases[k] == canvases[k - 1]]
        if len(idle) != case.wasted:
            raise MismatchError(
                f"{case.wasted} wasted forwards are announced, and {len(idle)} canvases repeat the one before"
            )
        canvases, shapes = ([x for k, x in enumerate(xs) if k not in idle] for xs in (canvases, shapes))
    if len(tokens) != len(prompts) or any(len(canvas) != len(prompts) for canvas in canvases):
        raise MismatchError(f"{len(prompts)} prompts need as many rows of tokens and of every canvas")

    def cut(canvas: list[list[int]]) -> list[list[int]]:
        return [row[pad:] for row, pad in zip(canvas, pads, strict=True)]

    return Job(
        setup, Guided(model, setup.guidance) if setup.guidance else model, cut(prompts), pads, length,
        any(mask_id in p for p in prompts), cut(tokens), nfe - case.wasted, [cut(c) for c in canvases], shapes, nan,
    )


def paddings(mask: Any, prompts: list[list[int]]) -> list[list[int]]:
    """The attention mask of every prompt token; null, or a remark in words, means all ones."""
    if not isinstance(mask, list):
        return [[1] * len(p) for p in prompts]
    found = [[int(bool(x)) for x in row[: len(p)]] for row, p in zip(rows(mask), prompts, strict=True)]
    return [row + [1] * (len(p) - len(row)) for row, p in zip(found, prompts, strict=True)]


def reference_nan(
    model: TransformersModel, prompts: list[list[int]], masks: list[list[int]], length: int, padding: str
) -> list[bool]:
    """Whether the reference's own first forward pass is NaN at any unpadded place of a row. If padded queries attend to
    nothing, the mask value overflows in the float32 softmax of the attention, their output is NaN, and the next layer
    spreads it over the row."""
    tokens = torch.tensor([p + [model.mask_id] * length for p in prompts])
    real = torch.tensor([m + [1] * length for m in masks]).bool()
    sees = real[:, None, :].expand(-1, real.shape[1], -1)
    position = torch.arange(real.shape[1]).expand_as(tokens)
    if padding == "both":
        sees = sees & real[:, :, None]
        position = (real.long().cumsum(-1) - 1).masked_fill(~real, 1)
    logits = model.head(model.states(tokens, position, sees)[0])
    return [bool(x) for x in (logits.isnan().any(-1) & real).any(-1)]


def trajectory(case: Case, models: Models, setup: Setup) -> str:
    """Replays a case; the result is a note, or an empty text, if it agrees. Raises `MismatchError` or `SkipError`.

    It agrees if tokens, number of forward passes and all canvases are equal. If they are not, each forward pass is
    repeated from the reference's canvas: the case also agrees if each of the reference's choices is among several to
    which our rule gives exactly equal scores.
    """
    job = job_of(case, models, setup)
    notes = [f"row {b} is not compared: the reference computed NaN there" for b, nan in enumerate(job.nan) if nan]
    try:
        free(job)
    except MismatchError as e:
        if case.flagged or e.step is None or len(job.canvases) != job.nfe:
            raise
        ties = forced(job)
        if not ties:
            raise
        notes.append(f"other choice among exactly equal scores at forwards {', '.join(map(str, ties))}")
    return "; ".join(notes)


def free(job: Job) -> Trace:
    """Decode as a user would and compare; the result is the trace. Raises `MismatchError`."""
    trace = Trace()
    out = decode(
        job.model, job.setup.decoder, job.prompts, length=job.length, windows=job.windows, cache=job.setup.cache,
        infill=job.infill, halt=job.halt, watch=trace,
    )
    for k, (ours, theirs) in enumerate(zip(trace.canvases, job.canvases, strict=False)):
        same(job, ours, theirs, k)
    nfe = max(out[b].nfe for b in job.compared)
    if nfe != job.nfe:
        raise MismatchError(f"{nfe} forwards instead of {job.nfe}", min(nfe, job.nfe))
    same(job, trace.canvases[-1], job.tokens, job.nfe - 1)
    for k, (f, width) in enumerate(zip(trace.forwards, job.widths, strict=False)):
        if not job.setup.cache.exact and int(f.compute.sum()) != width:
            raise MismatchError(f"{int(f.compute.sum())} positions computed instead of {width}", k)
    return trace


def same(job: Job, canvas: Canvas, theirs: list[list[int]], k: int) -> None:
    """Raises `MismatchError` at the first place where a compared row differs from the reference's."""
    for b in job.compared:
        ours = canvas.tokens[b, : int(canvas.limit[b])].tolist()
        if len(ours) != len(theirs[b]):
            raise MismatchError(f"row {b}: {len(ours)} tokens instead of {len(theirs[b])}", k)
        for i, (x, y) in enumerate(zip(ours, theirs[b], strict=True)):
            if x != y:
                raise MismatchError(f"row {b}, position {i + job.pads[b]}: {x} instead of {y}", k)


@dataclass(frozen=True)
class Follow(Decoder):
    """Commits the tokens of `tokens (B, L)` in the windows of some rows, whatever was predicted; `inner` decodes the
    other rows."""

    inner: Decoder
    tokens: Tensor
    rows: Tensor  # (B,) bool

    def step(self, s: State, p: Pred) -> State:
        tokens = self.tokens.gather(1, s.position)
        masked = tokens == s.blank()
        after = s.commit(~masked, tokens, torch.zeros_like(s.confidence)).reopen(masked & ~s.open)
        return choose(self.rows, after, self.inner.step(s, p))


@dataclass(frozen=True)
class Step:
    """One forward pass from the reference's canvas: the result of our rule, and that of the reference."""

    k: int
    pred: Pred
    before: State
    ours: State
    theirs: State
    canvas: Canvas  # after the reference's choice

    def committed(self, s: State) -> Tensor:
        """(B, W) bool"""
        return self.before.open & ~s.open


def follow(job: Job) -> Iterator[Step]:
    """Teacher forcing: every forward starts from the canvas that the reference had before it."""
    decoder, B = job.setup.decoder, len(job.prompts)
    plan = Plan(decoder, job.windows, job.setup.cache)
    c = layout(
        Shape.of(job.model), decoder, job.prompts, length=job.length, keys=[0] * B, windows=job.windows,
        infill=job.infill,
    )
    forward = job.model.session(session_spec(plan, c))
    compared = torch.tensor([not nan for nan in job.nan])
    for k, theirs in enumerate(job.canvases):
        f = prepare(plan, c)
        p = forward(f)
        tokens = c.tokens.clone()
        for b, row in enumerate(theirs):
            tokens[b, : len(row)] = torch.tensor(row)
        before, leader = view(c), Follow(decoder, tokens, compared)
        c = apply(replace(plan, decoder=leader), c, f, p)
        yield Step(k, p, before, decoder.step(before, p), leader.step(before, p), c)


def forced(job: Job) -> list[int]:
    """The forward passes at which the reference chose differently among equal scores. Raises `MismatchError` at the
    first choice that is not a tie."""
    ties = []
    for step in follow(job):
        same(job, step.canvas, job.canvases[step.k], step.k)  # it left all other positions unchanged
        ours, theirs = step.committed(step.ours), step.committed(step.theirs)
        best, score = job.setup.score(step.pred)
        for b in job.compared:
            if torch.equal(step.ours.tokens[b], step.theirs.tokens[b]):
                continue
            tie(step.k, b, ours[b], theirs[b], best[b], step.theirs.tokens[b], score[b])
            if not torch.equal(best[b][ours[b]], step.ours.tokens[b][ours[b]]):
                raise MismatchError(f"row {b}: ours commits other tokens than those it ranks best", step.k)
            ties.append(step.k)
        over = not any(bool(step.canvas.live[b]) for b in job.compared)
        if over != (step.k == job.nfe - 1):
            raise MismatchError(
                f"the rows are {'' if over else 'not '}finished after {step.k + 1} of {job.nfe} forwards", step.k
            )
    same(job, step.canvas, job.tokens, job.nfe - 1)
    return sorted(set(ties))


def tie(k: int, b: int, ours: Tensor, theirs: Tensor, best: Tensor, tokens: Tensor, score: Tensor) -> None:
    """All (W,). Raises `MismatchError` unless the reference's choice differs from ours only among positions of equal
    score."""
    if ours.sum() != theirs.sum():
        raise MismatchError(f"row {b}: {int(ours.sum())} positions committed instead of {int(theirs.sum())}", k)
    if not torch.equal(best[theirs], tokens[theirs]):
        raise MismatchError(f"row {b}: the tokens {best[theirs].tolist()} instead of {tokens[theirs].tolist()}", k)
    if not torch.equal(score[ours].sort().values, score[theirs].sort().values):
        raise MismatchError(
            f"row {b}: positions {ours.nonzero().flatten().tolist()} of the window committed instead of "
            f"{theirs.nonzero().flatten().tolist()}, and their scores are not equal", k,
        )
