"""Needs: what a decoder asks of a model and of whoever hosts it, read off what it does.

Nothing is declared twice: one short row is laid out, the decoder is asked for one `query`, and takes one `step` on a
prediction that notes what is read of it. Every host refuses through `refuse`, in the same words.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from decoders.core.decoder import Decoder, inner_decoders
from decoders.core.latents import Space
from decoders.core.pred import Attention, Pred
from decoders.core.query import Query
from decoders.core.state import State, nbytes
from decoders.errors import UsageError

SENTENCES = {
    "mask": ("needs a model with a mask token", "has none"),
    "blocks": ("does what its name says on block-causal models only", "is not one"),
    "causal": ("asks what follows from the left alone", "cannot be asked so"),
    "ahead": ("verifies several positions in one causal forward", "cannot do that"),
    "sight": ("hides parts of the text from each other", "cannot be told which positions see which"),
    "order": ("reads its window in an order of its own", "cannot be asked so"),
    "leave_one_out": ("predicts positions without their own token in sight", "cannot be asked so"),
    "candidates": ("asks about several canvases of a row in one forward", "cannot be asked so"),
    "latents": ("denoises latents", "has none"),
    "attention": ("reads attention maps", "gives none"),
    "hidden_states": ("reads hidden states", "gives none"),
    "resizes": ("changes the length of its window", "keeps windows as they are"),
    "vocabulary": ("keeps numbers for the whole vocabulary", "has no room for them"),
    "padding": ("gives end tokens behind the row", "shows nothing behind a row"),
    "expand": (
        "goes by tokens with which a model asks for more and fewer positions",
        "has none; DreamOn has them, a checkpoint of the family dream",
    ),
}
"""Everything that a decoder may ask: how it is said of one, and of a host that cannot do it."""

MODEL = frozenset({"causal", "sight", "order", "leave_one_out", "candidates", "attention", "hidden_states"})
"""Of these, what a model has to be capable of (`Model.capabilities`); the rest is between a decoder and its host."""


def asks(decoder: Decoder, block_causal: bool = False) -> frozenset[str]:
    """The needs (keys of `SENTENCES`) of a decoder on such a model. Raises what the decoder's own methods raise."""
    return probed(decoder, block_causal).asked


def candidates(decoder: Decoder, block_causal: bool = False) -> int:
    """A: how many other canvases each of its queries shows (`Query.beside`)."""
    return probed(decoder, block_causal).candidates


def refuse(who: str, asked: frozenset[str], able: Collection[str], host: str) -> None:
    """Raises `UsageError` for the first thing that `who` asks and `host` is not able to do."""
    for need, (wants, lacks) in SENTENCES.items():
        if need in asked and need not in able:
            raise UsageError(f"{who} {wants}, and {host} {lacks}")


@dataclass(frozen=True)
class Probe:
    """What was found out."""

    asked: frozenset[str]
    candidates: int


def probed(decoder: Decoder, block_causal: bool) -> Probe:
    """Found out once for each decoder; one that cannot be hashed is asked every time."""
    try:
        hash(decoder)
    except TypeError:
        return probe(decoder, block_causal)
    return remembered(decoder, block_causal)


def probe(decoder: Decoder, block_causal: bool) -> Probe:
    with suppress(UsageError):
        decoder = decoder.tokenized(lambda text: [0])  # what is asked does not depend on which tokens a text is
    try:
        return probe_with(decoder, block_causal, VOCAB)
    except Exception:  # a token among its options may be beyond so few
        return probe_with(decoder, block_causal, LARGEST, patient=True)


def probe_with(decoder: Decoder, block_causal: bool, vocab: int, patient: bool = False) -> Probe:
    """Found out with a vocabulary of so many tokens; if `patient`, of what a step raises nothing is held against it."""
    s = entered(decoder, WIDTH, vocab, block_causal)
    q = decoder.query(s)
    count = 0 if q.beside is None else q.beside.tokens.shape[1]
    read, resized = stepped(decoder, s, count, patient)
    holds = {
        "mask": decoder.needs_mask, "blocks": decoder.needs_blocks, "resizes": resized, "padding": decoder.padding > 0,
        "expand": decoder.needs_expand,
        "vocabulary": nbytes(entered(decoder, WIDTH, 2 * vocab, block_causal).memo, 0) > nbytes(s.memo, 0),
    }
    return Probe(said(q) | read | {name for name, is_so in holds.items() if is_so}, count)


