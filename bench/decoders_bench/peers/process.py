"""A decoder in a process of its own, which reads and answers JSON lines (`scripts/serving.py`)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryFile
from threading import Thread
from types import TracebackType
from typing import Any, Self

from decoders import UsageError
from decoders_bench.peers.environments import last_line

SCRIPTS = Path(__file__).parent / "scripts"
START = 300.0
"""The most seconds that a process may take to start."""


class Process:
    """`script` with its `arguments` in the environment of `python`, in the process group of the caller. The constructor
    and `ask` raise `UsageError` with the process's own message or last line if it fails, or if it does not answer for
    `patience` seconds, after which it is ended."""

    def __init__(self, python: Path, script: Path, patience: float, *arguments: Path) -> None:
        self.patience, self.lines = patience, Queue[str]()
        self.errors = TemporaryFile("w+", errors="replace")  # noqa: SIM115 -- closed in `close`
        env = {
            **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": "",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.child = subprocess.Popen(
            [python, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env=env,
        )
        self.reader = Thread(target=self.read, daemon=True)
        self.reader.start()
        try:
            hello = self.hear(START)
        except UsageError:
            self.close()
            raise
        self.versions: dict[str, str] = hello["versions"]
        self.offers: list[str] = hello["offers"]

    def read(self) -> None:
        assert self.child.stdout
        with self.child.stdout as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put("")

    def hear(self, patience: float) -> dict[str, Any]:
        try:
            line = self.lines.get(timeout=patience)
        except Empty:
            self.child.kill()
            self.child.wait()
            raise UsageError(f"no answer in {patience:g} seconds") from None
        if not line:
            self.child.wait()
            self.errors.seek(0)
            raise UsageError(last_line(self.errors.read()) or f"it ended with code {self.child.returncode}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise UsageError(answer["error"])
        return answer

    def ask(self, job: Mapping[str, Any], prompts: list[list[int]], draws: list[Any] | None = None) -> dict[str, Any]:
        assert self.child.stdin
        with suppress(BrokenPipeError):  # the next read reports how it ended
            print(json.dumps({"job": job, "prompts": prompts, "draws": draws}), file=self.child.stdin, flush=True)
        return self.hear(self.patience)

    def close(self) -> None:
        if self.child.stdin:
            self.child.stdin.close()  # so its loop over the lines ends
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.reader.join(10)
        self.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
