"""The C allocator during a round: freed memory stays with the process.

By default glibc hands large blocks back to the system when they are freed and takes them anew at the next
call: a page fault and a cleared page for every 4 KiB. From which size on depends on what the process freed
before, so the same step can cost a quarter more in one process than in another (7.0 and 9.1 ms were seen, the
latter with 960 faults a step). A process that has trained for a while is past that; a round is brought there
at once.
"""

from __future__ import annotations

import ctypes

#: Names and numbers of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> bool:
    """Serve blocks below 32 MiB from one heap that is not trimmed; False where malloc cannot be told."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    # larger thresholds than 32 MiB are refused; one arena, since the heaps of others are small
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 1 << 30))
    return all([bool(libc.mallopt(name, value)) for name, value in settings])


def return_freed_memory() -> None:
    """Hand what is free back to the system, so that the resident size is what is in use."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
