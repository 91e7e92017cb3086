"""Memory that a process keeps for its next arrays."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h

KEPT = 1 << 30
"""Bytes."""


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to `KEPT` bytes that it has freed, and take arrays up to this size from them.

    glibc returns freed memory to the system early, and every page that is needed again is then cleared by the system:
    up to a seventh of a training step of Glow. Without glibc, nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for setting in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        mallopt(setting, KEPT)
