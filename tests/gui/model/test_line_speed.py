"""The speed of a line, measured with a clock of the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import QObject, Signal

from nfkd_gui.link.connection import EngineState
from nfkd_gui.model.line_speed import LineSpeed


class FakeConnection(QObject):
    """A connection whose answers the test gives."""

    changed = Signal()
    dropped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.state = EngineState("ready")
        self.remote, self.received = True, 0
        self.open: list[Callable[[object], None]] = []

    def ask(self, _request: object, on_reply: Callable[[object], None], _on_error: object) -> None:
        self.open.append(on_reply)


class Speed:
    """A line's speed with its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.connection = FakeConnection()
        self.speed = LineSpeed(self.connection, clock=lambda: self.now)  # type: ignore[arg-type]

    def round_trip(self, seconds: float) -> None:
        """Let the line take so long for one request."""
        self.now += 2.0
        self.speed.measure()
        self.now += seconds
        [answer] = self.connection.open
        self.connection.open.clear()
        answer(None)


@pytest.fixture
def line(qapp: object) -> Speed:
    return Speed()


def test_a_line_is_slow_from_a_second_on_and_fast_again_below_half(line: Speed) -> None:
    states = []
    for seconds in (0.05, 0.99, 1.0, 0.7, 0.5, 0.49, 0.7):
        line.round_trip(seconds)
        states.append(line.speed.slow)
    assert states == [False, False, True, True, True, False, False]
    assert line.speed.best == pytest.approx(0.05)
    assert line.speed.round_trip == pytest.approx(0.7)


def test_an_open_request_shows_a_slow_line_before_it_is_answered(line: Speed) -> None:
    line.round_trip(0.05)
    line.now += 2.0
    line.speed.measure()
    for _ in range(2):
        line.now += 0.6
        line.speed.measure()
    assert line.speed.slow
    assert "1.2 s (shortest 50 ms)" in line.speed.details()


def test_the_rate_is_that_of_the_last_seconds(line: Speed) -> None:
    for number in range(30):
        line.now += 1.0
        line.connection.received = 1024 * 100 * max(0, number - 15)
        line.speed.measure()
        for answer in line.connection.open:
            answer(None)
        line.connection.open.clear()
    assert line.speed.rate == pytest.approx(102_400)
    assert "100 KiB/s" in line.speed.details()


def test_a_lost_connection_forgets_the_figures(line: Speed) -> None:
    changes: list[Any] = []
    line.connection.changed.emit()
    line.round_trip(1.5)
    line.now += 2.0
    line.speed.measure()
    [late] = line.connection.open
    line.speed.changed.connect(lambda: changes.append(line.speed.slow))
    line.connection.state = EngineState("waiting")
    line.connection.changed.emit()
    late(None)  # of the old connection
    assert changes == [False]
    assert line.speed.round_trip is None
    assert not line.speed.slow


def test_an_engine_on_this_machine_is_not_measured(line: Speed) -> None:
    line.connection.remote = False
    line.connection.changed.emit()
    assert line.connection.open == []
    line.connection.dropped.emit()
