"""What a command that decodes for minutes asks of the C library: to keep the memory that is given back to it.

A forward on a CPU makes and drops tensors of a few megabytes all the time. By default glibc takes each of them from the
system and gives it back at once, and every page of it is then cleared anew when it is first written to: a fifth of the
processor time of nano's forwards.
"""

from __future__ import annotations

import ctypes

TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
LARGEST = 32 << 20  # the most that glibc takes for the second: half of a heap
KEPT = 256 << 20


def keep_freed() -> bool:
    """Whether the C library does: from now on pieces of up to 32 MiB come from its own heap, of which it keeps up to
    256 MiB that are free. Nothing is changed where it is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(MMAP, LARGEST)) and bool(mallopt(TRIM, KEPT))
