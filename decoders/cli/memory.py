"""Settings of the C library for commands that decode for minutes: freed memory is kept.

A forward on a CPU allocates and frees tensors of a few megabytes all the time. By default glibc gets each of them from
the system and returns it at once, and the system clears every page again at its first use: this took a fifth of the
processor time of nano's forwards.
"""

from __future__ import annotations

import ctypes

TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
LARGEST = 32 << 20  # the largest value that glibc accepts for the second: half of a heap
KEPT = 256 << 20


def keep_freed() -> bool:
    """Allocate up to 32 MiB from glibc's own heap from now on, and keep up to 256 MiB of free memory in it; whether
    that worked. Nothing is changed if the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(MMAP, LARGEST)) and bool(mallopt(TRIM, KEPT))
