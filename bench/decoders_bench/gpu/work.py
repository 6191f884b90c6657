"""The process that measures."""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

from decoders import UsageError
from decoders_bench.common.results import hardware
from decoders_bench.gpu import card, checks, kernel, steps
from decoders_bench.gpu.codes import AGAIN, TIME_IS_UP
from decoders_bench.gpu.ledger import Ledger
from decoders_bench.gpu.parts import Clock, DeviceLostError, Part, go, say
from decoders_bench.gpu.scale import FULL, RESULTS, TINY, Scale
from decoders_bench.latency.recordings import Recordings

RECORDINGS = RESULTS / "recordings.json"


def parts(scale: Scale, ledger: Ledger, clock: Clock, only: tuple[str, ...]) -> list[Part]:
    """All parts, or the named ones. Raises `UsageError` for an unknown name."""
    models = steps.Models(scale, ledger, Recordings(RECORDINGS, fixed=True))
    every = [
        card.part(scale),
        checks.part(scale, ledger, clock),
        kernel.part(scale),
        steps.part("one", 0.35, steps.ONE, models),
        steps.part("many", 0.3, steps.many(scale.batches), models),
        steps.part("others", 1.0, steps.others()[: scale.most], models),
    ]
    names = [part.name for part in every]
    if unknown := [name for name in only if name not in names]:
        raise UsageError(f"there is no part {unknown[0]!r}; there are {', '.join(names)}")
    return [part for part in every if not only or part.name in only]


def work(
    out: Path, deadline: float, rehearse: bool, again: tuple[str, ...], only: tuple[str, ...], goes_on: bool
) -> int:
    """Run the parts; the result is the exit code. `deadline` is in the time of `time.monotonic()`, which all processes
    of a machine share; `goes_on`: this process continues a call and is not a new one. Raises `UsageError` without a
    CUDA device."""
    import torch

    scale = TINY if rehearse else FULL
    if scale.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here; --rehearse does the same on a CPU at tiny shapes")
    clock = Clock(deadline)
    faulthandler.dump_traceback_later(max(clock.left - 2, 1), file=sys.stderr)  # shows where it hangs, if it does
    torch.set_num_threads(1 if rehearse else 4)
    ledger = Ledger.of(card.name_of(scale), hardware(scale.device), out, RESULTS)
    if not goes_on:
        ledger.calls += 1
        for name in again:
            ledger.forget(name)
    ledger.save()
    say(f"{ledger.hardware}; {clock.left:.0f} s; {len(ledger.rows)} figures are there")
    try:
        go(parts(scale, ledger, clock, only), ledger, clock)
    except DeviceLostError as e:
        say(f"the device is lost after {e}; going on in a new process")
        return AGAIN
    return told(parts(scale, ledger, clock, only), ledger)


def told(every: list[Part], ledger: Ledger) -> int:
    """Print the results, part by part. The exit code is 1 if something failed, `TIME_IS_UP` if something is left."""
    left = 0
    for part in every:
        keys = [t.key for t in part.tasks]
        bad = [k for k in keys if k in ledger.failed and not ledger.failed[k]["final"]]
        cannot = sum(k in ledger.failed and ledger.failed[k]["final"] for k in keys)
        done = sum(k in ledger.rows for k in keys)
        left += len(keys) - done - len(bad) - cannot
        say(f"{part.name}: {done} of {len(keys)} measured, {len(bad)} failed, {cannot} cannot be")
        for key in bad:
            say(f"  {key}: {ledger.failed[key]['why']}")
    return 1 if any(not f["final"] for f in ledger.failed.values()) else TIME_IS_UP if left else 0
