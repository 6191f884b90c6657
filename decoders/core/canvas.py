"""Canvas: all rows of a batch with their text, their windows, and what the stored keys and values were computed from.

Column = position: prompts start at column 0 and there is no left padding. Rows are independent; each has its own window and
leaves it alone. The last column is a bin: no row reaches it, and index arithmetic past a row's end lands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from decoders.core.decoder import Decoder
from decoders.core.errors import UsageError
from decoders.core.state import State
from decoders.core.windows import Windows

if TYPE_CHECKING:
    from decoders.core.forward import Cache, Model

NOTHING, APPROXIMATE = -1, -2
"""What `Canvas.kv_tokens` holds where nothing is stored, and where what is stored saw keys and values that were out of date."""
LIVE, STOPPED, FILLED, EXHAUSTED = range(4)
REASONS = ("live", "stop", "length", "max_steps")

_CUT = ("tokens", "open", "editable", "confidence", "committed_at")  # what a State shows of the canvas


@dataclass(frozen=True)
class Canvas:
    """Everything about a batch of rows, as tensors; never changed in place."""

    tokens: Tensor  # (B, L) long
    open: Tensor  # (B, L) bool
    editable: Tensor  # (B, L) bool
    confidence: Tensor  # (B, L) float
    committed_at: Tensor  # (B, L) long
    until: Tensor  # (B, L) long  position i sees the columns left of until[i]: its block's end, or the row's
    kv_tokens: Tensor  # (B, L) long  the tokens that the stored keys and values were computed from, NOTHING, or APPROXIMATE
    kv_until: Tensor  # (B, L) long  and what they saw: the columns left of it,
    kv_hidden: Tensor  # (B, L, 2) long  less those from the first of these up to the second; all 0 unless the decoder `needs_sight`
    stale: Tensor  # (B, L) bool  what a cache policy wants recomputed in the next forward
    start: Tensor  # (B,)   long  the row's window
    size: Tensor  # (B,)   long
    limit: Tensor  # (B,)   long  end of the row
    block_start: Tensor  # (B,)   long  in a block-causal model, the block of the attention that the window is in
    block_end: Tensor  # (B,)   long
    opened: Tensor  # (B,)   long  positions open when the window was entered
    windows: Tensor  # (B,)   long  windows the row has in all
    step: Tensor  # (B,)   long  forwards spent on this window
    clock: Tensor  # (B,)   long  forwards spent on this row
    key: Tensor  # (B,)   long
    reason: Tensor  # (B,)   long  LIVE, or why the row ended
    computed: Tensor  # (B,)   long  positions that the model ran for this row
    reused: Tensor  # (B,)   long  positions whose keys and values it read from the store instead
    flops: Tensor  # (B,)   double  floating point operations that it spent; 0 where it does not tell
    width: int  # W
    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...]
    block_causal: bool
    causal_context: bool
    alternatives: int = 0  # A, of the forwards
    memo: Any = None
    memory: Any = None  # a cache policy's own tensors, leading dimension B; structure never changes

    @property
    def column(self) -> Tensor:
        """(L,)"""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device)

    @property
    def at(self) -> Tensor:
        """(B, W) columns of the window; past the canvas, the bin."""
        at = self.start[:, None] + torch.arange(self.width, device=self.start.device)
        return at.clamp(max=self.tokens.shape[1] - 1)

    @property
    def inside(self) -> Tensor:
        """(B, W) bool: positions that belong to the row's own window."""
        return torch.arange(self.width, device=self.start.device) < self.size[:, None]

    @property
    def window(self) -> Tensor:
        """(B, L) bool: columns of the row's own window."""
        return (self.column >= self.start[:, None]) & (self.column < (self.start + self.size)[:, None])

    @property
    def reach(self) -> Tensor:
        """(B,) columns from here on play no part yet."""
        return torch.minimum(self.block_end, self.limit) if self.block_causal else self.limit

    @property
    def live(self) -> Tensor:
        """(B,) bool"""
        return self.reason == LIVE


