"""Pause, stop, and copies of the weights, across threads."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from nfkd.training.control import Control, LiveWeights, NotTraining, StopRun, StopStage


def copy() -> LiveWeights:
    return LiveWeights(1, "teacher", 7, {})


def test_nothing_asked_nothing_happens() -> None:
    Control().poll(copy)


def test_stop_of_a_stage_is_heard_once() -> None:
    control = Control()
    control.stop("stage")
    with pytest.raises(StopStage):
        control.poll(copy)
    control.poll(copy)


def test_stop_of_the_run_outdoes_that_of_the_stage_and_stays() -> None:
    control = Control()
    control.stop("run")
    control.stop("stage")
    for _ in range(2):
        with pytest.raises(StopRun):
            control.poll(copy)
    assert control.stopping


def test_a_paused_worker_serves_weights_and_goes_on() -> None:
    control = Control()
    told: list[bool] = []
    held = threading.Event()

    def on_pause(paused: bool) -> None:
        told.append(paused)
        if paused:
            held.set()

    control.on_pause = on_pause
    control.pause()
    worker = threading.Thread(target=control.poll, args=(copy,))
    worker.start()
    assert held.wait(10)
    assert control.live_weights().result(10).step == 7
    assert worker.is_alive()
    control.resume()
    worker.join(10)
    assert not worker.is_alive()
    assert told == [True, False]


def test_a_stop_ends_a_pause() -> None:
    control = Control()
    control.pause()
    control.stop("run")
    with pytest.raises(StopRun):
        control.poll(copy)


def test_waiting_requests_are_told_when_there_are_no_weights() -> None:
    control = Control()
    waiting = [control.live_weights() for _ in range(3)]
    control.between_stages()
    wait(waiting, 10)
    assert all(isinstance(future.exception(), NotTraining) for future in waiting)
    control.close()
    assert isinstance(control.live_weights().exception(10), NotTraining)


def test_a_copy_that_fails_does_not_break_the_worker() -> None:
    control = Control()

    def broken() -> LiveWeights:
        raise MemoryError

    future = control.live_weights()
    control.poll(broken)
    assert isinstance(future.exception(10), MemoryError)
