"""Garbage is collected in the thread of the window alone while other Python threads run.

Python collects reference cycles in whatever thread allocates; a Qt object in such a cycle would then be destroyed
outside its thread, which Qt answers with a crash.
"""

from __future__ import annotations

import asyncio
import gc

_INTERVAL = 0.25
"""Seconds between two looks."""


class LoopCollector:
    """Takes garbage collection over on the running loop, from `start` to `stop`."""

    def __init__(self) -> None:
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Collect everything now, and from now on here only."""
        gc.disable()
        gc.collect()
        self._later()

    def stop(self) -> None:
        """Give garbage collection back to Python."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            gc.enable()

    def _later(self) -> None:
        self._next = asyncio.get_running_loop().call_later(_INTERVAL, self._collect)

    def _collect(self) -> None:
        due = [
            age
            for age, (count, most) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
            if count > most
        ]
        if due:
            gc.collect(max(due))
        self._later()
