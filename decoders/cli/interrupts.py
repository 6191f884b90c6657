"""Ctrl-C: one line on stderr and exit code 130, whenever it comes."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

INTERRUPTED = 130
PATIENCE = 10.0
"""Seconds that work has for coming to an end of its own once it is interrupted."""


class Interrupts:
    """What SIGINT does from now on. While the command works it is a `KeyboardInterrupt`, as usual; but Python forgets
    one that falls into a callback of an import or of the garbage collector, and some code swallows them, so whoever
    still works after a while is left behind. A second one does not wait, nor does one before the work or after it, when
    there is nothing to bring to an end."""

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
    """End the process here and now. What it has written is whole: results are handed to the system line by line."""
    os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)
