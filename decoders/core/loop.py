"""decode: the loop for whoever has no loop of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from decoders.core.canvas import LIVE, REASONS, STOPPED, Canvas, Shape, layout
from decoders.core.decoder import Decoder
from decoders.core.errors import UsageError
from decoders.core.events import Event, Narrator, generated
from decoders.core.forward import Cache, Forward, Model, Need, Plan, Rule, ask, tell
from decoders.core.pred import Pred
from decoders.core.windows import Blocks, Windows


@dataclass(frozen=True)
class Row:
    """What one prompt became. Rows are equal if the same became of them, whatever was spent on it."""

    tokens: tuple[int, ...]
    """Generated token ids, up to and without the first stop id; with `infill`, those that fill holes come first."""
    nfe: int
    """Forward passes that this row took part in. A doubled batch (guidance) counts once."""
    finish_reason: str
    """`stop`, `length` or `max_steps`; in the last case undecided positions are left out of `tokens`."""
    canvas: tuple[int, ...]
    """The whole row as it stands, prompt included."""
    positions_computed: int = field(default=0, compare=False)
    """Positions that the model ran for this row, in all forwards; padding beside longer rows is not counted."""
    positions_reused: int = field(default=0, compare=False)
    """Positions whose stored keys and values were read instead."""
    flops: float = field(default=0.0, compare=False)
    """Floating point operations for `positions_computed`, a multiplication and an addition being two; 0 if the model does not tell."""

    @property
    def cache_hit_rate(self) -> float:
        """The share of positions that were read from the store."""
        return self.positions_reused / max(self.positions_reused + self.positions_computed, 1)


def check(model: Model, decoder: Decoder, cache: Cache) -> None:
    """Raises `UsageError` where a model cannot do what a strategy or a cache policy needs."""
    name, policy = type(decoder).__name__, type(cache).__name__
    if decoder.needs_mask and model.mask_id is None:
        raise UsageError(f"{name} needs a model with a mask token, and this one has none")
    if decoder.needs_causal and "causal" not in model.gives:
        raise UsageError(f"{name} asks what follows from the left alone, and this model cannot be asked so")
    if decoder.needs_sight and "sight" not in model.gives:
        raise UsageError(f"{name} hides parts of the text from each other, and this model cannot be told which positions see which")
    if cache.needs_blocks and not model.block_causal:
        raise UsageError(f"the cache {policy} is for block-causal models; for this one there are exact, prefix, dual and others")
    if cache.needs_store and "store" not in model.gives:
        raise UsageError(f"the cache {policy} reuses stored keys and values, and this model keeps none; take exact or none")
    if cache.needs_attention and "attention" not in model.gives:
        raise UsageError(f"the cache {policy} reads attention maps, and this model gives none")


@torch.inference_mode()
def decode(
    model: Model, decoder: Decoder, prompts: Sequence[Sequence[int]], *, length: int, windows: Windows | None = None,
    cache: Cache | None = None, rules: Sequence[Rule] = (), stop: bool = True, infill: bool = False, seed: int = 0,
    seeds: Sequence[int] | None = None, max_steps: int | None = None, poll: int = 1,
    halt: Callable[[int, Sequence[int]], bool] | None = None, on_event: Callable[[Event], None] | None = None,
    watch: Callable[[Forward, Pred, Canvas], None] | None = None,
) -> list[Row]:
    """Decode prompts (token ids) with one strategy; rows are independent.

    `length` positions follow each prompt. `windows` default to one over the whole row, `cache` to the exact rule. `stop`: end a
    row at its first stop token, as soon as nothing left of that is open. `seed` is every row's seed unless `seeds` gives each its
    own; the same seed gives the same tokens in any batch. `max_steps` forwards end a row. `poll`: look at the host every so many
    forwards; rows that are done rest meanwhile. `halt(row, tokens)` is asked at a poll about the settled tokens of a live row and
    may end it. `on_event` hears of news at a poll, `watch` of every forward.

    Raises `UsageError` for what cannot be decoded.
    """
    from decoders.caches.exact import Exact  # the default policy is a plug like any other

    cache = cache or Exact()
    check(model, decoder, cache)
    for name, value in (("poll", poll), ("max_steps", max_steps)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    longest = max((len(p) for p in prompts), default=0) + length
    plan = Plan(decoder, windows or Blocks(model.attention_block or max(longest, 1)), cache, tuple(rules), stop, max_steps)
    keys = [seed] * len(prompts) if seeds is None else seeds
    if len(keys) != len(prompts):
        raise UsageError(f"{len(prompts)} prompts need as many seeds, not {len(keys)}")
    c = layout(
        Shape.of(model), decoder, prompts, length=length, keys=keys, windows=plan.windows, cache=cache, infill=infill, device=model.device,
    )
    forward = model.session(Need.of(plan, c))
    narrate = Narrator(on_event, decoder.revises) if on_event else None
    steps = 0
    while True:
        f = ask(plan, c)
        p = forward(f)
        c = tell(plan, c, f, p)
        steps += 1
        if watch:
            watch(f, p, c)
        if steps % poll:
            continue
        if halt:
            c = halted(c, decoder, halt)
        if narrate:
            narrate(c)
        if not bool(c.live.any()):  # the one host sync of a step
            return [row_of(c, b, decoder) for b in range(len(prompts))]


def halted(c: Canvas, decoder: Decoder, halt: Callable[[int, Sequence[int]], bool]) -> Canvas:
    """End the live rows whose settled tokens `halt` says are enough."""
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
    spent = int(c.computed[row]), int(c.reused[row]), float(c.flops[row])
    return Row(tuple(kept), int(c.clock[row]), reason, tuple(whole), *spent)
