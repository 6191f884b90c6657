"""Layout: a canvas from prompts, and the first step into every window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from decoders.core import needs
from decoders.core.cache import Cache
from decoders.core.canvas import NOTHING, Canvas, view
from decoders.core.decoder import Decoder
from decoders.core.model import Shape
from decoders.core.windows import Windows
from decoders.errors import UsageError


def layout(
    shape: Shape, decoder: Decoder, prompts: Sequence[Sequence[int]], *, length: int, keys: Sequence[int], windows: Windows,
    cache: Cache | None = None, infill: bool = False, columns: int | None = None, width: int | None = None,
    candidates: int | None = None, device: torch.device | str = "cpu",
) -> Canvas:
    """Prompts at column 0, then `length` blanks, the first window entered, the decoder's memo and the cache policy's memory made.

    `infill`: mask tokens inside a prompt are holes to fill; otherwise they are data like any other token. `columns` fixes L for
    an engine whose rows come and go, `width` W for one whose rows have windows of several sizes, and `candidates` A for one whose
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
    asked = needs.candidates(decoder, shape.block_causal)
    A = asked if candidates is None else candidates
    if asked > A:
        raise UsageError(f"{asked} candidates are asked about, and there is room for {A}")
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
        kv_tokens=torch.full_like(none, NOTHING), kv_until=none, kv_unseen=torch.zeros(B, L, 2, dtype=torch.long),
        stale=torch.ones_like(editable), start=editable.long().argmax(1), size=zero, room=zero, limit=limit,
        block_start=zero, block_end=zero, opened=zero, windows=zero, step=zero, clock=zero,
        key=torch.tensor(list(keys), dtype=torch.long), reason=zero, computed=zero, reused=zero, flops=zero.double(),
        width=W, mask_id=shape.mask_id, vocab=shape.vocab, stop_ids=shape.stop_ids, block_causal=shape.block_causal,
        causal_context=shape.causal_context, candidates=A,
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
    c = begun(replace(c, memo=decoder.init(view(c)).memo), decoder)
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
    if steps is None:
        return
    for count in c.windows.unique().tolist():
        if steps % count:
            raise UsageError(f"{steps} steps cannot be split evenly over {count} blocks; take a multiple of {count}")


def enter(c: Canvas, windows: Windows) -> Canvas:
    """A window for rows whose `start` is new: its size, how much is open in it, and what its positions will see."""
    size = torch.minimum(windows.next(c).clamp(min=1, max=c.width), (c.limit - c.start).clamp(min=0))
    c = replace(c, size=size, room=size, step=torch.zeros_like(c.step))
    until, column = c.until, c.column
    if c.causal_context:
        until = torch.where(column < c.start[:, None], column + 1, until)
    if c.block_causal:
        start, end = (c.start, c.start + size) if c.causal_context else windows.span(c)
        c = replace(c, block_start=start, block_end=end)
        within = (column >= c.block_start[:, None]) & (column < c.reach[:, None])
        until = torch.where(within, c.reach[:, None], until)
    return replace(c, opened=(c.open & c.window).sum(-1), until=until)


def begun(c: Canvas, decoder: Decoder) -> Canvas:
    """The canvas with its windows begun by the decoder: its memo, and how many positions they have to begin with."""
    s = decoder.begin(view(c))
    return replace(c, memo=s.memo, size=s.size)
