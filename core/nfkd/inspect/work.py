"""A computation that can be cancelled, ends after a limited time, and reports how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event

from nfkd.runs.errors import RunError

_REPORT_SECONDS = 0.2


class Work:
    """Checked between the batches of a computation.

    Parameters
    ----------
    limit
        Seconds after which it ends with an error.
    on_progress
        Called now and then with the share that is done, from 0 to 1.
    """

    def __init__(self, limit: float = float("inf"), on_progress: Callable[[float], None] | None = None) -> None:
        self._limit, self._on_progress = limit, on_progress
        self._end = time.monotonic() + limit
        self._next_report = time.monotonic() + _REPORT_SECONDS
        self._cancelled = Event()

    def cancel(self) -> None:
        """End the computation at its next check; may be called from another thread."""
        self._cancelled.set()

    def start(self) -> None:
        """Begin to count the time."""
        self._end = time.monotonic() + self._limit

    def check(self, share: float | None = None) -> None:
        """Report the share that is done.

        Raises
        ------
        RunError
            When the computation was cancelled, or takes too long.
        """
        now = time.monotonic()
        if self._cancelled.is_set():
            title = "The request was cancelled"
            raise RunError(title, "Nothing was computed.", "Ask again if you still want it.")
        if now > self._end:
            cause = f"It did not end within {self._limit:g} s."
            title = "The request takes too long"
            raise RunError(title, cause, "Ask for fewer examples, or wait until the run has ended.")
        if self._on_progress is not None and share is not None and now >= self._next_report:
            self._next_report = now + _REPORT_SECONDS
            self._on_progress(share)

    def part(self, first: float, last: float) -> Work:
        """Return a part of this work, which goes from one share of the whole to another."""
        return _Part(self, first, last)

    def batches(self, count: int, size: int) -> Iterator[slice]:
        """Yield slices of at most `size` of `count` examples, with a check before each."""
        for start in range(0, count, size):
            self.check(start / count)
            yield slice(start, min(count, start + size))


class _Part(Work):
    def __init__(self, whole: Work, first: float, last: float) -> None:
        super().__init__()
        self._whole, self._first, self._last = whole, first, last

    def check(self, share: float | None = None) -> None:
        self._whole.check(None if share is None else self._first + share * (self._last - self._first))
