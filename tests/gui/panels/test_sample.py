"""The sample inspector: opened from pictures by the mouse, its figures, and its example as an end of a path."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import astuple
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QComboBox, QFileDialog, QLabel, QPushButton, QSpinBox, QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.inspection import CancelInspection, InspectSample, Origin, SampleDetails, SampleFigures
from nfkd.protocol.requests import Interpolate, Interpolations, Samples
from nfkd.protocol.roles import Role
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.panels.interpolation import InterpolationPanel
from nfkd_gui.panels.sample import SamplePanel
from nfkd_gui.panels.samples import SamplesPanel
from nfkd_gui.theme import role_colour
from tests.gui.panels.conftest import RUN


def figures(value: float, counterpart: np.ndarray) -> SampleFigures:
    return SampleFigures(value, 38.2, 269, 6.31, 8.0, counterpart)


def details(shape: tuple[int, ...] = (1, 8, 8), **fields: Any) -> SampleDetails:
    flows: dict[Role, SampleFigures] = {
        "teacher": figures(-71.24, np.full(shape, 0.2)),
        "student": figures(-76.9, np.full(shape, 0.4)),
    }
    origin = Origin("sample", 5, "student", 64, 0.8)
    return SampleDetails(
        RUN, 1, origin, np.full(shape, 0.9), "student", flows, np.full(shape, 0.6), 812, 1.904, **fields
    )  # fmt: skip


def texts(panel: QWidget) -> str:
    return "\n".join(label.text() for label in panel.findChildren(QLabel) if label.isVisible())


@pytest.fixture
def trained(fake_run: Any) -> Any:
    """A run with final samples of the teacher and samples in training of the student."""
    run = fake_run()
    for role in ("teacher", "student"):
        run.begin(role)
        run.samples(role, 5, np.linspace(0, 1, 16 * 64, dtype=np.float32).reshape(16, 1, 8, 8), final=role == "teacher")
    return run


def press(panel: Any, qtbot: Any, row: int, column: int) -> None:
    place = panel.grid.cell_rect(0, row, column).center()
    qtbot.mouseClick(panel.grid, Qt.MouseButton.LeftButton, pos=place)


def test_a_click_on_a_picture_asks_for_that_example(show: Any, trained: Any, fake_studio: Any, qtbot: Any) -> None:
    panel, chosen = show(SamplesPanel, trained), list[Origin]()
    fake_studio.example_chosen.connect(chosen.append)
    request, on_reply, _, _ = fake_studio.asked[-1]
    real = np.zeros((16, 1, 8, 8), np.float32)
    on_reply(Samples(run=RUN, seed=1, temperature=0.7, samples={}, real=real, densities={}))
    panel.refresh()
    roles = panel.roles()
    press(panel, qtbot, -1, 3)
    press(panel, qtbot, roles.index("teacher"), 2)
    press(panel, qtbot, roles.index("student"), 4)
    press(panel, qtbot, roles.index("baseline"), 1)  # not trained yet: nothing is there
    assert len(chosen) == 3
    assert astuple(chosen[0]) == astuple(Origin("validation", 3))
    assert astuple(chosen[1]) == astuple(Origin("sample", 2, "teacher", 16, 0.7)), "final weights"
    assert (chosen[2].kind, chosen[2].role, chosen[2].index) == ("values", "student", 4), "weights go on changing"
    stored = trained.view.find_stage(1, "student").samples.samples
    np.testing.assert_array_equal(chosen[2].values, stored[4])
    assert request.count == 16


def test_the_keyboard_chooses_a_picture(show: Any, trained: Any, fake_studio: Any, qtbot: Any) -> None:
    panel, chosen = show(SamplesPanel, trained), list[Origin]()
    fake_studio.example_chosen.connect(chosen.append)
    press(panel, qtbot, 0, 1)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Return):
        qtbot.keyClick(panel.grid, key)
    roles = panel.roles()
    assert [(origin.role, origin.index) for origin in chosen] == [(roles[0], 1), (roles[1], 2)]
    qtbot.keyClick(panel.grid, Qt.Key.Key_Down)  # nothing there: the cursor stays
    qtbot.keyClick(panel.grid, Qt.Key.Key_Return)
    assert chosen[-1].role == roles[1]


def test_a_click_on_a_point_asks_for_the_nearest_point(show: Any, fake_run: Any, fake_studio: Any, qtbot: Any) -> None:
    run, chosen = fake_run(shape=(2,)), list[Origin]()
    fake_studio.example_chosen.connect(chosen.append)
    run.begin("teacher")
    points = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    points[7] = (-1.9, 1.9)  # alone in its corner
    run.samples("teacher", 5, np.clip(points, -2, 2), final=True)
    run.density("teacher")
    panel = show(SamplesPanel, run)
    plane = panel.planes.cells["teacher"].plane
    qtbot.waitUntil(lambda: plane.isVisible() and plane.width() > 100)
    box = plane.canvas.getViewBox()

    def click(x: float, y: float) -> None:
        scene = box.mapViewToScene(QPointF(x, y))
        qtbot.mouseClick(plane.viewport(), Qt.MouseButton.LeftButton, pos=plane.mapFromScene(scene))

    click(-1.88, 1.88)
    qtbot.waitUntil(lambda: bool(chosen))
    assert (chosen[0].kind, chosen[0].role, chosen[0].index) == ("sample", "teacher", 7)
    click(1.99, -1.99)
    assert len(chosen) == 1, "no point is near"


def test_figures_counterparts_and_the_nearest_example_are_shown(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(SamplePanel, trained)
    fake_studio.example_chosen.emit(Origin("sample", 5, "student", 64, 0.8))
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert isinstance(request, InspectSample)
    assert request.origin.index == 5
    assert panel.findChild(QWidget, "sample.progress").isVisibleTo(panel.content)
    on_reply(details())
    panel.refresh()
    shown = texts(panel)
    for expected in ("Student's sample 5, temperature 0.80", "−71.2", "−76.9", "38 %", "6.3", "269", "distance 1.90"):
        assert expected in shown
    assert not panel.findChild(QWidget, "sample.progress").isVisibleTo(panel.content)
    for role, level in (("teacher", 0.2), ("student", 0.4), ("data", 0.6)):
        mosaic = panel.findChild(QWidget, f"sample.{role}.picture")
        grey = mosaic.grab().toImage().pixelColor(mosaic.target().center()).lightnessF()
        assert grey == pytest.approx(level, abs=0.01)
    table = panel.numbers()["Figures"]
    assert [row[:2] for row in table.rows] == [["teacher", -71.24], ["student", -76.9]]
    heads = [label for label in panel.findChildren(QLabel) if label.text() == "Teacher"]
    assert any(role_colour("teacher") in label.styleSheet() for label in heads)


def test_the_figures_of_a_flow_appear_when_its_stage_ends(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(SamplePanel, trained)
    fake_studio.example_chosen.emit(Origin("test", 3))
    fake_studio.asked[-1][1](details())
    before = len(fake_studio.asked)
    trained.finish("student", steps=9, best_step=9)
    request, on_reply, *_ = fake_studio.asked[-1]
    assert len(fake_studio.asked) == before + 1
    assert isinstance(request, InspectSample)
    assert request.origin.index == 3
    panel.refresh()
    assert "−76.9" in texts(panel), "the former figures stay until the reply"
    on_reply(details())
    trained.finish("baseline", steps=9, best_step=9)
    assert len(fake_studio.asked) == before + 2


def test_rows_are_shown_in_the_units_of_their_columns(show: Any, fake_run: Any, fake_studio: Any) -> None:
    panel = show(SamplePanel, fake_run(shape=(2,)))
    fake_studio.example_chosen.emit(Origin("test", 3))
    values = np.array([[1012.5, 0.0021], [1010.25, 0.0019]])
    fake_studio.asked[-1][1](details((2,), columns=["mass", "width"], values=values))
    panel.refresh()
    shown = texts(panel)
    for expected in ("mass", "width", "1012", "0.0021", "0.0019", "training example 812, 1.90 away"):
        assert expected in shown
    assert not panel.findChild(QWidget, "sample.image").isVisible()
    fake_studio.example_chosen.emit(Origin("test", 3))
    fake_studio.asked[-1][1](details())
    panel.refresh()
    assert "1012" not in texts(panel), "values of the former example are gone"


def test_a_refusal_is_shown_and_a_request_can_be_cancelled(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(SamplePanel, trained)
    fake_studio.example_chosen.emit(Origin("test", 3))
    fake_studio.asked[-1][2](ErrorInfo(title="There is no such example", cause="There are 2.", action="Choose 1."))
    panel.refresh()
    assert "There is no such example. There are 2. Choose 1." in texts(panel)
    fake_studio.example_chosen.emit(Origin("test", 4))
    late = fake_studio.asked[-1][1]
    panel.findChild(QPushButton, "sample.cancel").click()
    request = fake_studio.asked[-1][0]
    assert isinstance(request, CancelInspection)
    late(details())
    panel.refresh()
    assert "812" not in texts(panel)
    assert "−71.2" not in texts(panel)


def test_the_buttons_use_the_example_that_is_shown(show: Any, trained: Any, fake_studio: Any) -> None:
    panel, used, followed = show(SamplePanel, trained), list[tuple[int, Origin]](), list[Origin]()
    panel.used.connect(lambda end, origin: used.append((end, origin)))
    panel.flow_wanted.connect(followed.append)
    buttons = [panel.findChild(QPushButton, f"sample.{name}") for name in ("use_a", "use_b", "flow")]
    assert not any(button.isEnabled() for button in buttons)
    fake_studio.example_chosen.emit(Origin("test", 3))
    fake_studio.asked[-1][1](details())
    panel.refresh()
    for button in buttons:
        button.click()
    assert [(end, origin.kind, origin.index) for end, origin in used] == [(0, "sample", 5), (1, "sample", 5)]
    assert [origin.index for origin in followed] == [5]
    fake_studio.example_chosen.emit(Origin("test", 4))
    panel.refresh()
    assert not any(button.isEnabled() for button in buttons)
    assert "−71.2" not in texts(panel), "the figures of the former example are gone"
    panel.findChild(QPushButton, "sample.cancel").click()
    panel.refresh()
    assert "Cancelled." in texts(panel)
    fake_studio.example_chosen.emit(Origin("test", 5))
    assert "Cancelled." not in texts(panel)
    fake_studio.asked[-1][2](ErrorInfo(title="No", cause="It is gone.", action="Choose."))
    assert not any(button.isEnabled() for button in buttons)


def test_the_class_of_the_nearest_example_and_the_name_of_the_image(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(SamplePanel, trained)
    fake_studio.example_chosen.emit(Origin("test", 3))
    found = details(label=7)
    teacher = found.flows["teacher"]
    found.flows["teacher"] = SampleFigures(teacher.log_prob, float("nan"), 0, 6.0, 8.0, teacher.counterpart)
    fake_studio.asked[-1][1](found)
    panel.refresh()
    assert "distance 1.90, class 7" in texts(panel)
    assert "Percentile among 269 test examples" in texts(panel), "those of the flow that has some"
    image = panel.findChild(QWidget, "sample.image")
    assert image.accessibleName() == "Student's sample 5, temperature 0.80"
    table = panel.numbers()["Nearest"]
    assert [dict(zip(table.header, row, strict=True)) for row in table.rows] == [
        {"training example": 812, "distance (scaled)": 1.904, "class": 7}
    ]
    del found.flows["student"]
    fake_studio.example_chosen.emit(Origin("test", 3))
    fake_studio.asked[-1][1](found)
    panel.refresh()
    assert "Percentile among" not in texts(panel)


def test_an_example_that_is_not_finite_has_no_nearest_one(show: Any, trained: Any, fake_studio: Any) -> None:
    panel = show(SamplePanel, trained)
    fake_studio.example_chosen.emit(Origin("test", 3))
    found = msgspec.structs.replace(details(), distance=float("nan"))
    fake_studio.asked[-1][1](found)
    panel.refresh()
    assert "The example is not finite." in texts(panel)
    assert "Nearest train" not in texts(panel)
    assert "Nearest" not in panel.numbers()


def test_further_features_are_counted_and_saved(show: Any, fake_run: Any, fake_studio: Any, tmp_path: Path) -> None:
    panel = show(SamplePanel, fake_run(shape=(43,)))
    fake_studio.example_chosen.emit(Origin("test", 3))
    names, values = [f"f{n}" for n in range(43)], np.random.default_rng(0).normal(size=(2, 43))
    fake_studio.asked[-1][1](details((43,), columns=names, values=values))
    panel.refresh()
    assert "and 19 more: save the numbers" in texts(panel)
    write_csv(tmp_path / "features.csv", panel.numbers()["Features"])
    with (tmp_path / "features.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["feature"] for row in rows] == names
    saved = np.array([[float(row[name]) for row in rows] for name in ("example", "nearest", "teacher", "student")])
    np.testing.assert_allclose(saved, [*values, np.full(43, 0.2), np.full(43, 0.4)])


def test_the_example_becomes_an_end_of_the_path(show: Any, trained: Any, fake_studio: Any) -> None:
    trained.path("teacher", np.zeros((1, 9, 1, 8, 8), np.float32))
    panel = show(InterpolationPanel, trained)
    origin = Origin("test", 40)
    panel.use_end(1, origin)
    request, on_reply, _, _ = fake_studio.asked[-1]
    assert isinstance(request, Interpolate)
    assert astuple(request.second) == astuple(origin)
    assert astuple(request.first) == astuple(Origin("validation", 0))
    kind = panel.findChild(QComboBox, "interpolation.second.kind")
    assert kind.currentText() == "Chosen"
    assert not panel.findChild(QSpinBox, "interpolation.second").isVisible()
    ends = [np.full((1, 8, 8), level, np.float32) for level in (0.25, 0.75)]
    on_reply(Interpolations(RUN, 1, "linear", np.linspace(0, 1, 9), {"teacher": np.zeros((9, 1, 8, 8))}, 60, ends=ends))
    panel.refresh()
    thumbnail = panel.ends[1].thumbnail
    assert thumbnail.grab().toImage().pixelColor(thumbnail.target().center()).lightnessF() == pytest.approx(0.75, 0.02)
    panel.use_end(1, Origin("validation", 7))
    assert astuple(fake_studio.asked[-1][0].second) == astuple(Origin("validation", 7))
    assert kind.findText("Chosen") == -1
    assert panel.findChild(QSpinBox, "interpolation.second").value() == 7


def test_a_file_becomes_an_end_by_a_dialog_or_a_drop(
    show: Any, trained: Any, fake_studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, table = tmp_path / "digit.PNG", tmp_path / "rows.csv"
    for path in (image, table):
        path.write_text("x")
    trained.path("teacher", np.zeros((1, 9, 1, 8, 8), np.float32))
    panel = show(InterpolationPanel, trained)
    end, number = panel.ends[0], panel.findChild(QSpinBox, "interpolation.first")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(image))])
    assert end.takes([str(image)])
    assert not end.takes([str(tmp_path)])
    assert not end.takes([str(image), str(table)])
    at, buttons, keys = QPointF(QPoint(3, 3)), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    end.dropEvent(QDropEvent(at, Qt.DropAction.CopyAction, mime, buttons, keys))
    assert astuple(fake_studio.asked[-1][0].first) == astuple(Origin("file", path=str(image)))
    assert not number.isVisible()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(table), ""))
    end.kind.activated.emit(end.kind.findData("file"))
    number.setValue(3)
    assert astuple(fake_studio.asked[-1][0].first) == astuple(Origin("file", 3, path=str(table)))
    assert number.isVisible()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    end.kind.setCurrentIndex(end.kind.findData("sample"))
    end.kind.activated.emit(end.kind.findData("sample"))
    end.kind.activated.emit(end.kind.findData("file"))
    assert end.kind.currentData() == "sample", "cancelled: the end stays"