def view(c: Canvas) -> State:
    """The rows' windows, as a strategy sees them."""
    at, inside = c.at, c.inside
    cut = {name: getattr(c, name).gather(1, at) for name in _CUT}
    cut |= {"open": cut["open"] & inside, "editable": cut["editable"] & inside}
    return State(
        **cut, position=at, size=c.size, opened=c.opened, windows=c.windows, step=c.step, clock=c.clock, key=c.key,
        mask_id=c.mask_id, vocab=c.vocab, stop_ids=c.stop_ids, block_causal=c.block_causal,
        rest=(c.limit - c.start - c.size).clamp(min=0), memo=c.memo,
    )


def write(c: Canvas, s: State) -> Canvas:
    """The canvas with the rows' windows replaced."""
    at, inside = c.at, c.inside

    def put(old: Tensor, new: Tensor) -> Tensor:
        return old.scatter(1, at, torch.where(inside, new, old.gather(1, at)))

    changed: dict[str, Any] = {name: put(getattr(c, name), getattr(s, name)) for name in _CUT}
    return replace(c, **changed, step=s.step, clock=s.clock, memo=s.memo)


def enter(c: Canvas, windows: Windows) -> Canvas:
    """A window for rows whose `start` is new: its size, how much is open in it, and what its positions will see."""
    size = torch.minimum(windows.next(c).clamp(min=1, max=c.width), (c.limit - c.start).clamp(min=0))
    c = replace(c, size=size, step=torch.zeros_like(c.step))
    until, column = c.until, c.column
    if c.causal_context:
        until = torch.where(column < c.start[:, None], column + 1, until)
    if c.block_causal:
        start, end = (c.start, c.start + size) if c.causal_context else windows.span(c)
        c = replace(c, block_start=start, block_end=end)
        within = (column >= c.block_start[:, None]) & (column < c.reach[:, None])
        until = torch.where(within, c.reach[:, None], until)
    return replace(c, opened=(c.open & c.window).sum(-1), until=until)


@dataclass(frozen=True)
class Shape:
    """What a canvas needs to know of a model; every `Model` has these."""

    mask_id: int | None
    vocab: int
    stop_ids: tuple[int, ...] = ()
    block_causal: bool = False
    causal_context: bool = False

    @classmethod
    def of(cls, model: Model) -> Self:
        return cls(**{f.name: getattr(model, f.name) for f in fields(cls)})


