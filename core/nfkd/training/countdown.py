"""A remaining time that changes smoothly although its estimate is noisy."""

from __future__ import annotations

import math

_RISE = 0.01  # a second, as part of the shown time
_FASTEST = 2.0  # seconds in which a correction takes effect, at the end of a run
_SLOWEST = 0.2  # the same, as part of the remaining time


class Countdown:
    """Counts down with the clock, and corrects itself slowly towards the newest estimate.

    A time that is too long falls faster than the clock, one that is too short falls slower. It rises only where it
    is far too short, by at most one per cent a second.
    """

    def __init__(self) -> None:
        self._shown, self._time = math.nan, math.nan

    def update(self, now: float, estimate: float) -> float:
        """Return the time to show.

        Parameters
        ----------
        now
            Seconds of any clock.
        estimate
            The newest estimate of the remaining seconds; NaN while it is unknown.
        """
        passed, self._time = max(0.0, now - self._time), now
        if math.isnan(self._shown) or math.isnan(estimate) or math.isnan(passed):
            self._shown = estimate
        elif passed:
            self._shown = self._next(passed, estimate)
        return self._shown

    def _next(self, passed: float, estimate: float) -> float:
        shown = self._shown
        counted = max(0.0, shown - passed)
        gain = 1 - math.exp(-passed / max(_FASTEST, _SLOWEST * estimate))
        corrected = counted + gain * (estimate - counted)
        return min(corrected, shown * (1 + _RISE * passed))
