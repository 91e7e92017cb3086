"""Pause, stop, and copies of the weights, across threads."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from nfkd.training.control import Control, LiveWeights, NotTraining, StopRun, StopStage


def copy() -> LiveWeights:
    return LiveWeights(1, "teacher", 7, {})


def test_without_requests_nothing_happens() -> None:
    Control().poll(copy)


def test_stopping_a_stage_works_once() -> None:
    control = Control()
    control.stop("stage")
    with pytest.raises(StopStage):
        control.poll(copy)
    control.poll(copy)


def test_stopping_the_run_overrides_stopping_the_stage_and_stays() -> None:
    control = Control()
    control.stop("run")
    control.stop("stage")
    for _ in range(2):
        with pytest.raises(StopRun):
            control.poll(copy)
    assert control.stopping


def test_a_paused_run_copies_weights_and_continues() -> None:
    control = Control()
    changes: list[bool] = []
    is_paused = threading.Event()

    def on_pause(paused: bool) -> None:
        changes.append(paused)
        if paused:
            is_paused.set()

    control.on_pause = on_pause
    control.pause()
    worker = threading.Thread(target=control.poll, args=(copy,))
    worker.start()
    assert is_paused.wait(10)
    assert control.live_weights().result(10).step == 7
    assert worker.is_alive()
    control.resume()
    worker.join(10)
    assert not worker.is_alive()
    assert changes == [True, False]


def test_long_work_without_steps_pauses_too_and_leaves_the_end_of_the_stage_to_its_first_step() -> None:
    control = Control()
    is_paused = threading.Event()
    control.on_pause = lambda paused: is_paused.set() if paused else None
    control.pause()
    worker = threading.Thread(target=control.poll_outside_training)
    worker.start()
    assert is_paused.wait(10)
    assert isinstance(control.live_weights().exception(10), NotTraining)
    control.stop("stage")
    worker.join(10)
    assert not worker.is_alive()
    with pytest.raises(StopStage):
        control.poll(copy)
    control.stop("run")
    with pytest.raises(StopRun):
        control.poll_outside_training()


def test_stopping_ends_a_pause() -> None:
    control = Control()
    control.pause()
    control.stop("run")
    with pytest.raises(StopRun):
        control.poll(copy)


def test_requests_for_weights_fail_between_stages() -> None:
    control = Control()
    waiting = [control.live_weights() for _ in range(3)]
    control.between_stages()
    wait(waiting, 10)
    assert all(isinstance(future.exception(), NotTraining) for future in waiting)
    control.close()
    assert isinstance(control.live_weights().exception(10), NotTraining)


def test_a_failed_copy_does_not_end_training() -> None:
    control = Control()

    def fail() -> LiveWeights:
        raise MemoryError

    future = control.live_weights()
    control.poll(fail)
    assert isinstance(future.exception(10), MemoryError)


def test_requests_before_and_after_the_connection_reach_another_process() -> None:
    here, there, sent = Control(), Control(), []
    here.pause()
    here.forward(sent.append)
    here.stop("run")
    weights = here.live_weights()
    for request in sent:
        there.receive(request, here.receive_weights)
    with pytest.raises(StopRun):
        there.poll(copy)
    assert weights.result(timeout=0).step == 7
    assert [request[0] for request in sent] == ["pause", "stop", "weights"]
