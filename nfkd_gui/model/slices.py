"""Long computations in short slices on the event loop, so that the window stays responsive."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar
from weakref import WeakSet

from PySide6.QtCore import QObject, QTimer
from shiboken6 import isValid

_T = TypeVar("_T")
Steps = Generator[None, None, _T]
"""A computation that yields again and again, after at most a few milliseconds of work, and returns its result."""
_FIRST, _SLICE = 0.004, 0.002
"""Seconds of work until the event loop gets its turn, at the start and later: short work is done at once."""
PAUSE = 1
"""Milliseconds between two slices, in which the event loop handles what else is due."""

_SHORTEST_PAUSE = PAUSE / 2000
"""Seconds since the last slice; less if timers are due at the same time."""


def run_steps(steps: Steps[_T]) -> _T:
    """Run a computation to its end, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class SlicedWork(QObject):
    """Runs one computation at a time in slices of 2 ms; between them, the event loop handles what else is due.

    Several of these objects take turns, so that their slices do not follow each other without a pause.

    Attributes
    ----------
    ran
        When its last slice ended, by `time.perf_counter`.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._steps: Steps[Any] | None = None
        self._done: Callable[[Any], None]
        self.ran = 0.0
        self._timer = QTimer(self, interval=PAUSE, singleShot=True)
        self._timer.timeout.connect(self._run)

    @property
    def active(self) -> bool:
        """Whether a computation has not ended yet."""
        return self._steps is not None

    def start(self, steps: Steps[_T], done: Callable[[_T], None]) -> None:
        """Run a computation in place of one that has not ended: a slice now, the others soon; `done` takes its result.

        It must not start or cancel work of this object; `done` may.
        """
        self.cancel()
        self._steps, self._done = steps, done
        _ACTIVE.add(self)
        self._run_slice(steps, _FIRST)

    def cancel(self) -> None:
        """Drop the computation that has not ended."""
        self._timer.stop()
        self._steps = None
        _ACTIVE.discard(self)

    def _run(self) -> None:
        if self._steps is None:
            return
        others = [other.ran for other in _ACTIVE if isValid(other)]
        paused = time.perf_counter() - max(others) > _SHORTEST_PAUSE
        if paused and self.ran == min(others):
            self._run_slice(self._steps, _SLICE)
        else:
            self._timer.start()

    def _run_slice(self, steps: Steps[Any], seconds: float) -> None:
        until = time.perf_counter() + seconds
        try:
            while time.perf_counter() < until:
                next(steps)
        except StopIteration as end:
            self.cancel()
            self._done(end.value)
        else:
            self.ran = time.perf_counter()
            self._timer.start()


_ACTIVE: WeakSet[SlicedWork] = WeakSet()
"""The objects whose computation has not ended."""
