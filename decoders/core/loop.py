"""decode: the simple loop over a batch of prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch

from decoders.core.cache import Cache, Exact
from decoders.core.canvas import Canvas
from decoders.core.decoder import Decoder, named
from decoders.core.events import Event, Narrator, generated
from decoders.core.layout import layout
from decoders.core.model import Forward, Model, Shape, expand_of, is_causal, space_of
from decoders.core.needs import MODEL, SENTENCES, asks, refuse
from decoders.core.plan import Plan, Rule
from decoders.core.pred import Pred
from decoders.core.rows import FILLED, LIVE, NO_PROGRESS, NON_FINITE, REASONS, STOPPED
from decoders.core.state import nbytes
from decoders.core.step import apply, prepare, session_spec
from decoders.core.windows import Blocks, Windows
from decoders.errors import NonFiniteError, RowError, StalledError, UsageError


@dataclass(frozen=True)
class Row:
    """The result of decoding one prompt. Rows are equal if their results are equal; costs are not compared."""

    tokens: tuple[int, ...]
    """Generated token ids, up to and without the first stop id; with `infill`, those that fill holes come first."""
    nfe: int
    """Forward passes that this row took part in. A doubled batch (guidance) counts once."""
    finish_reason: str
    """`stop`, `length`, `max_steps`, `non_finite` (the model's logits were not finite, and the row was not changed by
    that forward) or `no_progress` (the decoder stopped committing). In the last three cases open positions are left out
    of `tokens`."""
    canvas: tuple[int, ...]
    """All tokens of the row, prompt included."""
    positions_computed: int = field(default=0, compare=False)
    """Positions that the model computed for this row, in all forwards, without padding to longer rows."""
    positions_reused: int = field(default=0, compare=False)
    """Positions whose stored keys and values were read instead."""
    flops: float = field(default=0.0, compare=False)
    """Floating point operations for `positions_computed`; a multiplication and an addition are two. 0 if the model does
    not report them."""
    memo_bytes: int = field(default=0, compare=False)
    """Bytes of the decoder's own tensors for this row."""
    forwards: tuple[int, ...] = field(default=(), compare=False)
    """The number of forward passes of each of the decoder's `phases`; empty if it has none."""

    decoder: str = field(default="", compare=False)
    """The name of the decoder, for messages."""

    def error(self, where: str = "") -> RowError | None:
        """The error of a row that could not be decoded to its end, else None; `where` begins its message."""
        kind = {NON_FINITE: NonFiniteError, NO_PROGRESS: StalledError}.get(self.finish_reason)
        return kind and kind(self.nfe, where, self.decoder)

    @property
    def cache_hit_rate(self) -> float:
        """The share of positions that were read from the store."""
        return self.positions_reused / max(self.positions_reused + self.positions_computed, 1)


def check(model: Model, decoder: Decoder, cache: Cache) -> None:
    """Raises `UsageError` if a model cannot do what a strategy or a cache policy needs."""
    asked = asks(decoder, model.block_causal)
    able = {*model.capabilities, *(set(SENTENCES) - MODEL)}
    latent = space_of(model) is not None
    maskless = is_causal(model) and decoder.maskless
    there = {
        "mask": model.mask_id is not None or maskless, "blocks": model.block_causal, "latents": latent,
        "expand": expand_of(model) is not None,
    }
    able -= {name for name, is_so in there.items() if not is_so}
    refuse(type(decoder).__name__, asked, able, "this model")
    if latent and "latents" not in asked:
        raise UsageError(
            f"{type(decoder).__name__} decides tokens, and this model denoises latents; take ddim, ddpm, dpmpp_2m or "
            "codar"
        )
    policy = type(cache).__name__
    if latent and not (cache.exact or cache.whole):
        raise UsageError(f"the cache {policy} goes by tokens, and this model denoises latents; take exact or none")
    if cache.needs_blocks and not model.block_causal:
        raise UsageError(
            f"the cache {policy} is for block-causal models; for this one there are exact, prefix, dual and others"
        )
    if cache.needs_store and "store" not in model.capabilities:
        raise UsageError(
            f"the cache {policy} reuses stored keys and values, and this model keeps none; take exact or none"
        )
    if cache.needs_attention and "attention" not in model.capabilities:
        raise UsageError(f"the cache {policy} reads attention maps, and this model gives none")


@runtime_checkable
class Foreseeing(Protocol):
    """A session that runs away from its model. Before a forward it is told which step reads the prediction, so that it
    need not fetch all of it."""

    def foresee(self, plan: Plan, c: Canvas, f: Forward) -> None:
        """`f` comes next, on the canvas `c`; only `apply` with this plan will read its prediction."""

    def __call__(self, f: Forward) -> Pred: ...


class Run(Protocol):
    """A run of a canvas."""

    @property
    def canvas(self) -> Canvas: ...

    def step(self) -> None:
        """One forward and step of all rows, without a host synchronisation."""

    def live(self) -> bool:
        """Whether any row is still live: the only host synchronisation, at every poll."""

    def put(self, c: Canvas) -> None:
        """Continue from another canvas."""


class Eager:
    """The plain runner: the host launches every operation of a step."""

    def __init__(
        self, model: Model, plan: Plan, c: Canvas, watch: Callable[[Forward, Pred, Canvas], None] | None = None
    ) -> None:
        self.plan, self.canvas, self.watch = plan, c, watch
        self.forward = model.session(session_spec(plan, c))
        unwatched = watch is None  # a `watch` may read more of a prediction than the step does
        self.foresee = self.forward.foresee if unwatched and isinstance(self.forward, Foreseeing) else None

    def step(self) -> None:
        f = prepare(self.plan, self.canvas)
        if self.foresee:
            self.foresee(self.plan, self.canvas, f)
        p = self.forward(f)
        self.canvas = apply(self.plan, self.canvas, f, p)
        if self.watch:
            self.watch(f, p, self.canvas)

    def live(self) -> bool:
        return LIVE in self.canvas.reason.tolist()

    def put(self, c: Canvas) -> None:
        self.canvas = c


