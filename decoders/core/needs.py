"""Needs: what a decoder asks of a model and of whoever hosts it, read off what it does.

Nothing is declared twice: one row is laid out on tensors without data (torch's meta device), the decoder is asked for one `query`, and
takes one `step` on a prediction that notes what is read of it. Every host refuses through `refuse`, in the same words.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from decoders.core.decoder import Decoder
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
    "leave_one_out": ("predicts positions without their own token in sight", "cannot be asked so"),
    "candidates": ("asks about several canvases of a row in one forward", "cannot be asked so"),
    "attention": ("reads attention maps", "gives none"),
    "hidden_states": ("reads hidden states", "gives none"),
    "resizes": ("changes the length of its window", "keeps windows as they are"),
    "vocabulary": ("keeps numbers for the whole vocabulary", "has no room for them"),
    "padding": ("gives end tokens behind the row", "shows nothing behind a row"),
}
"""Everything that a decoder may ask: how it is said of one, and of a host that cannot do it."""

MODEL = frozenset({"causal", "sight", "leave_one_out", "candidates", "attention", "hidden_states"})
"""Of these, what a model has to be capable of (`Model.capabilities`); the rest is between a decoder and its host."""


def asks(decoder: Decoder, block_causal: bool = False) -> frozenset[str]:
    """Which of `SENTENCES` hold of a decoder on such a model. Raises what the decoder's own methods raise."""
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
    s = entered(decoder, WIDTH, VOCAB, block_causal)
    q = decoder.query(s)
    count = 0 if q.beside is None else q.beside.tokens.shape[1]
    read, resized = stepped(decoder, s, q)
    holds = {
        "mask": decoder.needs_mask, "blocks": decoder.needs_blocks, "resizes": resized, "padding": decoder.padding > 0,
        "vocabulary": memo_bytes(decoder, WIDTH, 2 * VOCAB, block_causal) > memo_bytes(decoder, WIDTH, VOCAB, block_causal),
    }
    return Probe(said(q) | read | {name for name, is_so in holds.items() if is_so}, count)


def said(q: Query) -> frozenset[str]:
    """What a query asks."""
    holds = {
        "causal": q.causal is not None, "ahead": q.ahead, "sight": q.sight is not None, "leave_one_out": q.left_out is not None,
        "candidates": q.beside is not None and q.beside.tokens.shape[1] > 0,
    }
    return frozenset(name for name, is_so in holds.items() if is_so)


def hold_to(decoder: Decoder, q: Query, asked: frozenset[str]) -> None:
    """Raises `UsageError` for a query that asks what the decoder's first one did not, for which nobody is prepared."""
    if more := said(q) - asked:
        sentences = " and ".join(SENTENCES[name][0] for name in sorted(more))
        raise UsageError(f"{type(decoder).__name__} {sentences} in some queries, and its first one did not say so; say it in every one")


remembered = lru_cache(maxsize=4096)(probe)

WIDTH, VOCAB = 8, 1 << 18  # of the row that is laid out; sizes cost nothing where there is no data


def memo_bytes(decoder: Decoder, width: int, vocab: int, block_causal: bool = False) -> int:
    """What its own tensors take for one row, with windows of `width` and such a vocabulary."""
    return nbytes(entered(decoder, width, vocab, block_causal).memo, 0)


def entered(decoder: Decoder, width: int, vocab: int, block_causal: bool) -> State:
    """A row that has just entered its only window, all of it open, on the meta device."""
    with torch.device("meta"):
        long, here = torch.zeros(1, width, dtype=torch.long), torch.ones(1, width, dtype=torch.bool)
        one = torch.zeros(1, dtype=torch.long)
    s = State(
        tokens=long, open=here, editable=here, confidence=long.float(), committed_at=long, position=long, size=one, room=one,
        opened=one, windows=one, step=one, clock=one, key=one, mask_id=0, vocab=vocab, stop_ids=(1,), block_causal=block_causal,
        rest=one,
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


def stepped(decoder: Decoder, s: State, q: Query) -> tuple[frozenset[str], bool]:
    """What besides the logits one step reads of a prediction, and whether it, or entering the window, sets `State.size`."""
    read: set[str] = set()
    logits = s.confidence.new_zeros(1, WIDTH, s.vocab)
    at = torch.arange(WIDTH, device="meta")[None]
    shown = Pred(logits, at, WIDTH, attention=cast(Attention, StandIn("attention", read)))
    shown = replace(shown, hidden_states=cast(Tensor, StandIn("hidden_states", read)))
    maps = Attention(logits.new_zeros(1, WIDTH, WIDTH), at)
    resized = s.size is not s.room
    for attention in (shown.attention, maps):  # once more with real maps, for what is read after them
        p = replace(shown, attention=attention)
        others = () if q.beside is None else (p,) * q.beside.tokens.shape[1]
        try:
            resized = resized or decoder.step(s, replace(p, beside=others)).size is not s.size
        except Exception:  # of what a step does with tensors without data nothing is held against it here; the laws do
            continue
        break
    else:  # there are steps that no tensors without data can take, such as those under a constraint; what is inside may have been read
        inside = [x for f in fields(decoder) if isinstance(x := getattr(decoder, f.name), Decoder)]
        read |= {need for x in inside for need in asks(x, s.block_causal)} & {"attention", "hidden_states"}
    return frozenset(read), resized
