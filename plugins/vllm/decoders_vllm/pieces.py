"""The attention of one forward of an engine as short requests.

It is cut into *pieces*, each with its own end and its own causal flag, which any backend of
vLLM understands as so many short requests on the same pages: a prefill is block-causal because each block is a piece; a
canvas is up to three (what is causal, what sees each other, what nobody sees).
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
    # (S + 1,) int32  on the host; of canvases, that their pieces lie in them is all that is known
    starts_np: np.ndarray
    ends: Tensor  # (S,) int32  they see what is left of here
    causal: Tensor  # (S,) int32
    longest: int


def whole(batch: Any) -> Pieces:
    """Of a batch that only warms the engine up."""
    R = batch.num_reqs_after_padding
    host = batch.query_start_loc_np[: R + 1]
    causal = torch.zeros(R, dtype=torch.int32, device=batch.seq_lens.device)
    return Pieces(
        np.arange(R), batch.query_start_loc[: R + 1], host, batch.seq_lens[:R], causal, int(np.diff(host).max())
    )


def outer(start: np.ndarray, row: np.ndarray, decodes: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(S + 1,) where pieces start at the latest, which is all that the host knows of canvases."""
    ends = np.where(decodes[row], start[1:][row], start[:-1][row] + offset)
    return np.concatenate([[0], ends]).astype(np.int32)


def decoding(batch: Any) -> np.ndarray:
    """(R,) bool: rows that run a canvas."""
    return np.diff(batch.cu_num_logits_np[: batch.num_reqs + 1]) > 0
