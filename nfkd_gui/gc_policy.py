"""When garbage is collected: not while the window is made, and not among what stays as long as the window does.

While other Python threads run, it is collected in the thread of the window alone. Python collects reference cycles in
whatever thread allocates; a Qt object in such a cycle would then be destroyed outside its thread, and Qt crashes.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_INTERVAL = 0.25
"""Seconds between two looks."""


@contextmanager
def collected_later() -> Iterator[None]:
    """Collect nothing meanwhile: what is imported and made for a window stays."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def spare_what_is_there() -> None:
    """Let no collection look through what is there now: it stays, and to look through it stops the window for 70 ms."""
    gc.freeze()


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
