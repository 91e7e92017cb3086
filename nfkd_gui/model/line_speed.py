"""How fast the line to an engine on another machine is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.protocol.requests import Status
from nfkd_gui.link.connection import Connection

_SLOW, _FAST = 1.0, 0.5
"""Seconds of a round trip: from the first on the line is slow, below the second it is fast again."""
_TICK, _PAUSE, _WINDOW = 1000, 2.0, 10
"""Milliseconds between two looks at the line, seconds between two requests, and looks that the rate is a mean of."""
_KIB = 1024


class LineSpeed(QObject):
    """Measures round trips with small requests, which wait behind everything that the engine still has to send.

    While the line is slow, the engine skips pictures for which newer ones exist (`nfkd.engine.outbox`).

    Attributes
    ----------
    slow
        Whether the line is slow now.
    round_trip, best
        Seconds of the newest and of the shortest round trip; None before the first.
    rate
        Mean of the received bytes per second.
    """

    changed = Signal()

    def __init__(
        self, connection: Connection, parent: QObject | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(parent)
        self._connection, self._clock = connection, clock
        self._timer = QTimer(self, interval=_TICK)
        self._timer.timeout.connect(self.measure)
        self._number = 0
        self._forget()
        connection.changed.connect(self._follow)
        connection.dropped.connect(self.stop)

    def _forget(self) -> None:
        self._number += 1  # answers to earlier requests no longer count
        self._sent: float | None = None
        self._answered = -_PAUSE
        self._received: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)
        self.slow, self.rate = False, 0.0
        self.round_trip: float | None = None
        self.best: float | None = None

    def _follow(self) -> None:
        ready = self._connection.state.phase == "ready" and self._connection.remote
        if ready and not self._timer.isActive():
            self._timer.start()
        elif not ready:
            self.stop()

    def stop(self) -> None:
        """Measure no more."""
        if self._timer.isActive():
            self._timer.stop()
            self._forget()
            self.changed.emit()

    def measure(self) -> None:
        """Look at the line; send a request if none is open."""
        now = self._clock()
        self._received.append((now, self._connection.received))
        first = self._received[0]
        if now > first[0]:
            self.rate = (self._connection.received - first[1]) / (now - first[0])
        if self._sent is not None:
            self._judge(now - self._sent)
        elif now - self._answered >= _PAUSE:
            self._ask(now)
        self.changed.emit()

    def _ask(self, now: float) -> None:
        self._sent, number = now, self._number

        def answered(_reply: object) -> None:
            if number != self._number or self._sent is None:
                return
            self._answered = self._clock()
            trip, self._sent = self._answered - self._sent, None
            self.round_trip = trip
            self.best = trip if self.best is None else min(trip, self.best)
            self._judge(trip, complete=True)

        self._connection.ask(Status(), answered, lambda _error: None)

    def _judge(self, seconds: float, *, complete: bool = False) -> None:
        """Decide whether the line is slow, from a round trip that takes at least so long."""
        before = self.slow
        self.slow = seconds >= _SLOW or (before and not (complete and seconds < _FAST))
        if self.slow != before:
            self.changed.emit()

    def details(self) -> str:
        """Return the figures as a sentence for a tooltip; empty before the first round trip."""
        waits = self._clock() - self._sent if self._sent is not None else 0.0
        if self.round_trip is None or self.best is None:
            return f"No answer for {waits:.1f} s." if waits else ""
        trip = max(self.round_trip, waits)
        return (
            f"Round trip {_format_seconds(trip)} (shortest {_format_seconds(self.best)}), "
            f"{self.rate / _KIB:,.0f} KiB/s received in the last {_WINDOW} s."
        )


def _format_seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
