"""Editors of names, paths, points and choices."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QFileDialog, QLabel, QWidget
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd_gui.forms.editors import ChoiceBox
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.names_box import NamesBox, format_names, parse_names
from nfkd_gui.forms.path_box import PathBox
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import apply_theme, role_colour
from nfkd_gui.widgets.drawing_box import Canvas, DrawingBox, format_points, parse_points
from tests.gui.forms.driver import choose, editor, message

NAME = some.text(some.characters(exclude_categories=["C", "Z"]), min_size=1)
NUMBER = some.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def form(ready: Studio, qtbot: QtBot) -> Iterator[ExperimentForm]:
    ready.experiment.open("two_moons")
    form = ExperimentForm(ready.experiment)
    qtbot.addWidget(form)
    form.resize(400, 900)
    form.show()
    qtbot.waitExposed(form)
    yield form
    ready.experiment.stop()


def data(studio: Studio) -> dict[str, Any]:
    return studio.experiment.document["data"]


# --- names ------------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(some.lists(NAME))
def test_parse_names_inverts_format_names(names: list[str]) -> None:
    assert parse_names(format_names(names)) == names


def test_typed_names_become_a_list(form: ExperimentForm, ready: Studio) -> None:
    choose(form, "data.kind", "table")
    box: NamesBox = editor(form, "data.columns")
    QTest.keyClicks(box, 'mass, "charge, e" ,3')
    assert data(ready)["columns"] == ["mass", "charge, e", "3"]
    assert box.text() == 'mass, "charge, e" ,3'
    QTest.keyClicks(box, ", ")
    assert data(ready)["columns"] == ["mass", "charge, e", "3"]
    assert ready.experiment.config is not None
    assert ready.experiment.config.data.columns == ("mass", "charge, e", "3")  # type: ignore[union-attr]


def test_a_list_is_shown_and_a_wrong_item_is_reported_at_the_field(form: ExperimentForm, ready: Studio) -> None:
    document = ExperimentConfig.load("two_moons").replace(data={"kind": "table", "columns": ["a", "b"]})
    ready.experiment.replace(tomllib.loads(document.to_toml()))
    assert editor(form, "data.columns").text() == "a, b"
    raw = form.document()
    raw["data"]["columns"] = ["a", 7]
    ready.experiment.replace(raw)
    assert editor(form, "data.columns").text() == "a, 7"
    assert "No. 2:" in message(form, "data.columns")
    assert "be text" in message(form, "data.columns")
    assert form.document() == raw


# --- paths ------------------------------------------------------------------------------------------------------------


def test_browse_for_a_file(form: ExperimentForm, ready: Studio, tmp_path: Path, qtbot: QtBot) -> None:
    choose(form, "data.kind", "table")
    box: PathBox = editor(form, "data.path")
    assert box.line.accessibleName() == box.accessibleName() == "File"
    assert "File" in box.browse.accessibleName()
    qtbot.mouseClick(box.browse, Qt.MouseButton.LeftButton)
    [dialog] = form.findChildren(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.ExistingFile
    dialog.fileSelected.emit(str(tmp_path / "t.csv"))
    dialog.reject()
    assert data(ready)["path"] == str(tmp_path / "t.csv")
    QTest.keyClicks(box.line, ".gz")
    assert data(ready)["path"] == str(tmp_path / "t.csv.gz")


def test_browse_for_a_folder(form: ExperimentForm, qtbot: QtBot) -> None:
    choose(form, "data.kind", "image_folder")
    box: PathBox = editor(form, "data.path")
    assert box.focusProxy() is box.line
    qtbot.mouseClick(box.browse, Qt.MouseButton.LeftButton)
    [dialog] = form.findChildren(QFileDialog)
    assert dialog.fileMode() == QFileDialog.FileMode.Directory
    dialog.reject()


def test_browse_for_a_run_or_a_file_of_weights(
    form: ExperimentForm, ready: Studio, tmp_path: Path, qtbot: QtBot
) -> None:
    (tmp_path / "runs").mkdir()
    form.browse_runs_in(lambda: str(tmp_path / "runs"))
    box: PathBox = editor(form, "training.teacher_weights")
    kinds = QFileDialog.FileMode
    for down, mode in ((1, kinds.ExistingFile), (0, kinds.Directory)):
        box.browse.setFocus()
        QTest.keyClick(box.browse, Qt.Key.Key_Space)
        assert box.choices is not None
        assert box.choices.isVisible()
        assert "Teacher's weights" in box.choices.accessibleName()
        for _ in range(down):
            QTest.keyClick(box.choices, Qt.Key.Key_Down)
        QTest.keyClick(box.choices, Qt.Key.Key_Return)
        [dialog] = form.findChildren(QFileDialog)
        assert dialog.fileMode() == mode
        assert Path(dialog.directory().absolutePath()) == tmp_path / "runs"
        if mode == kinds.Directory:
            dialog.fileSelected.emit(str(tmp_path / "runs" / "one"))
        dialog.reject()
        qtbot.waitUntil(lambda: not form.findChildren(QFileDialog))
    assert ready.experiment.document["training"]["teacher_weights"] == str(tmp_path / "runs" / "one")


# --- drawings ---------------------------------------------------------------------------------------------------------


def picture(widget: QWidget) -> np.ndarray:
    """Return a widget's pixels, (height, width, 3)."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def dots(canvas: Canvas) -> np.ndarray:
    """Return the pixels with the colour of data, (n, 2) as x and y."""
    colour = QColor(role_colour("data"))
    rows, columns = np.nonzero((picture(canvas) == [colour.red(), colour.green(), colour.blue()]).all(axis=2))
    return np.stack([columns, rows], axis=1)


