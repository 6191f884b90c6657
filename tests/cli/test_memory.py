"""Memory that is given back stays with the process of a long command."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from decoders.cli.memory import keep_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        b"x" * (8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed(), faults(), faults())
"""


def test_pages_are_not_cleared_anew_for_every_piece():
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    before, kept, _, after = said
    if kept == "True":
        assert int(after) < int(before) / 10
    else:  # another C library
        assert int(before) >= 0


def test_another_c_library_is_left_alone(monkeypatch):
    from decoders.cli import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert memory.keep_freed() is False
