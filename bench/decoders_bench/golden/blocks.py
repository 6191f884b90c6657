"""Replay of runs on block-causal models (SDAR, S2D2, LLaDA2): a case becomes a `trajectory.Job`, which is compared.

The references spend additional forward passes: a prefill of the prompt's whole blocks, and after every block a commit
pass that only stores its keys and values. This library stores them in the next block's first forward pass. So only the
forward passes that denoise or verify are compared. The references also generate whole blocks, and the replay does the
same: its rows are as long as theirs before any trimming.

    job = job_of(case, models, decoder)  # `stop`: token ids that end the text
    trace = free(job)  # trajectory.free: decodes; compares every canvas, the number of forward passes and the end
    filled(trace), edited(trace)  # what each forward pass decided and changed, in the form of the data
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from decoders import Decoder, Pred
from decoders.core import Trace
from decoders_bench.golden.cases import Case, MismatchError, rows
from decoders_bench.golden.models import Models
from decoders_bench.golden.trajectory import Job, Setup


def shared(case: Case) -> list[int]:
    """Which of the reference's forward passes this library also has, counted from 0: its forward pass i is the i-th of
    them."""
    return [k for k, kind in enumerate(case.need("expected", "forwards")) if kind in ("denoise", "verify")]


def job_of(case: Case, models: Models, decoder: Decoder, stop: Sequence[int] = ()) -> Job:
    """One row of whole blocks, and the reference's canvas after each shared forward pass.

    `stop`: the row ends with the block in which one of these tokens was decided. Raises `MismatchError`."""
    (prompt,), block = rows(case.need("prompt")), int(case.need("params", "block_length"))
    whole = -(-(len(prompt) + int(case.need("params", "gen_length"))) // block) * block
    canvases, ours = case.need("expected", "canvases"), shared(case)

    def halt(row: int, tokens: Sequence[int]) -> bool:
        return any(t in stop for t in tokens) and (len(prompt) + len(tokens)) % block == 0

    return Job(
        setup=Setup(decoder, Pred.best, block), model=models.get(case.need("model"), case.mask_id), prompts=[prompt],
        pads=[0], length=whole - len(prompt), infill=False, tokens=[last(case)], nfe=len(ours),
        canvases=[[canvases[k]] for k in ours if k < len(canvases)], widths=[], nan=[False],
        halt=halt if stop else None,
    )


def last(case: Case) -> list[int]:
    """The whole final canvas; the recorded tokens may be trimmed. If no canvas is recorded for the last forward pass,
    it is the one before with that pass's changes. Raises `MismatchError` if the data is incomplete or inconsistent."""
    (tokens,), canvas = rows(case.need("expected", "tokens")), list(case.need("expected", "canvases")[-1])
    if len(case.need("expected", "canvases")) < int(case.need("expected", "nfe")):
        for position, _, new in case.need("expected", "edit")[-1]:
            canvas[position] = new
        for position in case.need("expected", "unmask")[-1]:
            if position >= len(tokens):
                raise MismatchError(f"the data does not say what the last forward filled in at position {position}")
            canvas[position] = tokens[position]
    if canvas[: len(tokens)] != tokens:
        raise MismatchError("the recorded tokens are not those of the last canvas")
    return canvas


def filled(trace: Trace) -> list[list[int]]:
    """The positions that each forward pass of this library decided, ascending, in a run of one row."""
    opens = [trace.canvases[0].editable[0], *(c.open[0] for c in trace.canvases)]
    return [(before & ~after).nonzero().flatten().tolist() for before, after in pairwise(opens)]


def edited(trace: Trace) -> list[list[list[int]]]:
    """[position, old token, new token] for each change of a decided position, by forward pass of this library, in a run
    of one row."""
    changes: list[list[list[int]]] = [[]]  # nothing is decided before the first forward pass
    for before, after in pairwise(trace.canvases):
        where = ~before.open[0] & ~after.open[0] & (before.tokens[0] != after.tokens[0])
        changes.append(
            [[i, int(before.tokens[0, i]), int(after.tokens[0, i])] for i in where.nonzero().flatten().tolist()]
        )
    return changes
