"""The attention of one forward of an engine as short requests.

The attention is cut into *pieces*, each with its own end and causal flag. To every attention backend of vLLM, these are
short requests on the same pages. A prefill is block-causal because each block is a piece; a canvas has up to three: the
positions with causal attention, those that see each other, and those that no position sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Pieces:
    """The attention of one forward as short requests."""

    row: np.ndarray  # (S,) the row of the batch
    starts: Tensor  # (S + 1,) int32  where their tokens start
    # (S + 1,) int32  the same on the host, which knows only that the pieces of a canvas are inside it
    starts_np: np.ndarray
    ends: Tensor  # (S,) int32  they see the positions left of this one
    causal: Tensor  # (S,) int32
    longest: int


def whole(batch: Any) -> Pieces:
    """The pieces of a batch that only warms the engine up: one per row."""
    R = batch.num_reqs_after_padding
    host = batch.query_start_loc_np[: R + 1]
    causal = torch.zeros(R, dtype=torch.int32, device=batch.seq_lens.device)
    return Pieces(
        np.arange(R), batch.query_start_loc[: R + 1], host, batch.seq_lens[:R], causal, int(np.diff(host).max())
    )


def outer(start: np.ndarray, row: np.ndarray, decodes: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(S + 1,) int32: the latest places where pieces may start, which is all that the host knows about canvases."""
    ends = np.where(decodes[row], start[1:][row], start[:-1][row] + offset)
    return np.concatenate([[0], ends]).astype(np.int32)


def decoding(batch: Any) -> np.ndarray:
    """(R,) bool: rows that run a canvas."""
    return np.diff(batch.cu_num_logits_np[: batch.num_reqs + 1]) > 0