@pytest.fixture
def box(form: ExperimentForm, ready: Studio, qtbot: QtBot) -> DrawingBox:
    choose(form, "data.kind", "drawn")
    box: DrawingBox = editor(form, "data.points")
    qtbot.mouseClick(box.clear_button, Qt.MouseButton.LeftButton)
    assert data(ready)["points"] == []
    return box


def at(canvas: Canvas, x: float, y: float) -> QPoint:
    return canvas.to_pixel(x, y).toPoint()


@settings(max_examples=50)
@given(some.lists(some.tuples(NUMBER, NUMBER)))
def test_parse_points_inverts_format_points(points: list[tuple[float, float]]) -> None:
    assert parse_points(format_points([list(point) for point in points])) == [list(point) for point in points]


@pytest.mark.parametrize("text", ["1", "1 2 3", "a b", "1 2; 3", "nan 0", "0 inf"])
def test_other_texts_are_no_points(text: str) -> None:
    assert parse_points(text) is None


def test_a_click_adds_a_point_at_the_mouse(box: DrawingBox, ready: Studio, qtbot: QtBot) -> None:
    assert len(dots(box.canvas)) == 0
    qtbot.mouseClick(box.canvas, Qt.MouseButton.LeftButton, pos=at(box.canvas, 2, -1))
    [[x, y]] = data(ready)["points"]
    assert (x, y) == pytest.approx((2, -1), abs=0.05)
    centre = dots(box.canvas).mean(axis=0)
    assert tuple(centre) == pytest.approx(at(box.canvas, 2, -1).toTuple(), abs=1.0)
    assert "1 point" in {label.text() for label in box.findChildren(QLabel)}
    assert ready.experiment.config is not None


def test_dragging_draws_a_stroke_and_undo_removes_one_stroke(
    box: DrawingBox, form: ExperimentForm, ready: Studio, qtbot: QtBot
) -> None:
    for height in (2, -2):
        qtbot.mousePress(box.canvas, Qt.MouseButton.LeftButton, pos=at(box.canvas, -2, height))
        for x in np.linspace(-2, 2, 30):
            QTest.mouseMove(box.canvas, at(box.canvas, x, height))
        qtbot.mouseRelease(box.canvas, Qt.MouseButton.LeftButton, pos=at(box.canvas, 2, height))
    points = np.array(data(ready)["points"])
    upper = points[points[:, 1] > 0]
    assert len(upper) > 5
    assert np.ptp(upper[:, 0]) == pytest.approx(4, abs=0.5)
    assert np.abs(upper[:, 1] - 2).max() < 0.05
    form.undo_stack.undo()
    assert data(ready)["points"] == upper.tolist()
    assert len(box.canvas.points) == len(upper)
    form.undo_stack.redo()
    assert data(ready)["points"] == points.tolist()


