"""Needs: what a decoder requires of a model and of its host, found by trying it.

One short row is laid out, the decoder is asked for one `query`, and it takes one `step` on a prediction that records
which parts of it are read. So nothing has to be declared. Every host refuses through `refuse`, with the same message.
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
    "blocks": ("works on block-causal models only", "is not one"),
    "causal": ("makes causal forward passes", "cannot do that"),
    "ahead": ("verifies several positions in one causal forward", "cannot do that"),
    "sight": ("hides parts of the text from each other", "cannot be told which positions see which"),
    "order": ("reads its window in its own order", "cannot do that"),
    "leave_one_out": ("predicts positions without seeing their own token", "cannot do that"),
    "candidates": ("evaluates several canvases of a row in one forward", "cannot do that"),
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
"""Everything that a decoder may need, as a message says it of the decoder, and of a host that lacks it."""

MODEL = frozenset({"causal", "sight", "order", "leave_one_out", "candidates", "attention", "hidden_states"})
"""Those of them that are features of a model (`Model.capabilities`); the others concern the host."""


def asks(decoder: Decoder, block_causal: bool = False) -> frozenset[str]:
    """The needs (keys of `SENTENCES`) of a decoder on such a model. Raises what the decoder's own methods raise."""
    return probed(decoder, block_causal).asked


def candidates(decoder: Decoder, block_causal: bool = False) -> int:
    """A: the number of other canvases that each of its queries shows (`Query.beside`)."""
    return probed(decoder, block_causal).candidates


def refuse(who: str, asked: frozenset[str], able: Collection[str], host: str) -> None:
    """Raises `UsageError` for the first need of `who` that `host` cannot meet."""
    for need, (wants, lacks) in SENTENCES.items():
        if need in asked and need not in able:
            raise UsageError(f"{who} {wants}, and {host} {lacks}")


@dataclass(frozen=True)
class Probe:
    """The needs that were found."""

    asked: frozenset[str]
    candidates: int


def probed(decoder: Decoder, block_causal: bool) -> Probe:
    """The needs of a decoder, found once; for a decoder that cannot be hashed they are found every time."""
    try:
        hash(decoder)
    except TypeError:
        return probe(decoder, block_causal)
    return remembered(decoder, block_causal)


def probe(decoder: Decoder, block_causal: bool) -> Probe:
    with suppress(UsageError):
        decoder = decoder.tokenized(lambda text: [0])  # needs do not depend on the tokens of a text
    try:
        return probe_with(decoder, block_causal, VOCAB)
    except Exception:  # a token id among its options may be beyond this small vocabulary
        return probe_with(decoder, block_causal, LARGEST, patient=True)


def probe_with(decoder: Decoder, block_causal: bool, vocab: int, patient: bool = False) -> Probe:
    """The needs, found with a vocabulary of so many tokens; if `patient`, errors that a step raises are ignored."""
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
    """The needs that a query shows."""
    holds = {
        "causal": q.causal is not None, "ahead": q.ahead, "sight": q.sight is not None,
        "order": q.order is not None,
        "leave_one_out": q.left_out is not None, "candidates": q.beside is not None and q.beside.tokens.shape[1] > 0,
        "latents": q.latents is not None,
    }
    return frozenset(name for name, is_so in holds.items() if is_so)


def hold_to(decoder: Decoder, q: Query, asked: frozenset[str]) -> None:
    """Raises `UsageError` for a query with a need that the decoder's first query did not have: the session is not
    prepared for it."""
    if more := said(q) - asked:
        sentences = " and ".join(SENTENCES[name][0] for name in sorted(more))
        raise UsageError(
            f"{type(decoder).__name__} {sentences} in some queries, but not in its first one; set the same fields "
            "in every query"
        )


remembered = lru_cache(maxsize=4096)(probe)

WIDTH, VOCAB, LARGEST = 8, 1 << 10, 1 << 18  # the length of the row that is laid out


def memo_bytes(decoder: Decoder, width: int, vocab: int, block_causal: bool = False) -> int:
    """The bytes of its own tensors for one row, with windows of `width` and a vocabulary of this size."""
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
    """The content of a stand-in was read."""


class StandIn:
    """Takes the place of an optional part of a prediction, and records that it is read."""

    def __init__(self, name: str, read: set[str]) -> None:
        self._name, self._read = name, read

    def __getattr__(self, attribute: str) -> Any:
        self._read.add(self._name)
        raise ReadError(self._name)


def stepped(decoder: Decoder, s: State, candidates: int, patient: bool) -> tuple[frozenset[str], bool]:
    """Which parts of a prediction besides the logits one step reads, and whether `State.size` is set by it or on
    entering the window."""
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
    for attention in (shown.attention, maps):  # again with real maps, to find what is read after them
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
        # some decoders cannot take a step on such a row, for example under a constraint; inner ones may have been read
        inside = inner_decoders(decoder).values()
        read |= {need for x in inside for need in asks(x, s.block_causal)} & {"attention", "hidden_states"}
    return frozenset(read), resized
