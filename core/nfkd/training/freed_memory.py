"""Memory that a process keeps for its next arrays."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_KEPT = 1 << 30  # bytes


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to a GiB that it has freed, and take arrays up to this size from it.

    glibc returns freed memory to the system early, and every page that is needed again is then cleared by the system:
    up to a seventh of a training step of Glow. It counts what is free at the end of its memory, so a process may keep
    more below arrays that are still used. Threads that start later share this memory instead of having their own, in
    which these settings have no effect. Without glibc, and in versions that refuse the size of arrays (some limit it
    to 32 MiB), nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    if mallopt(_MMAP_THRESHOLD, _KEPT):
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_ARENA_MAX, 1)
