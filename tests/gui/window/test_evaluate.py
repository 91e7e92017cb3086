"""Evaluate: the groups of metrics, progress, cancellation, and what is said at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QProgressBar, QPushButton
from pytestqt.qtbot import QtBot

from nfkd.protocol.comparing import METRIC_GROUPS, CancelEvaluation, EvaluateRuns, RunsEvaluated
from nfkd.protocol.events import InspectionProgress
from nfkd_gui.panels.runs_evaluate import EvaluateDialog
from nfkd_gui.widgets.file_target import set_machine
from nfkd_gui.widgets.labels import FittedLabel
from nfkd_gui.window.main_window import MainWindow
from tests.gui.scripted_engine import row_of
from tests.gui.window.steps import Do, child, click, settled, text


@pytest.fixture
def dialog(window: MainWindow) -> EvaluateDialog:
    """The dialog for two finished runs and one in training."""
    rows = {
        name: row_of(name, "running" if name == "/runs/c" else "finished") for name in ("/runs/a", "/runs/b", "/runs/c")
    }
    dialog = EvaluateDialog(window.studio, rows, window)
    dialog.open()
    return dialog


def hold(window: MainWindow) -> Callable[[], None]:
    """Let the engine answer evaluations only when the returned function is called."""
    client: Any = window.studio.clients[-1]  # type: ignore[attr-defined]
    client.slow = (EvaluateRuns,)
    return client.release


def test_runs_that_have_not_finished_are_left_out(
    dialog: EvaluateDialog, window: MainWindow, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        assert text(dialog, "evaluate.result") == "1 run has not finished and will be left out."
        assert child(dialog, QPushButton, "evaluate.start").text() == "Evaluate 2 runs"
        child(dialog, QCheckBox, "evaluate.cost").setChecked(False)
        click(dialog, QPushButton, "evaluate.start")
        await settled(window.studio)
        [request] = [request for request in script.asked if isinstance(request, EvaluateRuns)]
        assert request.runs == ["/runs/a", "/runs/b"]
        assert request.groups == [name for name in METRIC_GROUPS if name not in {"cost", "fid"}]
        assert request.inception == ""
        lines = text(dialog, "evaluate.result").splitlines()
        assert lines == ["1 of 2 runs evaluated.", "b: Its weights are damaged", "Fd was left out: no labels."]

    do(scenario())


def test_runs_that_fail_for_the_same_reason_share_a_line(
    window: MainWindow, script: Any, do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = {f"/runs/{name}": "Its weights are damaged" for name in "abcde"} | {"/runs/f": "It has no test data"}
    usual = script.answer

    def answer(request: Any) -> Any:
        return RunsEvaluated(notes=[], failed=why) if isinstance(request, EvaluateRuns) else usual(request)

    monkeypatch.setattr(script, "answer", answer)
    dialog = EvaluateDialog(window.studio, {run: row_of(run, "finished") for run in why}, window)

    async def scenario() -> None:
        dialog.open()
        click(dialog, QPushButton, "evaluate.start")
        await settled(window.studio)
        assert text(dialog, "evaluate.result").splitlines() == [
            "0 of 6 runs evaluated.",
            "a, b, c and 2 more: Its weights are damaged",
            "f: It has no test data",
        ]
        dialog.close()

    do(scenario())


def test_a_path_on_another_machine_is_typed(dialog: EvaluateDialog, window: MainWindow) -> None:
    browse, file = (
        child(dialog, QPushButton, "evaluate.inception.browse"),
        child(dialog, QLineEdit, "evaluate.inception"),
    )
    assert browse.isVisible()
    dialog.close()
    set_machine(window, "gpu box")
    dialog = EvaluateDialog(window.studio, {"/runs/a": row_of("/runs/a", "finished")}, window)
    dialog.open()
    browse, file = (
        child(dialog, QPushButton, "evaluate.inception.browse"),
        child(dialog, QLineEdit, "evaluate.inception"),
    )
    assert not browse.isVisible()
    assert "gpu box" in file.placeholderText()
    dialog.close()
    set_machine(window, "")


def test_the_texts_of_metrics_are_whole(dialog: EvaluateDialog, qtbot: QtBot) -> None:
    labels = {label.text(): label for label in dialog.findChildren(FittedLabel)}
    for about in METRIC_GROUPS.values():
        assert labels[about].height() == labels[about].heightForWidth(labels[about].width())
        assert labels[about].geometry().right() <= dialog.rect().right()
    qtbot.waitUntil(lambda: dialog.height() <= dialog.minimumSizeHint().height())  # no empty room


def test_without_a_group_nothing_can_start(dialog: EvaluateDialog) -> None:
    for name in METRIC_GROUPS:
        child(dialog, QCheckBox, f"evaluate.{name}").setChecked(False)
    assert not child(dialog, QPushButton, "evaluate.start").isEnabled()


def test_fid_needs_a_file_that_is_remembered(
    dialog: EvaluateDialog, window: MainWindow, script: Any, do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        file, start = child(dialog, QLineEdit, "evaluate.inception"), child(dialog, QPushButton, "evaluate.start")
        assert not file.isEnabled()
        child(dialog, QCheckBox, "evaluate.fid").setChecked(True)
        assert file.isEnabled()
        assert not start.isEnabled()
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("/home/me/inception-2015-12-05.pt", ""))
        click(dialog, QPushButton, "evaluate.inception.browse")
        assert start.isEnabled()
        click(dialog, QPushButton, "evaluate.start")
        await settled(window.studio)
        [request] = [request for request in script.asked if isinstance(request, EvaluateRuns)]
        assert request.groups == list(METRIC_GROUPS)
        assert request.inception == "/home/me/inception-2015-12-05.pt"
        again = EvaluateDialog(window.studio, {"/runs/a": row_of("/runs/a", "finished")}, window)
        again.open()
        assert child(again, QLineEdit, "evaluate.inception").text() == "/home/me/inception-2015-12-05.pt"
        assert not child(again, QCheckBox, "evaluate.fid").isChecked()
        again.close()

    do(scenario())


def test_progress_is_shown_and_cancel_ends_the_evaluation(
    dialog: EvaluateDialog, window: MainWindow, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        release = hold(window)
        click(dialog, QPushButton, "evaluate.start")
        await settled(window.studio)
        ticket = dialog._ticket
        script.emit(InspectionProgress(ticket=ticket, share=0.25))
        script.emit(InspectionProgress(ticket="another", share=0.75))
        bar = child(dialog, QProgressBar, "evaluate.progress")
        assert bar.isVisible()
        assert bar.value() / bar.maximum() == 0.25
        click(dialog, QPushButton, "evaluate.close")  # says Cancel
        await settled(window.studio)
        assert [request.ticket for request in script.asked if isinstance(request, CancelEvaluation)] == [ticket]
        assert dialog.isVisible()
        release()
        assert not bar.isVisible()
        click(dialog, QPushButton, "evaluate.close")
        assert not dialog.isVisible()

    do(scenario())
