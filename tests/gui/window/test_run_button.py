"""The Run button while the experiment is edited, and what it does before the engine has checked the changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QPushButton, QWidget

from nfkd.config import ExperimentConfig
from nfkd.config.problems import ConfigProblem
from nfkd.protocol.data import PreviewData
from nfkd.protocol.requests import Describe, Run
from nfkd.protocol.times import EstimateTime
from nfkd_gui.window.main_window import MainWindow
from tests.gui.forms.driver import choose
from tests.gui.forms.preview_driver import preview_of

Do = Callable[[Any], Any]


class Watcher(QObject):
    """Counts how often a widget was disabled."""

    disabled = 0

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.EnabledChange and isinstance(watched, QWidget) and not watched.isEnabled():
            self.disabled += 1
        return False


@contextmanager
def watched(button: QPushButton) -> Iterator[Watcher]:
    watcher = Watcher(button)
    button.installEventFilter(watcher)
    yield watcher
    button.removeEventFilter(watcher)


def run_button(window: MainWindow) -> QPushButton:
    button = window.findChild(QPushButton, "header.primary")
    assert isinstance(button, QPushButton)
    return button


def line(window: MainWindow, path: str) -> Any:
    window.design.open_field(path)
    found = window.form.findChild(QWidget, path)
    assert found is not None
    return found if isinstance(found, (QLineEdit, QPlainTextEdit)) else found.findChild(QLineEdit)


def count(script: Any, *kinds: type) -> int:
    return sum(isinstance(request, kinds) for request in script.asked)


@pytest.mark.parametrize("path", ["training.student_steps", "description", "name"])
def test_run_stays_enabled_at_each_keystroke(window: MainWindow, path: str) -> None:
    button = run_button(window)
    assert button.isEnabled()
    with watched(button) as watcher:
        editor = line(window, path)
        for key in "123":
            QTest.keyClicks(editor, key)
            assert button.isEnabled()
    assert not watcher.disabled
    QTest.keyClicks(line(window, "training.batch_size"), "x")
    assert not button.isEnabled()  # a value that is wrong


def test_name_and_description_do_not_ask_the_engine(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        client = window.studio.clients[-1]  # type: ignore[attr-defined]
        window.studio.time_estimate.refresh()  # do not wait for its timer
        await client.settled()
        before = count(script, Describe, EstimateTime)
        for path in ("name", "description"):
            QTest.keyClicks(line(window, path), "abc")
        assert not window.studio.experiment._inquiry.waits
        assert not window.studio.time_estimate._inquiry.waits
        assert window.studio.experiment.is_checked
        assert count(script, Describe, EstimateTime) == before
        assert "abc" in window.studio.experiment.text
        QTest.keyClicks(line(window, "training.student_steps"), "1")
        assert not window.studio.experiment.is_checked

    do(scenario())


def press(window: MainWindow) -> None:
    QTest.mouseClick(run_button(window), Qt.MouseButton.LeftButton)


def test_run_waits_for_the_check_of_the_changes(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        client = window.studio.clients[-1]  # type: ignore[attr-defined]
        client.slow = (Describe,)
        QTest.keyClicks(line(window, "training.student_steps"), "1")
        press(window)
        press(window)
        assert not count(script, Run)
        client.slow = ()
        client.release()
        await client.settled()
        [run] = [request for request in script.asked if isinstance(request, Run)]
        assert run.config == window.studio.experiment.text

    do(scenario())


def test_run_shows_the_problem_that_the_engine_finds(window: MainWindow, script: Any, do: Do) -> None:
    errors: list[Any] = []
    window.studio.failed.connect(errors.append)
    script.find_problems = lambda _config: [ConfigProblem(path="training.student_steps", message="too few")]

    async def scenario() -> None:
        client = window.studio.clients[-1]  # type: ignore[attr-defined]
        QTest.keyClicks(line(window, "training.student_steps"), "1")
        press(window)
        await client.settled()
        assert not count(script, Run)
        assert [error.cause for error in errors] == ["training.student_steps: too few."]
        assert not run_button(window).isEnabled()

    do(scenario())


@pytest.mark.parametrize("slow", [PreviewData, (PreviewData, Describe)])
def test_run_waits_until_the_experiment_fits_the_changed_data(
    window: MainWindow, script: Any, do: Do, until: Callable[[Any], Any], slow: Any
) -> None:
    script.previews["two_moons"] = preview_of(event_shape=[2], levels=0, unit="nats")

    async def scenario() -> None:
        studio = window.studio
        client = studio.clients[-1]  # type: ignore[attr-defined]
        studio.data_preview.refresh()
        await client.settled()
        client.slow = slow
        choose(window.form, "data.kind", "two_moons")
        press(window)
        await client.settled()
        assert not count(script, Run)
        client.slow = ()
        client.release()
        if not count(script, Run):
            await until(studio.accepted)
        [run] = [request for request in script.asked if isinstance(request, Run)]
        config = ExperimentConfig.from_toml(run.config)
        assert (config.data.kind, config.teacher.kind) == ("two_moons", "glow1d")

    do(scenario())


def test_a_change_before_the_answer_cancels_the_start(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        client = window.studio.clients[-1]  # type: ignore[attr-defined]
        client.slow = (Describe,)
        QTest.keyClicks(line(window, "training.student_steps"), "1")
        press(window)
        QTest.keyClicks(line(window, "training.student_steps"), "2")
        client.slow = ()
        client.release()
        window.studio.experiment.describe()
        await client.settled()
        assert window.studio.experiment.is_checked
        assert not count(script, Run)

    do(scenario())
