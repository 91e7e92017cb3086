"""When Python collects garbage: not while the window is made, and only in the window's thread.

Python collects reference cycles in whatever thread allocates. A Qt object in such a cycle would then be destroyed in
the wrong thread, and Qt crashes. So while other Python threads run, `LoopCollector` collects on the event loop.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_INTERVAL = 0.25
"""Seconds between two checks."""


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection: nothing that is made for a window becomes garbage soon."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def freeze_existing_objects() -> None:
    """Exclude all existing objects from collection: searching them would block the window for 70 ms."""
    gc.freeze()


class CollectionPause:
    """Keeps Python's own collection off while at least one worker thread runs; for use in the window's thread."""

    def __init__(self) -> None:
        self._workers = 0
        self._enabled = False

    def enter(self) -> None:
        """Count a worker that starts."""
        if self._workers == 0:
            self._enabled = gc.isenabled()
            gc.disable()
        self._workers += 1

    def leave(self) -> None:
        """Count a worker that has ended."""
        self._workers -= 1
        if self._workers == 0 and self._enabled:
            gc.enable()


PAUSE = CollectionPause()
"""The pause that all workers share: none enables collection while another runs."""


class LoadingPause:
    """Keeps Python's own collection off while many objects arrive that stay; then excludes them from collection.

    A search of 10,000 runs and their values would block the window for 40 ms, again and again while they arrive.
    """

    def __init__(self) -> None:
        self._active = False

    def begin(self) -> None:
        """Pause collection, if it is not paused yet."""
        if not self._active:
            self._active = True
            PAUSE.enter()

    def end(self) -> None:
        """Exclude what has arrived, and collect garbage again."""
        if self._active:
            self._active = False
            freeze_existing_objects()
            PAUSE.leave()


class LoopCollector:
    """Collects garbage on the running event loop only, between `start` and `stop`."""

    def __init__(self) -> None:
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Collect everything now, and disable Python's own collection."""
        PAUSE.enter()
        gc.collect()
        self._schedule()

    def stop(self) -> None:
        """Enable Python's own collection again."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            PAUSE.leave()

    def _schedule(self) -> None:
        self._next = asyncio.get_running_loop().call_later(_INTERVAL, self._collect)

    def _collect(self) -> None:
        due = [
            generation
            for generation, (count, threshold) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
            if count > threshold
        ]
        if due:
            gc.collect(max(due))
        self._schedule()
