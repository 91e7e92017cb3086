"""Reports of long work while data is loaded, such as the preparation of a table that is kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_EVERY = 5.0  # seconds between two reports of the same work

Report = Callable[[str], None]
_report: ContextVar[Report | None] = ContextVar("nfkd_data_report", default=None)


class _EndedError(BaseException):
    """A report raised an exception; no reader of damaged files takes this for one of its own."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


@contextmanager
def reporting(report: Report) -> Iterator[None]:
    """Call a function with each report of this thread; it may raise to end the work."""
    token = _report.set(report)
    try:
        yield
    except _EndedError as ended:
        raise ended.reason from None
    finally:
        _report.reset(token)


class Progress:
    """Reports of one piece of work: the first at once, then at most one in five seconds."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, message: str) -> None:
        """Report a message, unless the last one is recent."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            say(message)


def say(message: str) -> None:
    """Report a message."""
    report = _report.get()
    if report is None:
        return
    try:
        report(message)
    except Exception as reason:
        raise _EndedError(reason) from reason
