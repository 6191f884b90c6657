"""What the process of every decoder does: it answers JSON lines on stdin with JSON lines on stdout, so that a parent
can let it take turns with others. It runs in the decoder's own environment, so nothing of this library may be imported
here.

The first line out is `{"versions": {...}, "offers": [...]}`. Then, line by line: in `{"job": {...}, "prompts": [[...]],
"draws": [...]}`, out `{"rows": [{"tokens": [...], "nfe": n}], "seconds": s, "peak": b}`, or `{"error": "..."}`; rows of
a job that records its draws have "draws", too. `seconds` is the processor time of this process, of one thread, with the
model in place; `peak` is the most bytes that it held while it decoded, beyond what it held before, or null where the
system does not say.
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
"""Of a prompt, and of the numbers that it is to draw or None: its tokens, how many forwards, and what it drew where
that is asked."""


def serve(
    prepare: Callable[[Job], Decode], packages: Sequence[str], offers: Sequence[str] = (), files: Sequence[Path] = ()
) -> None:
    """`prepare(job)` gives the function that decodes a prompt: `(prompt, draws)` to `(tokens, nfe)`, or `(tokens, nfe,
    draws)` where it records them; it is asked for when the job is not that of the line before, whose model is forgotten
    first. `packages`: whose versions are said; `files` have none, and are named by their Git blob."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer
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
    """The bytes that this process holds once it has given back what it does not use; from here on the kernel notes the
    most that it holds. None where there is no such note (only Linux has one)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # man 5 proc: the peak is set to what is held now
        return resident("VmRSS")
    except (OSError, AttributeError):
        return None


def resident(name: str) -> int:
    """A line of the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def blob(path: Path) -> str:
    """How Git names what is in a file (`git hash-object`), as its short form."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()[:10]


def first_line(e: Exception) -> str:
    return next((line.strip() for line in str(e).splitlines() if line.strip()), "")


class Counted:
    """How often a network was run: `net.forward` is replaced by `forward`, or by itself, and counted."""

    def __init__(self, net: Any, forward: Callable[..., Any] | None = None) -> None:
        self.forward, self.times = forward or net.forward, 0
        net.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.times += 1
        return self.forward(*args, **kwargs)


class Draws:
    """Random numbers that somebody else has drawn: the samples that `torch.multinomial` is asked for, and the noise
    that `torch.randint` is. Both still do their work, which costs time, and what they drew is thrown away."""

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
