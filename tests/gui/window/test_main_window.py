"""The window: what a user can do with mouse and keyboard, with a scripted engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import ErrorInfo, LogLine
from nfkd.protocol.requests import Shutdown
from nfkd_gui.model.preferences import load_preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.window.main_window import MainWindow
from tests.gui.window.conftest import may_run
from tests.gui.window.steps import DIGITS, Do, child, click, settled, text


async def is_ready(studio: Studio) -> None:
    """Wait until the engine is connected."""
    while not studio.ready:
        changed = asyncio.Event()
        studio.engine_changed.connect(changed.set, Qt.ConnectionType.SingleShotConnection)
        await changed.wait()


async def is_active(window: MainWindow) -> None:
    """Activate the window, which no window manager does here, and wait for it."""
    while not window.isActiveWindow():
        changed = asyncio.Event()
        window.windowHandle().activeChanged.connect(changed.set, Qt.ConnectionType.SingleShotConnection)
        window.activateWindow()
        await changed.wait()


def test_run_pause_resume_and_stop_with_the_mouse(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        run = "/runs/digits"
        click(window, QPushButton, "header.primary")
        await settled(window.studio)
        script.train(run, "baseline", 2, search=True)
        await settled(window.studio)
        assert window.workspace == "train"
        assert text(window, "header.status") == "Search for the weight decay · step 2 of 100"
        script.train(run, "teacher", 42)
        await settled(window.studio)
        assert text(window, "header.name") == "digits"
        assert text(window, "header.status") == "Teacher · step 42 of 100"
        primary = child(window, QPushButton, "header.primary")
        assert primary.text() == "Pause"
        click(window, QPushButton, "header.primary")
        await settled(window.studio)
        assert text(window, "header.left") == "paused"
        assert primary.text() == "Resume"
        click(window, QPushButton, "header.primary")
        await settled(window.studio)
        assert primary.text() == "Pause"
        click(window, QPushButton, "header.second")
        await settled(window.studio)
        box = child(window, QDialog, "stop")
        assert child(box, QPushButton, "stop.stage").text() == "End the teacher and go on"
        click(box, QPushButton, "stop.stage")
        await settled(window.studio)
        assert window.studio.view is not None
        assert window.studio.view.current == (1, "student")
        await is_active(window)
        QTest.keyClick(window, Qt.Key.Key_F5, Qt.KeyboardModifier.ShiftModifier)
        await settled(window.studio)
        click(child(window, QDialog, "stop"), QPushButton, "stop.run")
        await settled(window.studio)
        assert text(window, "header.status") == "Stopped"
        assert primary.text() == "Run"
        assert "Inconclusive" in text(window, "inspector.verdict")
        assert text(window, "inspector.others").startswith(
            "Other measures, without a verdict:\nC2ST: the student loses 0.0100"
        )
        assert text(window, "inspector.student.test") == "3.000"

    do(scenario())


def test_the_inspector_has_no_column_for_an_untrained_baseline(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.roles = ("teacher", "student")
        click(window, QPushButton, "header.primary")
        await settled(window.studio)
        script.finish("/runs/digits")
        await settled(window.studio)
        assert child(window, QLabel, "inspector.student.test").isVisible()
        assert not child(window, QLabel, "inspector.baseline.test").isVisible()

    do(scenario())


def test_the_inspector_shows_measures_of_samples_beside_their_floors(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        click(window, QPushButton, "header.primary")
        await settled(window.studio)
        script.finish("/runs/digits")
        await settled(window.studio)
        assert text(window, "inspector.student.sw") == "0.0300"
        assert text(window, "inspector.floor.sw") == "0.0212"
        assert text(window, "inspector.floor.test") == ""
        assert (text(window, "inspector.student.to teacher"), text(window, "inspector.teacher.to teacher")) == (
            "0.125",
            "–",
        )
        assert child(window, QLabel, "inspector.floor.sw").isVisible()

    do(scenario())


def test_an_assistant_is_shown_in_the_bar_the_stop_dialog_and_the_inspector(
    window: MainWindow, script: Any, do: Do
) -> None:
    async def scenario() -> None:
        run = "/runs/digits"
        script.roles = ("teacher", "assistant-1", "student", "baseline")
        click(window, QPushButton, "header.primary")
        await settled(window.studio)
        script.train(run, "assistant-1", 42)
        await settled(window.studio)
        assert text(window, "header.status") == "Assistant 1 · step 42 of 100"
        click(window, QPushButton, "header.second")
        await settled(window.studio)
        box = child(window, QDialog, "stop")
        assert child(box, QPushButton, "stop.stage").text() == "End assistant 1 and go on"
        click(box, QPushButton, "stop.run")
        await settled(window.studio)
        script.finish(run)
        await settled(window.studio)
        assert text(window, "inspector.assistant-1.test") == "2.700"
        assert child(window, QLabel, "inspector.assistant-1.test").isVisible()
        assert not child(window, QLabel, "inspector.assistant-2.test").isVisible()

    do(scenario())


def test_run_is_disabled_while_the_experiment_is_not_valid(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        run = child(window, QAction, "action.run")
        assert run.isEnabled()
        document = window.form.document()
        document["student"]["hidden"] = 0
        window.studio.experiment.replace(document)
        assert not run.isEnabled()
        document["student"]["hidden"] = 8
        window.studio.experiment.replace(document)
        assert not run.isEnabled()  # not before the engine has described exactly this
        await may_run(window.studio)
        assert run.isEnabled()

    do(scenario())


def test_a_crash_shows_its_cause_and_both_buttons_restart_the_engine(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/digits", DIGITS)
        script.train("/runs/digits", "teacher", 42)
        error = ErrorInfo(title="The engine has stopped", cause="Killed: out of memory", traceback="one\ntwo")
        window.studio.clients[0].lose(error)  # type: ignore[attr-defined]
        await settled(window.studio)
        dialog = child(window, QDialog, "error")
        assert dialog.isVisible()
        assert text(dialog, "error.cause") == "Killed: out of memory"
        assert child(window, QPushButton, "engine.restart").isVisible()
        assert not child(window, QAction, "action.run").isEnabled()
        assert text(window, "header.status") == "The engine is lost"
        click(dialog, QPushButton, "error.remedy")
        await is_ready(window.studio)
        await settled(window.studio)
        assert window.findChild(QDialog, "error") is None
        assert not child(window, QPushButton, "engine.restart").isVisible()
        assert "this machine" in text(window, "engine.message")
        assert text(window, "header.left").endswith("left")
        window.studio.clients[1].lose(error)  # type: ignore[attr-defined]
        await settled(window.studio)
        click(window, QPushButton, "engine.restart")
        await is_ready(window.studio)
        await settled(window.studio)
        assert window.findChild(QDialog, "error") is None

    do(scenario())


def test_choose_a_seed_in_the_bar(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/three", DIGITS, seeds=3)
        window.studio.open_run("/runs/three")
        window.open_workspace("train")
        await settled(window.studio)
        script.begin_seed("/runs/three", 2)
        await settled(window.studio)
        box: QComboBox = child(window, QComboBox, "header.seed")
        assert box.isVisible()
        assert [box.itemText(index) for index in range(box.count())] == ["Follow training", "Seed 1", "Seed 2"]
        box.setCurrentIndex(1)
        box.activated.emit(1)
        assert window.studio.seed == 1

    do(scenario())


def test_log_lines_are_listed(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.emit(LogLine(run="", level="info", text="the engine is up", time=1.0))
        script.emit(LogLine(run="/runs/a", level="error", text="a <loss> is NaN", time=2.0))
        await settled(window.studio)
        window.open_workspace("train")  # later than the first lines
        script.emit(LogLine(run="/runs/a", level="info", text="the next stage", time=3.0))
        await settled(window.studio)
        log = child(window, QWidget, "log.text").toPlainText().replace("\u00a0", " ")
        assert "engine  the engine is up" in log
        assert log.count("the next stage") == 1
        assert "a <loss> is NaN" in log

    do(scenario())


def test_layout_and_recent_files_are_restored(
    window: MainWindow, studio: Studio, tmp_path: Path, qtbot: QtBot, do: Do
) -> None:
    path = tmp_path / "mine.toml"
    ExperimentConfig.load("digits").save(path)
    window.files.open(path)
    window.open_workspace("train")
    window.train.docks["log"].show()
    window.train.docks["inspector"].hide()
    window.close()
    saved = load_preferences(tmp_path / "studio.json")
    assert saved.recent == [str(path)]
    studio.preferences = saved
    again = MainWindow(studio)
    qtbot.addWidget(again)
    again.show()
    qtbot.waitExposed(again)
    again.open_workspace("train")
    assert again.train.docks["log"].isVisible()
    assert not again.train.docks["inspector"].isVisible()
    again.actions_.reset.trigger()
    assert not again.train.docks["log"].isVisible()
    assert again.train.docks["inspector"].isVisible()
    again.close()


def test_a_damaged_file_is_reported_in_a_dialog_that_return_closes(window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "cut.toml"
    path.write_bytes(b'name = "cut"\n[data]\nkind\0\0\0')
    before = window.form.document()
    window.files.open(path)
    dialog_text = " ".join(label.text() for label in child(window, QDialog, "error").findChildren(QLabel))
    assert f"{path} cannot be opened" in dialog_text
    assert "Not a TOML file, or damaged: it contains zero bytes from line 3 on" in dialog_text
    assert window.form.document() == before
    child(window, QDialog, "error").accept()
    window.show_error(ErrorInfo(title="It is bad", cause="Something", traceback="one\ntwo"))
    dialog = next(dialog for dialog in window.findChildren(QDialog, "error") if dialog.isVisible())
    focus = dialog.focusWidget()
    assert isinstance(focus, QPushButton)
    assert focus.text() == "Close"
    QTest.keyClick(focus, Qt.Key.Key_Return)  # closes the dialog instead of showing its details
    assert not dialog.isVisible()


def test_unsaved_changes_are_not_lost_without_a_question(window: MainWindow, tmp_path: Path, do: Do) -> None:
    document = window.form.document()
    document["name"] = "changed"
    window.studio.experiment.edit(document)
    assert window.isWindowModified()
    window.close()
    assert window.isVisible()
    box: Any = window.findChild(QDialog, "unsaved")
    box.button(box.StandardButton.Cancel).click()
    assert window.isVisible()
    window.studio.experiment.save(tmp_path / "changed.toml")
    assert not window.isWindowModified()
    assert ExperimentConfig.load(tmp_path / "changed.toml").name == "changed"
    window.close()
    assert not window.isVisible()


def test_the_theme_changes_at_once_and_is_saved(window: MainWindow, tmp_path: Path, qapp: QApplication) -> None:
    window.open_workspace("")
    window.open_workspace("design")
    child(window, QAction, "action.theme.dark").trigger()
    assert qapp.palette().window().color().lightness() < 128
    assert load_preferences(tmp_path / "studio.json").theme == "dark"
    qapp.processEvents()
    muted = child(window, QLabel, "estimate.details").palette().windowText().color()
    assert muted.lightness() > 128  # readable on dark
    for button in ("header.workspace.train", "start.open"):
        assert icon_lightness(window, button) > 128
    child(window, QAction, "action.theme.light").trigger()
    assert qapp.palette().window().color().lightness() > 128
    assert icon_lightness(window, "header.workspace.train") < 128


def icon_lightness(window: MainWindow, name: str) -> int:
    """Return the lightness of the most opaque pixel of a button's icon."""
    picture = child(window, QAbstractButton, name).icon().pixmap(16).toImage()
    seen = [picture.pixelColor(x, y) for x in range(picture.width()) for y in range(picture.height())]
    return max(seen, key=lambda colour: colour.alpha()).lightness()


