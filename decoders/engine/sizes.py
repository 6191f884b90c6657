"""Sizes: the numbers of columns and rows of canvases, chosen so that shapes are few, and their memory."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from decoders.core import Model, SessionSpec
from decoders.core.model import row_bytes

LEAST = 8
"""The smallest multiple to which columns are rounded."""
STEPS = 8
"""The number of sizes between two powers of two: more of them waste fewer columns, and make more shapes."""
SPARE = 1.5
"""A row may get so many times the columns that it needs, to share a canvas with longer rows. Unused columns cost
attention, and a separate canvas costs separate forwards."""
PORTION = 1536
"""Columns of all rows together that a forward on a CPU runs at its fastest. The activations of a layer of nano for
twice as many columns no longer fit in the core's own cache, and each column costs almost half as much again."""
SHARE = 0.5
"""The default share of the free memory that an engine may take."""
COPIES = 4
"""The number of tensors of the size of all logits that exist at once: those of the model, those after rules and
filters, and two for statistics."""


def columns_for(positions: int) -> int:
    """The columns, without the bin, of the canvas for a row of so many positions."""
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
    """Bytes of one row of a canvas: keys and values, the canvas's records, and logits."""

    stored: int
    """If no keys and values are stored, as much as they would take: a forward then runs all columns, and its
    activations, which nothing else counts, have this room."""
    books: int
    logits: int

    @classmethod
    def of(cls, model: Model, spec: SessionSpec) -> Footprint:
        canvases = 1 + spec.candidates
        books = spec.columns * 8 * 16  # about sixteen tensors of 64 bits: the canvas, its store, a forward, and memos
        stored = max(row_bytes(model, spec), model.column_bytes * spec.columns * canvases)
        return cls(stored, books * canvases, COPIES * 4 * spec.width * model.vocab * canvases)

    @property
    def bytes(self) -> int:
        return self.stored + self.books + self.logits


def free_bytes(device: torch.device) -> int:
    """Free bytes on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def budget_of(device: torch.device, asked: int | None) -> int:
    """The bytes that an engine may take."""
    return int(SHARE * free_bytes(device)) if asked is None else asked


def rows_for(requests: int) -> int:
    """The slots of a canvas for so many requests: a power of two."""
    return 1 << (max(requests, 1) - 1).bit_length()
