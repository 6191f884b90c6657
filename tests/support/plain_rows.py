"""A row of a quality run of which only what matters is said."""

from __future__ import annotations

from decoders_bench.quality.rows import Row


def row(**more):
    known = {
        "cell": "c", "item": 0, "model": "nano", "decoder": "a", "curve": "a", "swept": None, "value": None,
        "cache": "exact", "task": "t", "rung": "easy", "template": 0, "seed": 0, "block": None, "right": True,
        "answer": "1", "output": "1", "prompt": "p", "expected": "1", "nfe": 2, "tokens": 4, "positions": 8,
        "seconds": 0.5,
    }
    return Row(**{**known, **more})
