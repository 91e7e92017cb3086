"""Collects curve points in the training loop and emits them in batches."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from nfkd.protocol.events import CurveBatch, CurvePoints
from nfkd.protocol.roles import Role

_INTERVAL = 0.05
_LONGEST = 1.0
_REST = 49.0
"""Seconds of training for each second of emitting, up to the longest interval: emitting takes 2 % of the time."""


class CurveLog:
    """Collects the points of a stage and emits them about twenty times a second, less often where emitting is slow.

    Emitting many curves takes longer than few. With a fixed interval that is shorter than this, every step would emit.

    Parameters
    ----------
    run, seed, stage
        For the events.
    emit
        Receives the batches.
    elapsed
        Seconds that the stage took before it was resumed.
    paused_seconds
        Returns the total time of all pauses, which is not counted.
    """

    def __init__(
        self,
        run: str,
        seed: int,
        stage: Role,
        emit: Callable[[CurvePoints], None],
        *,
        elapsed: float,
        paused_seconds: Callable[[], float],
    ) -> None:
        self._names = (run, seed, stage)
        self._emit = emit
        self._paused_seconds = paused_seconds
        self._began = self._now() - elapsed
        self._points: dict[str, list[tuple[int, float, float]]] = {}
        self._due = time.perf_counter() + _INTERVAL

    @property
    def elapsed(self) -> float:
        """Seconds that the stage has taken, without pauses."""
        return self._now() - self._began

    def _now(self) -> float:
        return time.perf_counter() - self._paused_seconds()

    def add(self, step: int, values: dict[str, float], elapsed: float | None = None) -> None:
        """Add a point to each named curve; its time is now, if none is given."""
        now = self.elapsed if elapsed is None else elapsed
        for name, value in values.items():
            self._points.setdefault(name, []).append((step, value, now))
        if time.perf_counter() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Emit all collected points."""
        began = time.perf_counter()
        self._due = began + _INTERVAL
        if not self._points:
            return
        run, seed, stage = self._names
        curves = {name: _batch(points) for name, points in self._points.items()}
        self._points = {}
        self._emit(CurvePoints(run=run, seed=seed, stage=stage, curves=curves))
        ended = time.perf_counter()
        self._due = ended + min(max(_INTERVAL, _REST * (ended - began)), _LONGEST)


def _batch(points: list[tuple[int, float, float]]) -> CurveBatch:
    steps, values, times = zip(*points, strict=True)
    return CurveBatch(steps=np.array(steps, np.int64), values=np.array(values), times=np.array(times))