def layout(
    shape: Shape, decoder: Decoder, prompts: Sequence[Sequence[int]], *, length: int, keys: Sequence[int], windows: Windows,
    cache: Cache | None = None, infill: bool = False, columns: int | None = None, width: int | None = None,
    alternatives: int | None = None, device: torch.device | str = "cpu",
) -> Canvas:
    """Prompts at column 0, then `length` blanks, the first window entered, the decoder's memo and the cache policy's memory made.

    `infill`: mask tokens inside a prompt are holes to fill; otherwise they are data like any other token. `columns` fixes L for
    an engine whose rows come and go, `width` W for one whose rows have windows of several sizes, and `alternatives` A for one whose
    plans ask about several numbers of canvases; all only pad. Raises `UsageError` for impossible sizes, and where a whole-row budget
    of steps cannot be split evenly over the row's windows.
    """
    check_prompts(shape, prompts, length, infill)
    windows = decoder.windows(windows, shape.block_causal)
    pad = decoder.padding if shape.stop_ids else 0
    if pad and shape.block_causal:
        raise UsageError(f"{type(decoder).__name__} gives end tokens behind the row, and in a block-causal model nothing sees them")
    B, P = len(prompts), torch.tensor([len(p) for p in prompts])
    needed = int(P.max()) + length + pad + 1
    L = columns or needed
    W = width or min(windows.size, L - 1)
    if needed > L or min(windows.size, L - 1) > W:
        raise UsageError(f"{L} columns and windows of {W} are too few for rows of {needed - 1} and windows of {windows.size}")
    A = decoder.alternatives if alternatives is None else alternatives
    if decoder.alternatives > A:
        raise UsageError(f"{decoder.alternatives} alternatives are asked about, and there is room for {A}")
    tokens = torch.zeros(B, L, dtype=torch.long)
    for b, prompt in enumerate(prompts):
        tokens[b, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
    column, limit = torch.arange(L), P + length + pad
    editable = (column >= P[:, None]) & (column < (limit - pad)[:, None])
    if pad:
        tokens = torch.where((column >= (limit - pad)[:, None]) & (column < limit[:, None]), shape.stop_ids[0], tokens)
    if infill:
        editable |= (tokens == shape.mask_id) & (column < P[:, None])
    zero, none = torch.zeros(B, dtype=torch.long), torch.full((B, L), -1)
    c = Canvas(
        tokens=tokens, open=editable, editable=editable, confidence=torch.zeros(B, L), committed_at=none, until=none,
        kv_tokens=torch.full_like(none, NOTHING), kv_until=none, kv_hidden=torch.zeros(B, L, 2, dtype=torch.long),
        stale=torch.ones_like(editable), start=editable.long().argmax(1), size=zero, limit=limit,
        block_start=zero, block_end=zero, opened=zero, windows=zero, step=zero, clock=zero,
        key=torch.tensor(list(keys), dtype=torch.long), reason=zero, computed=zero, reused=zero, flops=zero.double(),
        width=W, mask_id=shape.mask_id, vocab=shape.vocab, stop_ids=shape.stop_ids, block_causal=shape.block_causal,
        causal_context=shape.causal_context, alternatives=A,
    )
    c = replace(c, start=windows.first(c))
    c = replace(c, windows=windows.count(c))
    check_budget(decoder, c)
    moved: dict[str, Any] = {f.name: x.to(device) for f in fields(c) if isinstance(x := getattr(c, f.name), Tensor)}
    c = replace(c, **moved)
    column = c.column
    until = c.limit[:, None].expand(B, L)
    if c.block_causal:  # whole blocks of the prompt see themselves; what is left of it is causal until the first window takes it
        end = column + 1 if c.causal_context else (column // windows.block + 1) * windows.block
        until = torch.where(end <= c.start[:, None], end, column + 1)
    everywhere = replace(view(c), tokens=c.tokens, position=column.expand(B, L))
    blank = torch.where(c.editable, everywhere.blank(), c.tokens)
    c = enter(replace(c, until=until, tokens=blank), windows)
    c = replace(c, memo=decoder.begin(decoder.init(view(c))).memo)
    return replace(c, memory=cache.init(c)) if cache else c


def check_prompts(shape: Shape, prompts: Sequence[Sequence[int]], length: int, infill: bool) -> None:
    if not prompts:
        raise UsageError("there is no prompt")
    if length < 0 or (length == 0 and not infill):
        raise UsageError(f"the length must be at least 1, not {length}")
    if infill and shape.mask_id is None:
        raise UsageError("this model has no mask token, so a prompt cannot have holes to fill")
    for prompt in prompts:
        if any(not 0 <= t < shape.vocab for t in prompt):
            raise UsageError(f"a prompt holds token ids outside the vocabulary of {shape.vocab}")
        if infill and length == 0 and shape.mask_id not in prompt:
            raise UsageError("a prompt has no hole to fill: write the model's mask token where one is, or give a length")


def check_budget(decoder: Decoder, c: Canvas) -> None:
    """A budget of steps for the whole row has to be divisible by the number of its windows."""
    steps = getattr(decoder, "steps", None)
    if not decoder.row_budget or steps is None:
        return
    for count in c.windows.unique().tolist():
        if steps % count:
            raise UsageError(f"{steps} steps cannot be split evenly over {count} blocks; take a multiple of {count}")
