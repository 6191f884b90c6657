"""Ctrl-C: one line on stderr and exit code 130, whenever it comes."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

INTERRUPTED = 130
PATIENCE = 10.0
"""Seconds that interrupted work has to end by itself."""


class Interrupts:
    """Handles SIGINT. While the command works it raises a `KeyboardInterrupt`, as usual. But Python loses one that is
    raised in a callback of the garbage collector, and some code swallows them, so the process is ended if it still
    works after a while. A second SIGINT ends it at once, and so does one before or after the work, or during an import:
    torch calls Python from C++ while it is imported, where an exception aborts the process."""

    def __init__(self) -> None:
        self.working = False
        self.heard = False
        signal.signal(signal.SIGINT, self.hear)

    def hear(self, number: int, frame: FrameType | None) -> None:
        if self.heard or not self.working or imports(frame):
            leave()
        self.heard = True
        patience = threading.Timer(PATIENCE, leave)
        patience.daemon = True
        patience.start()
        raise KeyboardInterrupt


def imports(frame: FrameType | None) -> bool:
    """Whether the code that is executed in a frame is part of an import."""
    while frame is not None and frame.f_globals.get("__name__") != "importlib._bootstrap":
        frame = frame.f_back
    return frame is not None


def leave() -> None:
    """End the process immediately. Its output is complete, because results are written line by line."""
    os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)
