"""Memory that was freed is kept for the next iteration, where glibc would give it back to the system."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST = (1 << 30, 1 << 25)  # bytes; before glibc 2.35 no more than 32 MiB were allowed
_NEVER = -1  # the largest number, 2^31 - 1, is not: it would give back what is beyond 2 GiB


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed, for the rest of the process; whether it does so.

    A net's blobs are freed in every iteration. By default glibc returns their pages, and the system fills them with
    zeros when they are asked for again: up to a third of a step. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    large = any(libc.mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST)
    return bool(large and libc.mallopt(_TRIM_THRESHOLD, _NEVER))
