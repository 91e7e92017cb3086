"""Computations in slices on the event loop."""

from __future__ import annotations

import time

from PySide6.QtCore import QObject, QTimer
from pytestqt.qtbot import QtBot

from nfkd_gui.model.slices import SlicedWork, Steps, run_steps


def count(steps: int, seconds: float = 0.0) -> Steps[int]:
    for _ in range(steps):
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        yield
    return steps


def test_steps_that_are_run_at_once_return_their_result() -> None:
    assert run_steps(count(5)) == 5
    assert run_steps(count(0)) == 0


def test_short_work_is_done_at_once(qtbot: QtBot) -> None:
    del qtbot
    done, parent = list[int](), QObject()
    work = SlicedWork(parent)
    work.start(count(3), done.append)
    assert done == [3]
    assert not work.active


def test_the_event_loop_gets_its_turn_between_slices(qtbot: QtBot) -> None:
    parent, done, beats = QObject(), list[int](), list[bool]()
    work, timer = SlicedWork(parent), QTimer(parent, interval=0)
    timer.timeout.connect(lambda: beats.append(work.active))
    timer.start()
    work.start(count(40, 0.001), done.append)
    assert not done
    qtbot.waitUntil(lambda: bool(done))
    timer.stop()
    assert done == [40]
    assert beats.count(True) >= 3  # at least 40 ms of work in slices of 4 ms


def test_several_computations_take_turns(qtbot: QtBot) -> None:
    parent, order = QObject(), list[str]()

    def steps(name: str) -> Steps[None]:
        for _ in range(30):
            order.append(name)
            yield from count(1, 0.001)

    works = {name: SlicedWork(parent) for name in ("first", "second")}
    for name, work in works.items():
        work.start(steps(name), lambda _: None)
    qtbot.waitUntil(lambda: not any(work.active for work in works.values()))
    slices = [name for name, before in zip(order, ["", *order], strict=False) if name != before]
    assert slices[:8] == ["first", "second"] * 4


def test_other_work_replaces_what_has_not_ended(qtbot: QtBot) -> None:
    parent, done = QObject(), list[int]()
    work = SlicedWork(parent)
    work.start(count(40, 0.001), done.append)
    work.start(count(20, 0.001), done.append)
    qtbot.waitUntil(lambda: bool(done))
    work.start(count(40, 0.001), done.append)
    work.cancel()
    assert not work.active
    qtbot.wait(20)
    assert done == [20]
