"""Jobs that kill the process that runs them, in a module that a worker imports quickly."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def dies_once(job: tuple[Path, int]) -> int:
    flag, number = job
    if number == 3 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def always_dies(job: None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)
