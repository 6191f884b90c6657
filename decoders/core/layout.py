"""Layout: how a canvas is made from prompts, and how a row enters a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from decoders.core import needs
from decoders.core.cache import Cache
from decoders.core.canvas import Canvas
from decoders.core.decoder import Decoder
from decoders.core.model import Shape
from decoders.core.rows import Rows, view
from decoders.core.store import NOTHING, Store
from decoders.core.windows import Blocks, Whole, Windows
from decoders.errors import UsageError
from decoders.stats.constants import everywhere


def layout(
    shape: Shape, decoder: Decoder, prompts: Sequence[Sequence[int]], *, length: int | Sequence[int],
    keys: Sequence[int], windows: Windows, cache: Cache | None = None, infill: bool = False,
    columns: int | None = None, width: int | None = None, candidates: int | None = None,
    device: torch.device | str = "cpu",
) -> Canvas:
    """The canvas at the start: each prompt from column 0 on, then `length` blanks (one length for all rows, or one for
    each), with the first window entered, and with the decoder's memo and the cache policy's memory.

    `infill`: mask tokens inside a prompt are holes to fill; otherwise they are data like any other token. `columns`
    fixes L for an engine whose rows come and go, `width` W for one whose rows have windows of several sizes, and
    `candidates` A for one whose plans have different numbers of candidates; all three only add padding. Raises
    `UsageError` for impossible sizes, and if a whole-row budget of steps cannot be split evenly over the row's windows.
    """
    lengths = [length] * len(prompts) if isinstance(length, int) else list(length)
    check_prompts(shape, prompts, lengths, infill)
    windows = decoder.windows(windows, shape.block_causal)
    check_causal(shape, decoder, windows)
    pad = padding(decoder, shape)
    B, P = len(prompts), torch.tensor([len(p) for p in prompts])
    limit = P + torch.tensor(lengths) + pad
    L, W, A = sizes(decoder, shape, windows, int(limit.max()), columns, width, candidates)
    tokens = torch.zeros(B, L, dtype=torch.long)
    for b, prompt in enumerate(prompts):
        tokens[b, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
    column = torch.arange(L)
    editable = (column >= P[:, None]) & (column < (limit - pad)[:, None])
    if pad:
        tokens = torch.where((column >= (limit - pad)[:, None]) & (column < limit[:, None]), shape.stop_ids[0], tokens)
    if infill:
        editable |= (tokens == shape.mask_id) & (column < P[:, None])
    zero, none = torch.zeros(B, dtype=torch.long), torch.full((B, L), -1)
    c = Canvas(
        tokens=tokens, open=editable, editable=editable, confidence=torch.zeros(B, L), committed_at=none, until=none,
        given=(column < limit[:, None]) & ~editable,
        start=editable.long().argmax(1), size=zero, room=zero, limit=limit,
        block_start=zero, block_end=zero, opened=zero, windows=zero, step=zero, clock=zero,
        key=torch.tensor(list(keys), dtype=torch.long), reason=zero, store=empty(B, L, len(decoder.phases)),
        width=W, mask_id=shape.mask_id, vocab=shape.vocab, stop_ids=shape.stop_ids, block_causal=shape.block_causal,
        causal_context=shape.causal_context, causal=shape.block_causal and windows.block == 1, space=shape.space,
        candidates=A, expand_id=shape.expand_id,
    )
    c = replace(c, start=windows.first(c))
    c = replace(c, windows=windows.count(c))
    check_budget(decoder, c)
    c = moved(c, device)
    column = c.column
    until = c.limit[:, None].expand(B, L)
    # whole blocks of the prompt see themselves; the rest of it is causal until the first window includes it
    if c.block_causal:
        end = column + 1 if c.causal_context else (column // windows.block + 1) * windows.block
        until = torch.where(end <= c.start[:, None], end, column + 1)
    everywhere = replace(view(c), tokens=c.tokens, position=column.expand(B, L))
    blank = torch.where(c.editable, everywhere.blank(), c.tokens)
    c = enter(replace(c, until=until, tokens=blank), windows)
    c = begun(replace(c, memo=decoder.init(view(c)).memo), decoder)
    return replace(c, store=replace(c.store, memory=cache.init(c))) if cache else c


def padding(decoder: Decoder, shape: Shape) -> int:
    """The number of end tokens that the decoder adds after a row. Raises `UsageError` if no position would see them."""
    pad = decoder.padding if shape.stop_ids else 0
    if pad and shape.block_causal:
        raise UsageError(
            f"{type(decoder).__name__} adds end tokens after the row, and in a block-causal model nothing sees them"
        )
    return pad


def sizes(
    decoder: Decoder, shape: Shape, windows: Windows, longest: int, columns: int | None, width: int | None,
    candidates: int | None,
) -> tuple[int, int, int]:
    """L, W and A of a canvas whose longest row has `longest` positions. Raises `UsageError` if the requested ones are
    too few."""
    L = columns or longest + 1
    W = width or min(windows.size, L - 1)
    if longest >= L or min(windows.size, L - 1) > W:
        raise UsageError(
            f"{L} columns and windows of {W} are too few for rows of {longest} and windows of {windows.size}"
        )
    asked = needs.candidates(decoder, shape.block_causal)
    A = asked if candidates is None else candidates
    if asked > A:
        raise UsageError(f"{asked} candidates are asked about, and there is room for {A}")
    return L, W, A


def empty(rows: int, columns: int, phases: int = 0) -> Store:
    """An empty store, for a decoder with this number of phases."""
    none, zero = torch.full((rows, columns), NOTHING), torch.zeros(rows, dtype=torch.long)
    unseen = torch.zeros(rows, columns, 2, dtype=torch.long)
    kinds = torch.zeros(rows, max(phases, 1), dtype=torch.long)
    rank = torch.arange(columns).repeat(rows, 1)
    return Store(none, none, unseen, rank, torch.ones_like(none, dtype=torch.bool), zero, zero, zero.double(), kinds)


T = TypeVar("T")


def moved(x: T, device: torch.device | str) -> T:
    """A dataclass with all its tensors on a device, including those of nested dataclasses."""
    if isinstance(x, Tensor):
        return cast(T, x.to(device))
    if is_dataclass(x) and not isinstance(x, type):
        return cast(T, replace(x, **{f.name: moved(getattr(x, f.name), device) for f in fields(x)}))
    return x


def check_prompts(shape: Shape, prompts: Sequence[Sequence[int]], lengths: Sequence[int], infill: bool) -> None:
    if not prompts:
        raise UsageError("there is no prompt")
    shortest = min(lengths)
    if shortest < 0 or (shortest == 0 and not infill):
        raise UsageError(f"the length must be at least 1, not {shortest}")
    if infill and shape.mask_id is None:
        raise UsageError("this model has no mask token, so a prompt cannot have holes to fill")
    for prompt, length in zip(prompts, lengths, strict=True):
        if any(not 0 <= t < shape.vocab for t in prompt):
            raise UsageError(f"a prompt holds token ids outside the vocabulary of {shape.vocab}")
        if infill and length == 0 and shape.mask_id not in prompt:
            raise UsageError(
                "a prompt has no hole to fill: write the model's mask token where one is, or give a length"
            )


def check_causal(shape: Shape, decoder: Decoder, windows: Windows) -> None:
    """Raises `UsageError` for a decoder that would read, in a window of a causal model, tokens to the right of a
    position or blanks to its left."""
    apart = decoder.leftward or "order" in needs.asks(decoder, shape.block_causal)
    if shape.block_causal and windows.block == 1 < windows.size and not apart:
        raise UsageError(
            f"{type(decoder).__name__} reads its whole window, and this model is causal: use windows of one "
            "position, or left_to_right or coupled"
        )


def check_budget(decoder: Decoder, c: Canvas) -> None:
    """A budget of steps for the whole row has to be divisible by the number of its windows. Samplers of latents take
    their whole budget in every window."""
    steps = getattr(decoder, "steps", None)
    if steps is None or c.space is not None:
        return
    for count in c.windows.unique().tolist():
        if steps % count:
            raise UsageError(f"{steps} steps cannot be split evenly over {count} blocks; take a multiple of {count}")


R = TypeVar("R", bound=Rows)


def entered(r: R, windows: Windows) -> R:
    """Rows whose `start` is new, with their window: its size, its attention block, and the number of its open
    positions."""
    r = placed(r, windows)
    return r.changed(opened=(r.open & r.window).sum(-1))


def placed(r: R, windows: Windows) -> R:
    """`entered` without the number of open positions, which the state counts if the window is fresh."""
    left = r.end - r.start if r.base is None else (r.end - r.start).clamp(min=0)
    if isinstance(windows, Whole) or (isinstance(windows, Blocks) and not windows.cut(r)):
        size = left.clamp(max=min(windows.size, r.width))  # all have one size
    else:
        size = torch.minimum(windows.next(r).clamp(min=1, max=r.width), left)
    r = r.changed(size=size, room=size, step=everywhere(0, r.step))
    if r.block_causal:
        start, end = (r.start, r.start + size) if r.causal_context else windows.span(r)
        r = r.changed(block_start=start, block_end=end)
    return r


def enter(c: Canvas, windows: Windows) -> Canvas:
    """The canvas with a window for rows whose `start` is new, and with what its positions see."""
    return seeing(entered(c, windows))


def seeing(c: Canvas) -> Canvas:
    """The canvas with `until` set for the positions of new windows."""
    until, column = c.until, c.column
    if c.causal_context:
        until = torch.where(column < c.start[:, None], column + 1, until)
    if c.block_causal:
        within = (column >= c.block_start[:, None]) & (column < c.reach[:, None])
        until = torch.where(within, c.reach[:, None], until)
    return c.changed(until=until)


def begun(r: R, decoder: Decoder) -> R:
    """The rows after the decoder has begun their windows: its memo, and the sizes that it gave the windows."""
    if type(decoder).begin is Decoder.begin:
        return r
    s = decoder.begin(view(r))
    return r.changed(memo=s.memo, size=s.size)
