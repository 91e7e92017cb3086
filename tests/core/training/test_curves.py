"""How often the points of curves are emitted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nfkd.protocol.events import CurvePoints
from nfkd.training import curves
from nfkd.training.curves import CurveLog


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(curves, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def emitted(clock: Clock, steps: int, step_seconds: float, emit_seconds: float) -> list[CurvePoints]:
    """Return what is emitted during some steps, and at their end."""
    found: list[CurvePoints] = []

    def emit(event: CurvePoints) -> None:
        clock.now += emit_seconds
        found.append(event)

    log = CurveLog("run", 1, "student", emit, elapsed=0.0, paused_seconds=float)
    for step in range(1, steps + 1):
        clock.now += step_seconds
        log.add(step, {"train/nll": float(step)})
    log.flush()
    return found


@pytest.mark.parametrize("emit_seconds", [0.0, 0.0005])
def test_cheap_points_are_emitted_twenty_times_a_second(clock: Clock, emit_seconds: float) -> None:
    assert len(emitted(clock, 1000, 0.01, emit_seconds)) == pytest.approx(10 / 0.05, rel=0.25)


def test_slow_points_are_emitted_less_often(clock: Clock) -> None:
    """At 0.2 s an emission, 1,000 steps of 10 ms (10 s) emit once a second, not at every step."""
    assert 8 <= len(emitted(clock, 1000, 0.01, 0.2)) <= 12


def test_emitting_takes_a_fiftieth_of_the_time(clock: Clock) -> None:
    events = emitted(clock, 10_000, 0.001, 0.01)
    assert len(events) * 0.01 <= 0.02 * clock.now + 0.02


def test_no_point_is_lost(clock: Clock) -> None:
    events = emitted(clock, 1000, 0.01, 0.2)
    steps = [step for event in events for step in event.curves["train/nll"].steps.tolist()]
    assert steps == list(range(1, 1001))