class Runner(Protocol):
    """Another way to run steps than `Eager`, such as `decoders.engine.Graph`."""

    def start(self, model: Model, plan: Plan, lay: Callable[..., Canvas]) -> Run | None:
        """A run of the canvas `lay()`, or of `lay(rows, columns, windows)`, which has additional rows that have ended,
        or additional columns. None if it is impossible; a warning has then said why."""


@torch.inference_mode()
def decode(
    model: Model, decoder: Decoder, prompts: Sequence[Sequence[int]], *, length: int, windows: Windows | None = None,
    cache: Cache | None = None, rules: Sequence[Rule] = (), stop: bool = True, infill: bool = False, seed: int = 0,
    seeds: Sequence[int] | None = None, max_steps: int | None = None, poll: int = 1,
    halt: Callable[[int, Sequence[int]], bool] | None = None, on_event: Callable[[Event], None] | None = None,
    watch: Callable[[Forward, Pred, Canvas], None] | None = None, runner: Runner | None = None,
    final: Callable[[Canvas], None] | None = None,
) -> list[Row]:
    """Decode prompts (token ids) with one strategy; rows are independent.

    `length` positions follow each prompt. `windows` default to one over the whole row, `cache` to the exact rule.
    `stop`: end a row at its first stop token, as soon as nothing to the left of that is open. `seed` is every row's
    seed unless `seeds` gives each its own; the same seed gives the same tokens in any batch. `max_steps` forwards end a
    row. `poll`: the host looks at the rows every `poll` forwards; finished rows are idle in between. At a poll,
    `halt(row, tokens)` is called with the final tokens of a live row and may end it, and `on_event` is called with
    news. `watch` is called after every forward, and `final` with the canvas at the end. `runner` runs the steps, unless
    there is a `watch`; by default, and if the runner cannot run them, the host launches each operation.

    Raises `UsageError` if the prompts cannot be decoded.
    """
    cache = cache or Exact()
    check(model, decoder, cache)
    positive(poll=poll, max_steps=max_steps)
    longest = max((len(p) for p in prompts), default=0) + length
    windows = windows or Blocks(model.attention_block or max(longest, 1))
    plan = Plan(decoder, windows, cache, tuple(rules), stop, max_steps)
    keys = [seed] * len(prompts) if seeds is None else seeds
    if len(keys) != len(prompts):
        raise UsageError(f"{len(prompts)} prompts need {len(prompts)} seeds, not {len(keys)}")

    def lay(rows: int = len(prompts), columns: int | None = None, windows: Windows = plan.windows) -> Canvas:
        """The canvas; rows beyond the prompts are copies of the first one and have ended."""
        more = rows - len(prompts)
        c = layout(
            Shape.of(model), decoder, [*prompts, *(prompts[0] for _ in range(more))], length=length,
            keys=[*keys, *range(more)], windows=windows, cache=cache, infill=infill, columns=columns,
            device=model.device,
        )
        real = torch.arange(rows, device=c.reason.device) < len(prompts)
        return replace(c, reason=torch.where(real, c.reason, FILLED)) if more else c

    run = runner.start(model, plan, lay) if runner and not watch else None
    run = run or Eager(model, plan, lay(), watch)
    narrate = Narrator(on_event, decoder.revises, len(prompts)) if on_event else None
    steps = 0
    while True:
        run.step()
        steps += 1
        if steps % poll:
            continue
        if halt:
            run.put(halted(run.canvas, decoder, halt))
        if narrate:
            narrate(run.canvas)
        if not run.live():
            if final:
                final(run.canvas)
            return [row_of(run.canvas, b, decoder) for b in range(len(prompts))]


def positive(**counts: int | None) -> None:
    """Raises `UsageError` for a count below one."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")


def sound(rows: list[Row]) -> list[Row]:
    """The rows, unchanged. Raises `RowError` for the first one that could not be decoded to its end."""
    for b, row in enumerate(rows):
        if error := row.error(f"row {b}: "):
            raise error
    return rows


def halted(c: Canvas, decoder: Decoder, halt: Callable[[int, Sequence[int]], bool]) -> Canvas:
    """End the live rows for which `halt`, called with their settled tokens, is true."""
    enough = []
    for row, reason in enumerate(c.reason.tolist()):
        tokens, settled = generated(c, row, decoder.revises)
        enough.append(reason == LIVE and halt(row, [t for t in tokens[:settled] if t is not None]))
    return replace(c, reason=torch.where(torch.tensor(enough, device=c.reason.device), STOPPED, c.reason))


def row_of(c: Canvas, row: int, decoder: Decoder) -> Row:
    tokens, _ = generated(c, row, decoder.revises)
    reason = REASONS[int(c.reason[row])]
    whole = c.tokens[row, : int(c.limit[row])].tolist()
    kept = [t for t in tokens if t is not None]
    spent = int(c.store.computed[row]), int(c.store.reused[row]), float(c.store.flops[row])
    forwards = tuple(c.store.kinds[row].tolist()) if decoder.phases else ()
    return Row(
        tuple(kept), int(c.clock[row]), reason, tuple(whole), *spent, nbytes(c.memo, row), forwards, named(decoder)
    )
