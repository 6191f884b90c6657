"""The loop of every decoder's process: it answers JSON lines on stdin with JSON lines on stdout, so that a parent can
alternate it with others. It runs in the decoder's own environment, so it must not import anything of this library.

The first output line is `{"versions": {...}, "offers": [...]}`. Then for each input line `{"job": {...}, "prompts":
[[...]], "draws": [...]}` the output is `{"rows": [{"tokens": [...], "nfe": n}], "seconds": s, "peak": b}`, or
`{"error": "..."}`; the rows of a job that records its random draws also have "draws". `seconds` is the processor time
of this process, with one thread and without loading the model; `peak` is its peak memory while decoding, in bytes
beyond what it held before, or null if the system does not report it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import torch

Job = Mapping[str, Any]
Decode = Callable[[list[int], Any], tuple[Any, ...]]
"""Maps a prompt, and the random numbers to use or None, to its tokens, the number of forward passes, and the random
numbers it drew if they are recorded."""


def serve(
    prepare: Callable[[Job], Decode], packages: Sequence[str], offers: Sequence[str] = (), files: Sequence[Path] = ()
) -> None:
    """`prepare(job)` returns the function that decodes a prompt: `(prompt, draws)` to `(tokens, nfe)`, or `(tokens,
    nfe, draws)` if it records them. It is called if the job differs from that of the previous line, whose model is
    freed first. `packages`: those whose versions are reported; `files` have no version, and are identified by their Git
    blob."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so text that a library prints is not taken for an answer
    torch.set_num_threads(1)

    def answer(**what: Any) -> None:
        out.write(json.dumps(what) + "\n")
        out.flush()

    python = ".".join(map(str, sys.version_info[:3]))
    versions = {name: metadata.version(name) for name in ("torch", "transformers", *packages)}
    blobs = {path.name: f"blob {blob(path)}" for path in files}
    answer(versions={"python": python, **versions, **blobs}, offers=list(offers))
    ready: dict[str, Decode] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            key = json.dumps(asked["job"], sort_keys=True)
            if key not in ready:
                ready.clear()
                ready[key] = prepare(asked["job"])
            answer(**timed(ready[key], asked["prompts"], asked["draws"]))
        except Exception as e:
            answer(error=f"{type(e).__name__}: {first_line(e)}")


def timed(decode: Decode, prompts: Sequence[list[int]], draws: Sequence[Any] | None) -> dict[str, Any]:
    before = settled()
    began = time.process_time()
    made = [decode(prompt, drawn) for prompt, drawn in zip(prompts, draws or [None] * len(prompts), strict=True)]
    seconds = time.process_time() - began
    peak = None if before is None else max(0, resident("VmHWM") - before)
    rows = [dict(zip(("tokens", "nfe", "draws"), row, strict=False)) for row in made]
    return {"rows": rows, "seconds": seconds, "peak": peak}


def settled() -> int | None:
    """The memory of this process in bytes, after it has released what it does not use; from here on the kernel records
    the peak. None if the kernel does not support this (only Linux does)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: this resets the peak to the current size
        return resident("VmRSS")
    except (OSError, AttributeError):
        return None


def resident(name: str) -> int:
    """An entry of the process's status file, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def blob(path: Path) -> str:
    """The short form of a file's Git blob hash (`git hash-object`)."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()[:10]


def first_line(e: Exception) -> str:
    return next((line.strip() for line in str(e).splitlines() if line.strip()), "")


class Counted:
    """Counts the forward passes of a network: `net.forward` is replaced by `forward`, or wrapped, and counted."""

    def __init__(self, net: Any, forward: Callable[..., Any] | None = None) -> None:
        self.forward, self.times = forward or net.forward, 0
        net.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.times += 1
        return self.forward(*args, **kwargs)


class Draws:
    """Replays recorded random numbers: the samples of `torch.multinomial`, and the noise of `torch.randint`. Both
    functions still do their work, so that it is timed, and their own results are discarded."""

    def __init__(self, drawn: Mapping[str, Any]) -> None:
        self.samples, self.noise = (iter(map(torch.tensor, drawn[name])) for name in ("samples", "noise"))

    @contextlib.contextmanager
    def given(self) -> Iterator[None]:
        multinomial, randint = torch.multinomial, torch.randint

        def sample(*args: Any, **kwargs: Any) -> torch.Tensor:
            return next(self.samples).view_as(multinomial(*args, **kwargs))

        def noise(*args: Any, **kwargs: Any) -> torch.Tensor:
            return next(self.noise).view_as(randint(*args, **kwargs))

        with mock.patch.multiple(torch, multinomial=sample, randint=noise):
            yield