def test_a_right_click_removes_only_the_point_that_it_hits(box: DrawingBox, ready: Studio, qtbot: QtBot) -> None:
    for point in ((1, 1), (-1, -1)):
        qtbot.mouseClick(box.canvas, Qt.MouseButton.LeftButton, pos=at(box.canvas, *point))
    qtbot.mouseClick(box.canvas, Qt.MouseButton.RightButton, pos=at(box.canvas, 3, -3))
    assert len(data(ready)["points"]) == 2
    qtbot.mouseClick(box.canvas, Qt.MouseButton.RightButton, pos=at(box.canvas, 1, 1))
    [[x, y]] = data(ready)["points"]
    assert (x, y) == pytest.approx((-1, -1), abs=0.05)


def test_the_keyboard_adds_and_removes_points(box: DrawingBox, ready: Studio) -> None:
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Space):
        QTest.keyClick(box.canvas, key)
    QTest.keyClick(box.canvas, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(box.canvas, Qt.Key.Key_Return)
    assert data(ready)["points"] == [[0.5, 0.25], [0.45, 0.25]]
    QTest.keyClick(box.canvas, Qt.Key.Key_Delete)
    assert data(ready)["points"] == [[0.5, 0.25]]
    QTest.keyClick(box.canvas, Qt.Key.Key_Backspace)
    QTest.keyClick(box.canvas, Qt.Key.Key_Backspace)
    assert data(ready)["points"] == []


def test_typed_points_are_drawn_and_a_wrong_text_is_reported(
    box: DrawingBox, form: ExperimentForm, ready: Studio
) -> None:
    assert "at least 1" in message(form, "data.points")
    QTest.keyClicks(box.line, "0 1; 2.5 -1")
    assert data(ready)["points"] == [[0.0, 1.0], [2.5, -1.0]]
    assert box.line.text() == "0 1; 2.5 -1"
    assert message(form, "data.points") == ""
    QTest.keyClicks(box.line, "; x")
    assert data(ready)["points"] == "0 1; 2.5 -1; x"
    assert "list" in message(form, "data.points")
    form.undo_stack.undo()
    assert data(ready)["points"] == []


def test_points_outside_the_picture_are_kept_and_counted(box: DrawingBox, ready: Studio) -> None:
    box.line.clear()
    QTest.keyClicks(box.line, "0 0; 50 0")
    assert "2 points, 1 outside the picture" in {label.text() for label in box.findChildren(QLabel)}
    assert ready.experiment.config is not None


def test_the_canvas_follows_the_theme(box: DrawingBox) -> None:
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    try:
        for theme, low, high in (("light", 230, 255), ("dark", 0, 60)):
            apply_theme(app, theme)
            middle = picture(box.canvas)[40:60, 80:100]
            assert low <= np.median(middle) <= high, theme
    finally:
        apply_theme(app, "light")


# --- choices ----------------------------------------------------------------------------------------------------------


def test_data_sets_and_flows_are_listed_in_groups(form: ExperimentForm) -> None:
    box: QComboBox = editor(form, "data.kind")
    assert isinstance(box, ChoiceBox)
    items = [(box.itemText(row), box.itemData(row)) for row in range(box.count())]
    headings = [label for label, value in items if value is None]
    assert headings == ["Images", "In the plane", "Tables"]
    assert {"Fashion-MNIST": "fashion_mnist", "BSDS300": "bsds300"}.items() <= dict(items).items()
    for row, (label, value) in enumerate(items):
        enabled = bool(box.model().flags(box.model().index(row, 0)) & Qt.ItemFlag.ItemIsEnabled)
        assert enabled == (value is not None), label
        assert value is None or box.itemData(row, Qt.ItemDataRole.ToolTipRole), label
    teacher = editor(form, "teacher.kind")
    labels = [teacher.itemText(row) for row in range(teacher.count()) if teacher.itemData(row) is not None]
    assert labels == ["Glow", "Glow-1D", "MAF", "IAF", "Neural spline flow", "TarFlow", "Jet"]


def test_arrow_keys_skip_headings(form: ExperimentForm, ready: Studio) -> None:
    choose(form, "data.kind", "image_stack")
    box = editor(form, "data.kind")
    visited = []
    for _ in range(3):
        QTest.keyClick(box, Qt.Key.Key_Down)
        visited.append(data(ready)["kind"])
    assert None not in visited
    assert len(set(visited)) == 3
