"""Sizes: how many columns and rows canvases have, so that shapes are few, and what they take."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from decoders.core import Model

LEAST = 8
"""What columns are a multiple of, at least."""
STEPS = 8
"""Numbers of columns between a power of two and the next: more of them waste less, and make more shapes."""
SPARE = 1.5
"""How many times the columns that it needs a row may be given, to stand beside longer ones. What a row does not use
costs attention over empty columns, and a canvas of its own costs forwards of its own."""
PORTION = 1536
"""Columns of all rows together that a forward on a CPU runs at its fastest. What a layer of nano makes of twice as many
no longer lies in the core's own cache, and each costs almost half as much again."""
SHARE = 0.5
"""Of the memory that is free when an engine is made, how much it may take, where nobody says."""
COPIES = 4
"""Tensors of the size of all logits of a forward that there may be at once: as the model made them, as rules and
filters leave them, and two that statistics work on."""


def columns_for(positions: int) -> int:
    """The columns, the bin not counted, of the canvas that a row of so many positions is put into."""
    step = max((1 << (positions - 1).bit_length()) // (2 * STEPS), LEAST)
    return -(-positions // step) * step


def most_rows(device: torch.device, slots: int, columns: int) -> int:
    """The rows of a canvas that run so many columns each, where there are so many slots in all: on a CPU those of
    canvases of equal size that are no larger than runs fast; elsewhere as many as there are."""
    if device.type != "cpu":
        return slots
    canvases = -(-slots // max(PORTION // columns, 1))
    return -(-slots // canvases)


@dataclass(frozen=True)
class Footprint:
    """What one row of a canvas takes: bytes of keys and values, of the canvas's books, and of logits."""

    stored: int
    books: int
    logits: int

    @classmethod
    def of(cls, model: Model, columns: int, width: int, candidates: int) -> Footprint:
        canvases = 1 + candidates
        books = columns * 8 * 16  # about sixteen tensors of 64 bits: the canvas, its store, a forward, and memos
        return cls(
            columns * model.column_bytes * canvases, books * canvases, COPIES * 4 * width * model.vocab * canvases
        )

    @property
    def bytes(self) -> int:
        return self.stored + self.books + self.logits


def free_bytes(device: torch.device) -> int:
    """What is free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def budget_of(device: torch.device, asked: int | None) -> int:
    """The bytes that an engine may take."""
    return int(SHARE * free_bytes(device)) if asked is None else asked


def rows_for(requests: int) -> int:
    """The slots of a canvas for so many requests: a power of two."""
    return 1 << (max(requests, 1) - 1).bit_length()
