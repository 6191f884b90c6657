"""`decoders generate --input` on files of many prompts: processor time per prompt, and peak memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from decoders import UsageError
from decoders_bench.common.results import markdown, recorded_on, rows_of
from decoders_bench.throughput.measure import prompts_of


@dataclass(frozen=True)
class Lines:
    """The results for one file, decoded by a process of one thread."""

    decoder: str
    model: str
    batch: int
    """Rows of a batch."""
    length: int
    """Positions after each prompt."""
    prompts: int
    seconds: float
    """Processor time in seconds, from the start of the process to its end."""
    peak: int
    """Peak memory of the whole process in bytes."""

    @property
    def ms_a_prompt(self) -> float:
        return 1e3 * self.seconds / self.prompts


def measure_lines(spec: str, model: str, batch: int, count: int, length: int, seed: int) -> Lines:
    """Measure one file. Raises `UsageError` with the command's own message if it cannot decode the file."""
    with TemporaryDirectory() as made, TemporaryFile("w+") as said:
        source, target = Path(made) / "in.jsonl", Path(made) / "out.jsonl"
        prompts = prompts_of(count, seed)
        source.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
        command = [
            sys.executable, "-m", "decoders.cli", "generate", "-m", model, "-d", spec, "-n", str(length), "--batch",
            str(batch), "--input", str(source), "--output", str(target),
        ]  # fmt: skip
        with started(command, said) as child:
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise UsageError(f"decoders generate --input: {said.read().strip().splitlines()[-1]}")
        done = target.read_text().count("\n")
    return Lines(spec, model, batch, length, done, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss)


@contextmanager
def started(command: Sequence[str], said: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of one thread, whose output goes to `said`. It is killed if it still runs at the end, also if SIGINT or
    SIGTERM ends this process."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        child = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        try:
            yield child
        finally:
            child.kill()  # a process that has been waited for is left alone
            child.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def lines_table(rows: Sequence[Lines]) -> str:
    head = ["decoder", "rows at a time", "prompts", "ms a prompt", "peak memory, MiB"]
    return markdown(head, [
        [f"`{r.decoder}`", str(r.batch), f"{r.prompts:,}", f"{r.ms_a_prompt:.1f}", f"{r.peak / (1 << 20):.0f}"]
        for r in rows
    ])


def measured_lines(path: Path) -> str:
    """The results in a file as text, with the environment of the measurement."""
    return f"{lines_table([Lines(**row) for row in rows_of(path)])}\n\n{recorded_on(path)}."
