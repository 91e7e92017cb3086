"""Long computations in short slices on the event loop, so that the window stays responsive."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QTimer

_T = TypeVar("_T")
Steps = Generator[None, None, _T]
"""A computation that yields again and again, after at most a few milliseconds of work, and returns its result."""
_SLICE = 0.004
"""Seconds of work until the event loop gets its turn."""


def run_steps(steps: Steps[_T]) -> _T:
    """Run a computation to its end, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class SlicedWork(QObject):
    """Runs one computation at a time in slices of 4 ms; between them, the event loop handles what else is due."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._steps: Steps[Any] | None = None
        self._done: Callable[[Any], None]
        self._timer = QTimer(self, interval=0, singleShot=True)
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
        self._run()

    def cancel(self) -> None:
        """Drop the computation that has not ended."""
        self._timer.stop()
        self._steps = None

    def _run(self) -> None:
        if self._steps is None:
            return
        until = time.perf_counter() + _SLICE
        try:
            while time.perf_counter() < until:
                next(self._steps)
        except StopIteration as end:
            self._steps = None
            self._done(end.value)
        else:
            self._timer.start()