def test_every_button_has_a_name_and_one_without_text_a_tooltip(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/old", ExperimentConfig.load("digits").to_toml())
        script.finish("/runs/old")
        await settled(window.studio)

    do(scenario())
    for name in ("", "design", "train", "compare"):
        window.open_workspace(name)
        assert window.workspace == name
        for button in window.findChildren(QToolButton):
            if button.isVisible() and not button.objectName().startswith("qt_"):
                assert button.accessibleName() or button.text(), button.objectName()
                icon_only = (
                    button.toolButtonStyle() == Qt.ToolButtonStyle.ToolButtonIconOnly and not button.icon().isNull()
                )
                assert button.toolTip() or not icon_only, button.objectName()
    shortcuts = [
        action.shortcut().toString() for action in window.findChildren(QAction) if action.shortcut().toString()
    ]
    window_wide = [keys for keys in shortcuts if keys not in {"Return", "F2", "Del"}]
    assert len(window_wide) == len(set(window_wide))


def test_closing_during_training_says_once_that_it_goes_on(
    window: MainWindow, script: Any, do: Do, tmp_path: Path
) -> None:
    window.studio.prefer(told=[])
    window.close()
    assert not window.isVisible()  # nothing is in training
    assert window.findChild(QDialog, "closing") is None
    window.show()

    async def scenario() -> None:
        script.begin("/runs/digits", DIGITS)
        await settled(window.studio)
        window.close()
        box = child(window, QDialog, "closing")
        assert "goes on" in box.text()
        assert "nfkd engine stop" in box.informativeText()
        click(box, QPushButton, "closing.close")
        await settled(window.studio)
        assert not window.isVisible()
        assert load_preferences(tmp_path / "studio.json").told == ["closing"]
        window.show()
        window.close()
        assert not window.isVisible()

    do(scenario())


def test_the_engine_is_stopped_only_after_a_question(window: MainWindow, script: Any, do: Do) -> None:
    async def ask(answer: str) -> bool:
        window.actions_.stop_engine.trigger()
        await settled(window.studio)
        assert not any(isinstance(request, Shutdown) for request in script.asked)
        [box] = [box for box in window.findChildren(QMessageBox) if box.isVisible()]
        [button] = [button for button in box.buttons() if button.text().replace("&", "") == answer]
        button.click()
        await settled(window.studio)
        return any(isinstance(request, Shutdown) for request in script.asked)

    assert not do(ask("Cancel"))
    assert do(ask("Stop"))
