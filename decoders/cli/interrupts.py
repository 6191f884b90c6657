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
    raised in a callback of an import or of the garbage collector, and some code swallows them, so the process is ended
    if it still works after a while. A second SIGINT ends it at once, and so does one before or after the work."""

    def __init__(self) -> None:
        self.working = False
        self.heard = False
        signal.signal(signal.SIGINT, self.hear)

    def hear(self, number: int, frame: FrameType | None) -> None:
        if self.heard or not self.working:
            leave()
        self.heard = True
        patience = threading.Timer(PATIENCE, leave)
        patience.daemon = True
        patience.start()
        raise KeyboardInterrupt


def leave() -> None:
    """End the process immediately. Its output is complete, because results are written line by line."""
    os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)
