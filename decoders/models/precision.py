"""The default precision of a checkpoint."""

from __future__ import annotations

import torch

LARGE = 100_000_000
"""The number of parameters from which the speed of matrix products matters more than their last digits."""


def multiplies_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AMX or AVX512-BF16); False if torch cannot tell."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(ask() for ask in asked if ask)


def in_bfloat16(stored: dict[str, int]) -> bool:
    """Whether a checkpoint that holds so many numbers of each type, as safetensors names them, computes in bfloat16 on
    this CPU: most of them are stored so, there are `LARGE` of them, and the hardware multiplies them."""
    return 2 * stored.get("BF16", 0) > sum(stored.values()) >= LARGE and multiplies_bfloat16()