def said(q: Query) -> frozenset[str]:
    """What a query asks."""
    holds = {
        "causal": q.causal is not None, "ahead": q.ahead, "sight": q.sight is not None,
        "order": q.order is not None,
        "leave_one_out": q.left_out is not None, "candidates": q.beside is not None and q.beside.tokens.shape[1] > 0,
        "latents": q.latents is not None,
    }
    return frozenset(name for name, is_so in holds.items() if is_so)


def hold_to(decoder: Decoder, q: Query, asked: frozenset[str]) -> None:
    """Raises `UsageError` for a query that asks what the decoder's first one did not, for which nobody is prepared."""
    if more := said(q) - asked:
        sentences = " and ".join(SENTENCES[name][0] for name in sorted(more))
        raise UsageError(
            f"{type(decoder).__name__} {sentences} in some queries, and its first one did not say so; say it in every "
            "one"
        )


remembered = lru_cache(maxsize=4096)(probe)

WIDTH, VOCAB, LARGEST = 8, 1 << 10, 1 << 18  # of the row that is laid out


def memo_bytes(decoder: Decoder, width: int, vocab: int, block_causal: bool = False) -> int:
    """What its own tensors take for one row, with windows of `width` and such a vocabulary."""
    return nbytes(entered(decoder, width, vocab, block_causal).memo, 0)


def entered(decoder: Decoder, width: int, vocab: int, block_causal: bool) -> State:
    """A row that has just entered its only window, all of it open."""
    zero, one = torch.zeros(1, width, dtype=torch.long), torch.ones(1, dtype=torch.long)
    size = one * width
    s = State(
        tokens=zero, open=zero == 0, editable=zero == 0, confidence=zero.float(), committed_at=zero - 1,
        position=torch.arange(width)[None], size=size, room=size, opened=size, windows=one, step=one - 1, clock=one - 1,
        key=one, mask_id=0, vocab=vocab, stop_ids=(1,), block_causal=block_causal, expand_id=2, limit=size,
        space=Space(2, (1.0, 0.0, -1.0)),
    )
    began = decoder.begin(decoder.init(s))
    return replace(s, memo=began.memo, size=began.size)


class ReadError(Exception):
    """A stand-in was looked into."""


class StandIn:
    """Takes the place of what a prediction may bring, and notes that it is read."""

    def __init__(self, name: str, read: set[str]) -> None:
        self._name, self._read = name, read

    def __getattr__(self, attribute: str) -> Any:
        self._read.add(self._name)
        raise ReadError(self._name)


def stepped(decoder: Decoder, s: State, candidates: int, patient: bool) -> tuple[frozenset[str], bool]:
    """What besides the logits one step reads of a prediction, and whether it, or entering the window, sets
    `State.size`."""
    read: set[str] = set()
    width = s.tokens.shape[1]
    at = torch.arange(width)[None]
    shown = Pred(
        s.uniform(0).float()[..., None].expand(-1, -1, s.vocab), at, width,
        attention=cast(Attention, StandIn("attention", read)),
    )
    table = torch.zeros(s.vocab, 2)
    shown = replace(shown, hidden_states=cast(Tensor, StandIn("hidden_states", read)), table=table)
    maps = Attention(torch.zeros(1, width, width), at)
    resized = s.size is not s.room
    for attention in (shown.attention, maps):  # once more with real maps, for what is read after them
        p = replace(shown, attention=attention)
        try:
            resized = resized or decoder.step(s, replace(p, beside=(p,) * candidates)).size is not s.size
        except ReadError:
            continue
        except Exception:
            if read or patient:
                continue
            raise
        break
    else:
        # there are steps that such a row cannot take, such as those under a constraint; inner ones may have been read
        inside = inner_decoders(decoder).values()
        read |= {need for x in inside for need in asks(x, s.block_causal)} & {"attention", "hidden_states"}
    return frozenset(read), resized
