"""The queue: its times, another order by mouse and keyboard, pause, removal, and failed runs that are tried again."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QListWidget, QPushButton

from nfkd.protocol.events import RunChanged
from nfkd.protocol.queue import ContinueSweep, OrderQueue, PauseQueue, QueueChanged, QueueState, SweepProgress
from nfkd.protocol.requests import ResumeFromDisk, Stop
from nfkd_gui.window.main_window import MainWindow
from nfkd_gui.window.queue_dialog import QueueDialog
from tests.gui.scripted_engine import row_of
from tests.gui.window.steps import DIGITS, Do, child, click, settled

WAITING = {"/runs/a": 60.0, "/runs/b": 120.0, "/runs/c": 30.0}


def names(dialog: QueueDialog) -> str:
    """Return the names of the listed runs."""
    return "".join(dialog.list.item(row).text().split(" · ")[0] for row in range(dialog.list.count()))


async def opened(window: MainWindow, script: Any) -> QueueDialog:
    """Open the queue of a run in training with 42 s left and three that wait."""
    script.begin("/runs/first", DIGITS)
    script.train("/runs/first", "teacher", 3)
    script.wait(WAITING)
    await settled(window.studio)
    window.actions_.queue.trigger()
    dialog = window.findChild(QueueDialog)
    assert isinstance(dialog, QueueDialog)
    return dialog


def test_each_run_ends_after_those_before_it(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        await opened(window, script)
        assert [entry.ends for entry in window.studio.queue.entries()] == [102.0, 222.0, 252.0]
        assert re.fullmatch(r"Queue: 3 queued · ends about .*\d\d:\d\d", window.sweeps.button.text())
        script.set_queue(["/runs/a"], [math.nan], paused=False)
        await settled(window.studio)
        assert math.isnan(window.studio.queue.seconds_left())
        assert window.sweeps.button.text() == "Queue: 1 queued"

    do(scenario())


def test_the_time_of_a_run_that_was_not_measured_is_the_mean_of_finished_ones_like_it(
    window: MainWindow, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        for name, seconds in (("x", 10.0), ("y", 30.0)):
            script.begin(f"/runs/{name}", DIGITS)
            script.finish(f"/runs/{name}")
            script.set_state(f"/runs/{name}", "finished", seconds=seconds)
        script.wait({"/runs/a": math.nan})
        await settled(window.studio)
        [entry] = window.studio.queue.entries()
        assert (entry.seconds, entry.measured, entry.ends) == (pytest.approx(20.0), False, pytest.approx(20.0))

    do(scenario())


def test_runs_are_dragged_into_another_order(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        dialog = await opened(window, script)
        assert names(dialog) == "abc"
        moved = dialog.list.model().moveRow(dialog.list.rootIndex(), 2, dialog.list.rootIndex(), 0)  # as a drop does
        assert moved
        await settled(window.studio)
        assert [request.runs for request in script.asked if isinstance(request, OrderQueue)] == [
            ["/runs/c", "/runs/a", "/runs/b"]
        ]
        assert names(dialog) == "cab"

    do(scenario())


def test_runs_are_moved_by_button_and_keyboard(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        dialog = await opened(window, script)
        assert not child(dialog, QPushButton, "queue.up").isEnabled()
        place = dialog.list.visualItemRect(dialog.list.item(1)).center()
        QTest.mouseClick(dialog.list.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place))
        click(dialog, QPushButton, "queue.up")
        await settled(window.studio)
        assert names(dialog) == "bac"
        assert not child(dialog, QPushButton, "queue.up").isEnabled()  # still selected, and first now
        dialog.list.setFocus()
        QTest.keyClick(dialog.list, Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier)
        await settled(window.studio)
        assert names(dialog) == "abc"

    do(scenario())


def test_the_queue_is_paused_and_a_run_is_removed(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        dialog = await opened(window, script)
        click(dialog, QPushButton, "queue.pause")
        await settled(window.studio)
        assert [request.paused for request in script.asked if isinstance(request, PauseQueue)] == [True]
        assert window.sweeps.button.text() == "Queue: 3 queued · paused"
        assert child(dialog, QPushButton, "queue.pause").text() == "Continue the queue"
        dialog.list.setCurrentRow(2)
        click(dialog, QPushButton, "queue.remove")
        await settled(window.studio)
        assert [(request.run, request.scope) for request in script.asked if isinstance(request, Stop)] == [
            ("/runs/c", "run")
        ]

    do(scenario())


def test_a_sweep_is_listed_and_stopped(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        sweep = SweepProgress(folder="/runs/widths", runs=12, ended=3, failed=1)
        script.queue = QueueState(sweeps=[sweep])
        script.emit(QueueChanged(queue=script.queue))
        await settled(window.studio)
        assert window.sweeps.button.text() == "Queue: sweep widths 3 of 12"
        window.sweeps.button.click()
        dialog = window.findChild(QueueDialog)
        assert isinstance(dialog, QueueDialog)
        assert dialog.sweeps.item(0).text() == "widths · 3 of 12 runs ended · 1 failed"
        dialog.sweeps.setCurrentRow(0)
        click(dialog, QPushButton, "queue.stop")
        await settled(window.studio)
        assert dialog.sweeps.item(0).text().endswith("not in the queue")
        assert window.sweeps.button.text() == "Queue: sweep widths stopped at 3 of 12"
        assert not child(dialog, QPushButton, "queue.stop").isEnabled()
        click(dialog, QPushButton, "queue.continue")
        await settled(window.studio)
        [request] = [request for request in script.asked if isinstance(request, ContinueSweep)]
        assert (request.folder, request.retry) == ("/runs/widths", True)

    do(scenario())


def test_the_failed_runs_of_a_sweep_that_has_ended_are_retried(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        for ended, failed in ((11, 0), (12, 1)):
            sweep = SweepProgress(folder="/runs/widths", runs=12, ended=ended, failed=failed)
            script.emit(QueueChanged(queue=QueueState(sweeps=[sweep])))
        script.emit(QueueChanged(queue=QueueState()))
        await settled(window.studio)
        run = "/runs/widths/one"
        script.emit(RunChanged(run=run, row=row_of(run, "failed")))
        await settled(window.studio)
        assert window.sweeps.button.text() == "Queue: sweep widths has 1 failed"
        window.sweeps.button.click()
        dialog = window.findChild(QueueDialog)
        assert isinstance(dialog, QueueDialog)
        dialog.sweeps.setCurrentRow(0)
        assert child(dialog, QPushButton, "queue.continue").text() == "Retry failed runs"
        click(dialog, QPushButton, "queue.continue")
        await settled(window.studio)
        [request] = [request for request in script.asked if isinstance(request, ContinueSweep)]
        assert (request.folder, request.retry) == ("/runs/widths", True)

    do(scenario())


def test_a_sweep_whose_runs_have_all_ended_leaves_the_queue(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        for ended in (11, 12):
            sweep = SweepProgress(folder="/runs/widths", runs=12, ended=ended, failed=0)
            script.emit(QueueChanged(queue=QueueState(sweeps=[sweep])))
        script.emit(QueueChanged(queue=QueueState()))
        await settled(window.studio)
        assert window.studio.queue.unfinished == []
        assert window.sweeps.button.isHidden()

    do(scenario())


def test_a_sweep_ends_after_the_mean_time_of_its_runs(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        sweep = SweepProgress(folder="/runs/widths", runs=5, ended=0, failed=0)
        assert math.isnan(window.studio.queue.sweep_seconds_left(sweep))
        for name, seconds in (("a", 60.0), ("b", 120.0)):
            script.begin(f"/runs/widths/{name}", DIGITS)
            script.set_state(f"/runs/widths/{name}", "finished", seconds=seconds)
        await settled(window.studio)
        sweep = SweepProgress(folder="/runs/widths", runs=5, ended=2, failed=0)
        assert window.studio.queue.sweep_seconds_left(sweep) == 3 * 90.0

    do(scenario())


def test_a_failed_run_is_tried_again(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/old", DIGITS)
        await settled(window.studio)
        assert window.sweeps.button.isHidden()
        script.set_state("/runs/old", "failed")
        await settled(window.studio)
        assert window.sweeps.button.text() == "Queue: 1 failed"
        window.sweeps.button.click()
        dialog = window.findChild(QueueDialog)
        assert isinstance(dialog, QueueDialog)
        child(dialog, QListWidget, "queue.failed").setCurrentRow(0)
        click(dialog, QPushButton, "queue.retry")
        await settled(window.studio)
        assert [request.run for request in script.asked if isinstance(request, ResumeFromDisk)] == ["/runs/old"]
        assert window.sweeps.button.isHidden()

    do(scenario())
