"""Learn in the window: states as files and text, the way to and from Design, drops, keys and the presenter view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QFileDialog, QPushButton, QSlider, QWidget

from nfkd.config import ExperimentConfig
from nfkd.config.datasets import parse_data_toml
from nfkd.config.lab import LabConfig
from nfkd.lab.own_points import read_points
from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.lab import LabModel
from nfkd_gui.widgets.error_dialog import ErrorDialog
from nfkd_gui.window.main_window import MainWindow
from tests.gui.scripted_engine import ScriptRefusal
from tests.gui.window.steps import Do, child, click, settled
from tests.gui.window.test_drops import drop, mime_of


@pytest.fixture
def window(window: MainWindow, script: Any, qtbot: Any) -> MainWindow:
    """The window in Learn; the script reads points of files."""
    script._readlabpoints = lambda request: read_points(parse_data_toml(request.data))
    window.open_workspace("learn")
    with qtbot.waitActive(window):
        window.activateWindow()
    return window


@pytest.fixture
def lab(window: MainWindow) -> LabModel:
    """The lab of the window, in a state of its own."""
    window.learn.lab.set_values({"data.kind": "rings", "training.student_examples": 55, "lab.arrows": True})
    return window.learn.lab


@pytest.fixture
def errors(window: MainWindow) -> Iterator[Callable[[], list[str]]]:
    """Return and close the errors that are shown."""

    def titles() -> list[str]:
        dialogs = [dialog for dialog in window.findChildren(ErrorDialog) if dialog.isVisible()]
        found = [dialog.windowTitle() for dialog in dialogs]
        for dialog in dialogs:
            dialog.reject()
        return found

    yield titles
    assert titles() == []


def choose(window: MainWindow, action: Any, path: Path) -> None:
    """Choose a file in the dialog that an action opens."""
    action.trigger()
    [dialog] = [each for each in window.findChildren(QFileDialog) if each.isVisible()]
    dialog.fileSelected.emit(str(path))
    dialog.close()


# --- files and text ---------------------------------------------------------------------------------------------------


def test_a_state_that_was_saved_is_opened(window: MainWindow, lab: LabModel, tmp_path: Path) -> None:
    file, state = tmp_path / "one.lab.toml", lab.state
    choose(window, window.actions_.lab_save, file)
    assert LabConfig.open(file) == state
    lab.open_state(LabConfig.first())
    window.open_workspace("design")
    choose(window, window.actions_.lab_open, file)
    assert (lab.state, window.workspace) == (state, "learn")


@pytest.mark.parametrize("text", ["data = [", "", ExperimentConfig.load("digits").to_toml()])
def test_a_wrong_file_is_explained_and_changes_nothing(
    window: MainWindow, lab: LabModel, tmp_path: Path, errors: Any, text: str
) -> None:
    file, state = tmp_path / "wrong.toml", lab.state
    file.write_text(text)
    choose(window, window.actions_.lab_open, file)
    assert errors() == ["wrong.toml cannot be opened"]
    assert lab.state == state


def test_a_state_that_cannot_be_saved_is_explained(window: MainWindow, tmp_path: Path, errors: Any) -> None:
    choose(window, window.actions_.lab_save, tmp_path / "no folder" / "one.toml")
    assert errors() == ["The state was not saved"]


def test_a_state_is_copied_and_pasted(window: MainWindow, lab: LabModel, errors: Any) -> None:
    state = lab.state
    window.actions_.lab_copy.trigger()
    text = QGuiApplication.clipboard().text()
    assert text.startswith("nfkd-lab:")
    assert "\n" not in text
    lab.open_state(LabConfig.first())
    QGuiApplication.clipboard().setText(f"  {text}\n")
    window.actions_.lab_paste.trigger()
    assert lab.state == state
    for wrong in ("", "nfkd-lab:xyz", text[:-8]):
        QGuiApplication.clipboard().setText(wrong)
        window.actions_.lab_paste.trigger()
        assert errors() == ["The copied text cannot be opened"]
        assert lab.state == state


# --- Design -----------------------------------------------------------------------------------------------------------


def test_the_experiment_of_the_lab_is_opened_in_design_and_shown_again(window: MainWindow, lab: LabModel) -> None:
    messages: list[str] = []
    window.studio.message.connect(messages.append)
    window.actions_.lab_design.trigger()
    assert window.workspace == "design"
    assert window.studio.experiment.config == lab.state.experiment()
    assert messages == []
    window.studio.experiment.dirty = False
    lab.open_state(LabConfig.first())
    window.actions_.lab_show.trigger()
    assert window.workspace == "learn"
    assert (lab.state.data.kind, lab.state.training.student_examples) == ("rings", 55)


@pytest.mark.parametrize("change", ["lab.choice", "lab.repeat"])
def test_design_says_what_an_experiment_has_not(window: MainWindow, lab: LabModel, change: str) -> None:
    messages: list[str] = []
    window.studio.message.connect(messages.append)
    lab.set_values({change: 2})
    window.actions_.lab_design.trigger()
    assert window.workspace == "design"
    assert messages == ["The experiment has neither the new points nor the new seed of the lab."]


def test_what_cannot_go_to_design_or_to_the_lab_is_explained(window: MainWindow, lab: LabModel, errors: Any) -> None:
    state = lab.state
    window.actions_.lab_show.trigger()  # digits
    assert errors() == ["The experiment cannot be shown in the lab"]
    assert lab.state == state
    before = window.studio.experiment.config
    lab.set_values({"lab.points": np.random.default_rng(0).normal(size=(120, 2)).tolist()})
    window.actions_.lab_design.trigger()
    assert errors() == ["The lab's data is not a data set"]
    assert (window.workspace, window.studio.experiment.config) == ("learn", before)


# --- drops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "h5"])
def test_a_table_that_is_dropped_in_learn_gives_the_points_of_the_lab(
    window: MainWindow, lab: LabModel, tmp_path: Path, do: Do, suffix: str
) -> None:
    values, file = np.random.default_rng(0).normal(size=(150, 2)), tmp_path / f"own.{suffix}"
    if suffix == "csv":
        np.savetxt(file, values, delimiter=",", header="a,b", comments="")
    else:
        with h5py.File(file, "w") as stored:
            stored["rows"] = values
    window.learn.view.show_parts(["student"])

    async def scenario() -> None:
        drop(window, mime_of(file), window.learn.view.planes)
        while not lab.state.lab.points:
            await settled(window.studio)
            await asyncio.sleep(0)

    do(scenario())
    assert len(lab.state.lab.points) == 150
    assert window.workspace == "learn"


def test_a_wrong_file_that_is_dropped_in_learn_is_explained(
    window: MainWindow, lab: LabModel, script: Any, tmp_path: Path, do: Do, errors: Any
) -> None:
    table, text, state = tmp_path / "few.csv", tmp_path / "notes.pdf", lab.state
    table.write_text("a,b\n1,2\n")
    text.write_text("words")
    window.learn.view.show_parts(["student"])
    drop(window, mime_of(text), window.learn.view.planes)
    assert errors() == ["This cannot be dropped"]

    def refuse(_request: Any) -> Any:
        raise ScriptRefusal(ErrorInfo(title="Refused", cause="data.path: has 1 row"))

    script._readlabpoints = refuse

    async def scenario() -> None:
        drop(window, mime_of(table), window.learn.view.planes)
        await settled(window.studio)

    do(scenario())
    message = child(window, QWidget, "lab.message")
    assert message.isVisible()
    assert message.text() == "Has 1 row"
    assert lab.state == state


# --- the way to Learn, and its keys -----------------------------------------------------------------------------------


def test_learn_is_opened_from_the_start_page_and_by_a_key(window: MainWindow) -> None:
    window.open_workspace("")
    click(window, QPushButton, "start.learn")
    assert window.workspace == "learn"
    window.open_workspace("design")
    QTest.keyClick(window, Qt.Key.Key_4, Qt.KeyboardModifier.ControlModifier)
    assert window.workspace == "learn"
    assert window.learn.view.hasFocus(), "Space plays"


def test_the_page_keys_turn_pages_after_a_click_on_the_lab(window: MainWindow) -> None:
    lesson = window.learn.lesson
    slider = child(window, QSlider, "lab.position")
    slider.setFocus()
    QTest.keyClick(slider, Qt.Key.Key_PageUp)
    moved = slider.value()
    assert moved > 0, "without a lesson the slider has the keys"
    lesson.open_lesson(lesson.lessons[0].name, 0)
    for name in ("lab.position", "lab.play", "lab.page.probe"):
        widget = child(window, QWidget, name)
        widget.setFocus()
        QTest.keyClick(widget, Qt.Key.Key_PageDown)
        assert lesson.index == 1, name
        QTest.keyClick(widget, Qt.Key.Key_PageUp)
        assert lesson.index == 0, name
    lesson.setFocus()
    QTest.keyClick(lesson, Qt.Key.Key_PageDown)
    assert lesson.index == 1


def test_the_presenter_view_and_its_notes(window: MainWindow, qtbot: Any) -> None:
    lesson = window.learn.lesson
    name, index = next(
        (lesson.name, index) for lesson in lesson.lessons for index, page in enumerate(lesson.pages) if page.notes
    )
    lesson.open_lesson(name, index)
    notes_button = child(window, QAbstractButton, "learn.notes")
    assert not notes_button.isVisible()
    width = window.learn.docks["lesson"].width()

    def notes() -> bool:
        found = lesson.findChild(QWidget, "lesson.notes")
        return found is not None and not found.isHidden()

    window.actions_.presentation.trigger()
    assert window.isFullScreen()
    assert window.statusBar().isHidden()
    assert not window.learn.view.settings.isVisible()
    qtbot.waitUntil(lambda: window.learn.docks["lesson"].width() > width)
    assert not notes()
    QTest.keyClick(window.learn.view, Qt.Key.Key_N)
    assert notes()
    assert notes_button.isChecked()
    lesson.open_lesson(name, index)  # the page is made again
    assert notes()
    click(window, QAbstractButton, "learn.notes")
    assert not notes()
    QTest.keyClick(window, Qt.Key.Key_Escape)
    assert not window.isFullScreen()
    assert not window.statusBar().isHidden()
    assert not notes_button.isVisible()
    assert window.workspace == "learn"
    qtbot.waitUntil(lambda: window.learn.docks["lesson"].width() <= width + 4)  # its border
