"""Replay of WeDLM's streaming parallel decoding.

The reference continues past the end of the requested text, and its last window extends beyond it; so this library
decodes a row that is a window longer, for as many forward passes.
"""

from __future__ import annotations

from decoders import decode, get
from decoders.core import Trace
from decoders_bench.golden.cases import Case, MismatchError
from decoders_bench.golden.models import Models


def wedlm(case: Case, models: Models) -> str:
    """Compare the text and the window after every forward pass. Without a threshold the reference fills one mask per
    forward pass, as this library does with a threshold of 0. Raises `MismatchError`."""
    q, canvases, (prompt,) = case.params, case.need("expected", "canvases"), case.need("prompt")
    window = int(q["wedlm_window_size"])
    decoder = get(
        "wedlm", window=window, tau=q.get("wedlm_entropy_threshold", 0.0), penalty=q["wedlm_pos_penalty_factor"],
        temperature=q["temperature"],
    )
    trace = Trace()
    decode(
        models.of_family(case.need("model")), decoder, [prompt], length=len(canvases[-1]) - len(prompt) + window,
        stop=False, max_steps=len(canvases), watch=trace,
    )
    if len(trace.canvases) != len(canvases):
        raise MismatchError(f"{len(trace.canvases)} forwards instead of {len(canvases)}")
    for k, (ours, theirs) in enumerate(zip(trace.canvases, canvases, strict=True)):
        found = ours.tokens[0, : len(theirs)].tolist()
        if found != theirs:
            raise MismatchError(f"{found} instead of {theirs}", k)
    return ""
