"""Unsaved changes of a window that ended unexpectedly, in the next window."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialog, QLabel, QPushButton

from nfkd.config import ExperimentConfig
from nfkd_gui.model.studio import Studio
from nfkd_gui.window.main_window import MainWindow


def leave(folder: Path, name: str, when: float) -> Path:
    """Write what a window that crashed leaves."""
    document = ExperimentConfig.load("two_moons").model_dump(mode="json") | {"name": name}
    path = folder / f"unsaved-9-{when:.0f}.json"
    path.write_text(json.dumps({"time": when, "name": name, "path": "", "document": document}))
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    now = time.time()
    return [leave(tmp_path, "newer", now), leave(tmp_path, "older", now - 3 * 86_400)]


@pytest.fixture
def window(studio: Studio, files: list[Path], qtbot: Any) -> Iterator[MainWindow]:
    window = MainWindow(studio)
    window.files.open("digits")
    window.open_workspace("")
    window.show()
    qtbot.waitExposed(window)
    yield window
    studio.experiment.dirty = False
    window.close()
    window.deleteLater()


def click(window: MainWindow, name: str) -> None:
    button = window.findChild(QPushButton, name)
    assert isinstance(button, QPushButton)
    assert button.isVisible()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_what_was_left_is_offered_and_restored(window: MainWindow, files: list[Path]) -> None:
    note = window.recovery.note
    assert note.isVisible()
    assert "“newer”" in note.label.text()
    click(window, "recovery.restore")
    assert (window.studio.experiment.name, window.studio.experiment.dirty) == ("newer", True)
    assert window.workspace == "design"
    assert not files[0].exists()
    status = window.findChild(QLabel, "status.kept")
    assert isinstance(status, QLabel)
    assert status.text() == f"Unsaved changes kept automatically, {time.strftime('%H:%M')}"
    assert "“older”" in note.label.text()
    click(window, "recovery.restore")  # asks about the changes that are restored now
    question = window.findChild(QDialog, "unsaved")
    assert isinstance(question, QDialog)
    question.reject()
    assert window.studio.experiment.name == "newer"
    click(window, "recovery.discard")
    assert not files[1].exists()
    assert not note.isVisible()


def test_a_closed_window_leaves_nothing(window: MainWindow, files: list[Path], tmp_path: Path) -> None:
    for _ in files:
        click(window, "recovery.discard")
    window.studio.experiment.edit(window.studio.experiment.document | {"description": "mine"})
    window.studio.autosave.keep()
    assert len(list(tmp_path.glob("unsaved-*.json"))) == 1
    window.close()
    question = window.findChild(QDialog, "unsaved")
    assert isinstance(question, QDialog)
    discard = [each for each in question.findChildren(QPushButton) if "Discard" in each.text() or "Don" in each.text()]
    QTest.mouseClick(discard[0], Qt.MouseButton.LeftButton)
    assert not window.isVisible()
    window.studio.autosave.close()
    assert not list(tmp_path.glob("unsaved-*"))
