"""`pytest -m gpu`, in several parallel processes, since most of its time is compilation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders import UsageError
from decoders_bench.gpu.ledger import Ledger
from decoders_bench.gpu.parts import Clock, Part, Task
from decoders_bench.gpu.scale import Scale

ROOT = Path(__file__).parents[3]
SECONDS = 90
KEY = "checks/pytest"


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of all shares so far: the ids of tests, and the messages of those that failed."""

    chosen: int
    passed: list[str]
    failed: dict[str, str]
    skipped: list[str]

    @classmethod
    def read(cls, folder: Path) -> Outcomes:
        lines = [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]
        tests = [x for x in lines if "id" in x]
        failed = {x["id"]: x["text"] for x in tests if x["outcome"] == "failed"}
        named = {
            kind: sorted({x["id"] for x in tests if x["outcome"] == kind} - set(failed))
            for kind in ("passed", "skipped")
        }
        return cls(sum(x.get("chosen", 0) for x in lines), named["passed"], failed, named["skipped"])


def files() -> list[str]:
    """The files with tests for a GPU: importing the others may need packages that a bare machine lacks."""
    own = (path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text())
    return [str(path.relative_to(ROOT)) for path in own]


def command(scale: Scale) -> list[str]:
    """The command, with no plugin but our own: other plugins installed on that machine are not loaded, and their
    warnings are no errors."""
    own = [
        "-p",
        "decoders_bench.gpu.outcomes",
        "-p",
        "no:cacheprovider",
        "-W",
        "default",
        "-o",
        "addopts=",
        "-q",
        "--tb=short",
    ]
    return [
        sys.executable,
        "-m",
        "pytest",
        *own,
        "-m",
        scale.marks,
        *(["-k", scale.names] if scale.names else []),
        *files(),
    ]


def start(scale: Scale, share: int, passed: list[str], folder: Path) -> subprocess.Popen[bytes]:
    asked = {"share": [share, scale.shares], "passed": passed, "out": str(folder / f"{share}.jsonl")}
    env = os.environ | {"GPU_CHECKS": json.dumps(asked), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command(scale), cwd=ROOT, env=env)


def run(scale: Scale, ledger: Ledger, clock: Clock) -> dict[str, Any]:
    """Run the tests that have not passed in earlier calls. Raises `UsageError` if none are left."""
    before = ledger.rows.get("checks/passed", {"ids": []})["ids"]
    began, until = time.monotonic(), min(SECONDS, max(clock.left - 10, 1))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        running = [start(scale, i, before, folder) for i in range(scale.shares)]
        try:
            while any(p.poll() is None for p in running) and time.monotonic() - began < until:
                time.sleep(0.5)
                keep(ledger, before, Outcomes.read(folder))
        finally:
            stopped = sum(stop(p) for p in running)
        found = Outcomes.read(folder)
    keep(ledger, before, found)
    for name, text in found.failed.items():
        ledger.tell(name, text)
    return row(before, found, stopped, [p.returncode for p in running])


def stop(process: subprocess.Popen[bytes]) -> bool:
    """Stop a process; whether it was still running."""
    if process.poll() is not None:
        return False
    process.kill()
    process.wait()
    return True


def keep(ledger: Ledger, before: list[str], found: Outcomes) -> None:
    ledger.rows["checks/passed"] = {"ids": sorted({*before, *found.passed})}
    ledger.save()


def row(before: list[str], found: Outcomes, stopped: int, codes: list[int]) -> dict[str, Any]:
    """The result. Raises `UsageError` if no test was found, and `RuntimeError` while some have not passed: a later call
    runs them again."""
    passed, failed, skipped = (len(x) for x in ({*before, *found.passed}, found.failed, found.skipped))
    missing = found.chosen - len(found.passed) - failed - skipped
    told = f"{passed} passed, {failed} failed, {skipped} skipped, {missing} not run"
    if not found.chosen and not before:
        raise UsageError(f"no test was run: pytest ended with {codes}")
    if failed or missing or stopped:
        first = [name.partition("::")[2] for name in list(found.failed)[:3]]
        raise RuntimeError(f"{told}: {', '.join(first) or 'time was up'}")
    return {"passed": passed, "skipped": skipped}


def part(scale: Scale, ledger: Ledger, clock: Clock) -> Part:
    return Part("checks", 1.0, [Task(KEY, lambda: run(scale, ledger, clock), seconds=20.0)])
