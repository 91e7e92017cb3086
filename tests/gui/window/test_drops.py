"""Files dropped into the window: by real drag events at the place of the pointer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QDialog,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from nfkd.config import ExperimentConfig
from nfkd.config.problems import ConfigProblem
from nfkd.protocol.data import DataPreview
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.window.main_window import MainWindow
from nfkd_gui.window.preferences_dialog import PreferencesDialog

Do = Callable[[Any], Any]
BUTTONS, KEYS = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


def mime_of(*paths: Path) -> QMimeData:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return mime


def drag(window: QWidget, mime: QMimeData, place: QWidget | None = None) -> QPoint:
    """Drag over the window, to the middle of a widget."""
    target = place or window
    point = target.mapTo(window, target.rect().center()) if target is not window else window.rect().center()
    enter = QDragEnterEvent(point, Qt.DropAction.CopyAction, mime, BUTTONS, KEYS)
    QApplication.sendEvent(window.windowHandle(), enter)
    return point


def drop(window: QWidget, mime: QMimeData, place: QWidget | None = None) -> None:
    point = drag(window, mime, place)
    QApplication.sendEvent(
        window.windowHandle(), QDropEvent(QPointF(point), Qt.DropAction.CopyAction, mime, BUTTONS, KEYS)
    )


async def settled(window: MainWindow) -> None:
    await window.studio.clients[-1].settled()  # type: ignore[attr-defined]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "flowers.csv"
    path.write_text("a,b,c\n" + "1.5,2,3\n" * 40)
    return path


@pytest.fixture
def drops(window: MainWindow) -> list[Any]:
    found: list[Any] = []
    window.drop_target.dropped.connect(found.append)
    return found


def test_a_table_dropped_on_a_panel_becomes_the_data_set_in_one_step(window: MainWindow, table: Path) -> None:
    window.open_workspace("train")
    before = window.studio.experiment.config
    drop(window, mime_of(table), window.train.tiles)
    assert window.workspace == "design"
    assert window.studio.experiment.document["data"]["kind"] == "table"
    assert window.studio.experiment.document["data"]["path"] == str(table)
    window.form.undo_stack.undo()
    assert window.studio.experiment.config == before


def test_the_veil_says_what_a_drop_will_do_and_disappears(window: MainWindow, table: Path, tmp_path: Path) -> None:
    veil = window.drop_target.veil
    drag(window, mime_of(table))
    assert (veil.isVisible(), veil.text) == (True, "Use flowers.csv as the data set")
    QApplication.sendEvent(window.windowHandle(), QDragLeaveEvent())
    assert not veil.isVisible()
    drag(window, mime_of(table, table))
    assert "One file or folder at a time" in veil.text
    QApplication.sendEvent(window.windowHandle(), QDragLeaveEvent())
    drag(window, mime_of(tmp_path / "gone.csv"))
    assert "of this machine" in veil.text


def test_no_text_field_of_the_window_takes_a_file_as_text(window: MainWindow, table: Path, drops: list[Any]) -> None:
    for page in ("design", "train"):
        window.open_workspace(page)
        window.form.show_section(None)
        fields = [
            each
            for kind in (QLineEdit, QPlainTextEdit, QTextEdit, QAbstractSpinBox)
            for each in window.findChildren(kind)
            if not isinstance(each.parentWidget(), PathBox)
        ]
        assert fields
        texts = [_text(each) for each in fields]
        window.drop_target.dropped.disconnect(window.file_drops.take)
        for field in fields:
            drop(window, mime_of(table), field)
        assert [_text(each) for each in fields] == texts
        assert len(drops) == len(fields)
        drops.clear()
        window.drop_target.dropped.connect(window.file_drops.take)


def _text(field: Any) -> str:
    return field.toPlainText() if hasattr(field, "toPlainText") else field.text()


def test_a_path_field_takes_a_dropped_file_as_its_whole_value(
    window: MainWindow, table: Path, drops: list[Any], tmp_path: Path
) -> None:
    window.use_data({"kind": "table", "path": "/old/a.csv"})
    [box] = [each for each in window.form.findChildren(PathBox, "data.path") if each.isVisible()]
    drop(window, mime_of(table), box.line)
    assert box.value() == str(table)
    assert window.studio.experiment.document["data"]["path"] == str(table)
    assert not drops
    (tmp_path / "folder").mkdir()
    drop(window, mime_of(tmp_path / "folder"), box.line)  # a folder is no value of this field
    assert box.value() == str(table)
    assert [each.kind for each in drops] == ["nothing"]


def test_the_folder_of_the_preferences_takes_a_folder_as_its_whole_value(window: MainWindow, tmp_path: Path) -> None:
    dialog = PreferencesDialog(window.studio, window)
    dialog.open()
    line = dialog.findChild(QLineEdit, "preferences.folder")
    assert isinstance(line, QLineEdit)
    drop(dialog, mime_of(tmp_path), line)
    assert line.text() == str(tmp_path)
    dialog.reject()


def test_an_experiment_is_opened_after_a_question_about_unsaved_changes(window: MainWindow, tmp_path: Path) -> None:
    file = tmp_path / "moons.toml"
    ExperimentConfig.load("two_moons").save(file)
    window.studio.experiment.edit(window.studio.experiment.document | {"description": "mine"})
    drop(window, mime_of(file))
    question = window.findChild(QDialog, "unsaved")
    assert isinstance(question, QDialog)
    assert window.studio.experiment.name == "digits"
    question.reject()
    window.studio.experiment.dirty = False
    drop(window, mime_of(file))
    assert window.studio.experiment.path == file


@pytest.mark.parametrize("part", [".", "run.h5"])
def test_a_run_is_opened_in_train(window: MainWindow, script: Any, do: Do, tmp_path: Path, part: str) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    for name in ("state.json", "run.h5"):
        (run / name).write_text("{}")

    async def scenario() -> None:
        script.begin(str(run), ExperimentConfig.load("digits").to_toml())
        script.finish(str(run))
        drop(window, mime_of(run / part))
        await settled(window)
        assert window.studio.view is not None
        assert (window.studio.view.row.run, window.workspace) == (str(run), "train")

    do(scenario())


def test_folders_and_arrays_of_images_become_the_data_set(window: MainWindow, tmp_path: Path) -> None:
    folder = tmp_path / "pictures" / "cats"
    folder.mkdir(parents=True)
    Image.new("L", (16, 16)).save(folder / "1.png")
    drop(window, mime_of(folder.parent))
    data = window.studio.experiment.document["data"]
    assert (data["kind"], data["path"]) == ("image_folder", str(folder.parent))
    np.save(tmp_path / "stack.npy", np.zeros((30, 8, 8), np.uint8))
    drop(window, mime_of(tmp_path / "stack.npy"))
    assert window.studio.experiment.document["data"]["kind"] == "image_stack"


def test_a_huge_folder_is_looked_at_once_in_a_drag_and_not_as_a_whole(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drops: list[Any]
) -> None:
    for number in range(30):
        folder = tmp_path / "huge" / f"{number}" / "inside"
        folder.mkdir(parents=True)
        for name in range(50):
            (folder / f"{name}.txt").touch()
    read: list[str] = []
    scan = os.scandir

    class Counted:
        def __init__(self, folder: str) -> None:
            self._entries = scan(folder)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            self._entries.close()

        def __iter__(self) -> Counted:
            return self

        def __next__(self) -> Any:
            entry = next(self._entries)
            read.append(entry.name)
            return entry

    window.drop_target.dropped.disconnect(window.file_drops.take)
    monkeypatch.setattr(os, "scandir", Counted)
    mime = mime_of(tmp_path / "huge")
    point = drag(window, mime)
    searched = len(read)
    assert 30 <= searched <= 30 + 8 + 8 * 50
    move = QDragMoveEvent(point, Qt.DropAction.CopyAction, mime, BUTTONS, KEYS)
    QApplication.sendEvent(window.windowHandle(), move)
    QApplication.sendEvent(
        window.windowHandle(), QDropEvent(QPointF(point), Qt.DropAction.CopyAction, mime, BUTTONS, KEYS)
    )
    monkeypatch.undo()
    assert len(read) == searched
    assert [each.kind for each in drops] == ["nothing"]
    window.drop_target.dropped.connect(window.file_drops.take)


@pytest.mark.parametrize("images", [True, False])
def test_the_engine_decides_what_an_hdf5_file_holds(
    window: MainWindow, script: Any, do: Do, tmp_path: Path, images: bool
) -> None:
    file = tmp_path / "data.h5"
    file.write_bytes(b"x")
    if not images:
        problem = ConfigProblem("data.path", "its array has the shape 40×3")
        script.previews["image_stack"] = DataPreview(problems=[problem])

    async def scenario() -> None:
        drop(window, mime_of(file))
        await settled(window)
        assert window.studio.experiment.document["data"]["kind"] == ("image_stack" if images else "table")

    do(scenario())


def weights_file(path: Path, metadata: dict[str, str]) -> Path:
    """Write a safetensors file without tensors, by hand."""
    header = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def test_weights_become_the_teacher_with_their_flow(window: MainWindow, tmp_path: Path) -> None:
    flow = ExperimentConfig.load("mnist").teacher
    file = weights_file(tmp_path / "teacher.safetensors", {"flow": flow.model_dump_json()})
    drop(window, mime_of(file))
    config = window.studio.experiment.config
    assert config is not None
    assert (config.teacher, config.training.teacher_weights) == (flow, str(file))
    [box] = window.form.findChildren(PathBox, "training.teacher_weights")
    assert box.line.hasFocus()


def test_what_cannot_be_used_is_named_with_what_can(window: MainWindow, tmp_path: Path) -> None:
    before = window.studio.experiment.document
    (tmp_path / "notes.docx").write_text("x")
    other = weights_file(tmp_path / "other.safetensors", {"format": "pt"})
    for path, words in ((tmp_path / "notes.docx", "cannot be used"), (other, "no weights of a flow of NFKD")):
        drop(window, mime_of(path))
        [dialog] = [each for each in window.findChildren(QDialog) if each.isVisible()]
        text = " ".join(label.text() for label in dialog.findChildren(QLabel))
        assert f"{path.name} " in text
        assert words in text
        assert "a folder of images" in text
        dialog.accept()
        QApplication.processEvents()
    assert window.studio.experiment.document == before


def test_every_kind_of_table_becomes_the_data_set_and_shows_its_preview(window: MainWindow, tmp_path: Path) -> None:
    kinds = "t.csv", "t.tsv", "T.TXT", "t.dat", "t.data", "t.csv.gz", "t.zip", "t.feather", "t.xlsx", "t.parquet"
    start = window.studio.experiment.document
    for name in kinds:
        file = tmp_path / name
        file.write_bytes(b"x")
        window.studio.experiment.edit(start)
        window.open_workspace("train")
        assert (window.workspace, window.studio.experiment.document["data"]["kind"]) == ("train", "digits")
        drop(window, mime_of(file))
        data = window.studio.experiment.document["data"]
        assert (data["kind"], data["path"]) == ("table", str(file))
        assert (window.workspace, window.design.properties.head.title.text()) == ("design", "Data")


def test_the_engine_decides_what_an_archive_of_arrays_holds(
    window: MainWindow, script: Any, do: Do, tmp_path: Path
) -> None:
    file = tmp_path / "data.npz"
    np.savez(file, np.zeros((40, 3)))
    script.previews["image_stack"] = DataPreview(problems=[ConfigProblem("data.path", "has the shape 40×3")])

    async def scenario() -> None:
        drop(window, mime_of(file))
        await settled(window)

    do(scenario())
    assert window.studio.experiment.document["data"]["kind"] == "table"


@pytest.mark.parametrize(
    ("name", "why"),
    [("old.xls", "save it as .xlsx"), ("frame.pkl", "never opened"), ("empty.csv", "is empty"), ("a.exe", "cannot")],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    window: MainWindow, drops: list[Any], tmp_path: Path, name: str, why: str
) -> None:
    window.drop_target.dropped.disconnect(window.file_drops.take)
    file = tmp_path / name
    file.write_bytes(b"" if name == "empty.csv" else b"x")
    drop(window, mime_of(file))
    window.drop_target.dropped.connect(window.file_drops.take)
    assert [(each.kind, why in each.text) for each in drops] == [("nothing", True)]
