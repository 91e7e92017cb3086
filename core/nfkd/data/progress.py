"""Reports of long work while data is loaded, such as the preparation of a table that is kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_EVERY = 5.0  # seconds between two reports of the same work

Report = Callable[[str], None]
_report: ContextVar[tuple[Report, float] | None] = ContextVar("nfkd_data_report", default=None)


class _EndedError(BaseException):
    """A report raised an exception; no reader of damaged files takes this for one of its own."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


@contextmanager
def reporting(report: Report, every: float = _EVERY) -> Iterator[None]:
    """Call a function with each report of this thread; it may raise to end the work.

    Parameters
    ----------
    report
        Called with a message.
    every
        Seconds between two reports of the same work.
    """
    token = _report.set((report, every))
    try:
        yield
    except _EndedError as ended:
        raise ended.reason from None
    finally:
        _report.reset(token)


class Progress:
    """Reports of one piece of work, at most one in each interval; the first at once, or after an interval."""

    def __init__(self, *, at_once: bool = True) -> None:
        self._next = time.monotonic() + (0 if at_once else _interval())

    def __call__(self, message: str) -> None:
        """Report a message, unless the last one is recent."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _interval()
            say(message)


def _interval() -> float:
    found = _report.get()
    return _EVERY if found is None else found[1]


def say(message: str) -> None:
    """Report a message."""
    found = _report.get()
    if found is None:
        return
    try:
        found[0](message)
    except Exception as reason:
        raise _EndedError(reason) from reason
