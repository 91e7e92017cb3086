"""The flow panel for data of two features: points, grid and rings layer by layer, by mouse and keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QSlider, QToolButton

import nfkd.inspect
from nfkd.protocol.inspection import PlaneFlow, ReadPlane
from nfkd_gui.model.layer_columns import align_layers
from nfkd_gui.panels.flow import POINTS
from nfkd_gui.plotting.flow_plane import FlowPlane, arrow_lines
from nfkd_gui.plotting.plane import noise_colour, noise_hues
from tests.gui.panels.flow_driver import SMALL, Driven, recorded


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded("pinwheel", tmp_path_factory.mktemp("flow"))


@pytest.fixture
def driven(show: Any, fake_studio: Any, run: Path) -> Driven:
    return Driven(show, fake_studio, run)


def child(panel: Any, kind: Any, name: str) -> Any:
    found = panel.findChild(kind, name)
    assert found is not None, name
    return found


def positions(plane: FlowPlane) -> np.ndarray:
    spots: Any = plane.cloud.data
    return np.stack([spots["x"], spots["y"]], axis=1)


def settle(panel: Any, qtbot: Any) -> None:
    """Wait for the end of the move from one state to the next."""
    planes = [cell.plane for cell in panel.planes.cells]
    qtbot.waitUntil(lambda: [plane.position for plane in planes] == panel.planes._goals)


def test_points_are_those_of_the_flow_after_each_layer(driven: Driven, run: Path, qtbot: Any) -> None:
    panel = driven.panel
    flows = nfkd.inspect.open_run(run, driven.studio.seed).flows
    slider = child(panel, QSlider, "flow.layer")
    assert slider.maximum() == len(flows["teacher"].layers)
    with torch.no_grad():
        starts = {cell.role: torch.from_numpy(positions(cell.plane)).float() for cell in panel.planes.cells}
        traced = {role: list(flows[role].trace(starts[role]).values()) for role in ("teacher", "student")}
    for column in range(1, slider.maximum() + 1):
        slider.setValue(column)
        settle(panel, qtbot)
        teacher, student = panel.planes.cells
        np.testing.assert_allclose(positions(teacher.plane), traced["teacher"][column - 1][0], atol=2e-3)
        reached = column // 3
        expected = traced["student"][reached - 1][0] if reached else starts["student"]
        np.testing.assert_allclose(positions(student.plane), expected, atol=2e-3)
        assert teacher.layer.text() == f"after layer {column} of 6"
        assert student.layer.text() == (f"after layer {reached} of 2" if reached else "data")
    noise = [positions(cell.plane) for cell in panel.planes.cells]
    assert noise[0].shape == (POINTS, 2)
    np.testing.assert_allclose(noise[0], noise[1], atol=2e-3)


def test_both_planes_have_one_size_and_one_range_with_aspect_one(driven: Driven) -> None:
    first, second = (cell.plane for cell in driven.panel.planes.cells)
    assert first.size() == second.size()
    box = first.canvas.getViewBox()
    np.testing.assert_allclose(box.viewRange(), second.canvas.getViewBox().viewRange())
    wide, high = box.viewPixelSize()
    assert wide == pytest.approx(high, rel=0.01)


def test_the_colour_of_a_point_is_the_angle_of_its_noise(driven: Driven, qtbot: Any) -> None:
    panel = driven.panel
    panel.plane_tools._boxes["contours"].setChecked(False)
    panel.scrubber.go(6)
    settle(panel, qtbot)
    plane = panel.planes.cells[0].plane
    noise = positions(plane)
    distances = np.linalg.norm(noise[:, None] - noise[None], axis=-1) + 99 * np.eye(len(noise))
    alone = [index for index in np.argsort(-distances.min(axis=1)) if np.abs(noise[index]).max() < panel.planes.half]
    picture = plane.viewport().grab().toImage()
    box = plane.canvas.getViewBox()
    for index in alone[:6]:
        at = plane.mapFromScene(box.mapViewToScene(QPointF(*map(float, noise[index]))))
        hue = noise_colour(float(np.arctan2(noise[index, 1], noise[index, 0]) / (2 * np.pi))).hueF()
        found = picture.pixelColor(at)
        assert abs((found.hueF() - hue + 0.5) % 1 - 0.5) < 0.06
        assert found.hslSaturationF() > 0.2


def test_matched_layers_move_together_and_say_their_error(driven: Driven) -> None:
    panel = driven.panel
    panel.setFocus()
    for _ in range(3):
        QTest.keyClick(panel, Qt.Key.Key_Right)
    stage = driven.view.find_stage(driven.studio.seed, "student")
    assert stage is not None
    pairs = driven.view.pairs(driven.studio.seed)
    [number] = [number for number, pair in enumerate(pairs) if (pair.teacher, pair.student) == ("step3", "step1")]
    error = stage.matching_errors[-1][number]
    text = child(panel, QLabel, "flow.matched").text()
    assert text.startswith("Matched: teacher 3 ↔ student 1, error ")
    assert float(text.rpartition(" ")[2]) == pytest.approx(error, abs=0.006)
    QTest.keyClick(panel, Qt.Key.Key_Left)
    assert panel.scrubber.column == 2
    assert child(panel, QLabel, "flow.matched").text() == ""


def test_play_goes_to_the_noise_and_back_until_space_pauses_it(driven: Driven, qtbot: Any) -> None:
    panel = driven.panel
    panel.scrubber._clock.setInterval(5)
    seen: list[int] = []
    panel.scrubber.moved.connect(seen.append)
    QTest.mouseClick(child(panel, QPushButton, "flow.play"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(seen) >= 13)
    assert seen[:13] == [1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0, 1]
    assert child(panel, QPushButton, "flow.play").text() == "Pause"
    QTest.keyClick(panel, Qt.Key.Key_Space)
    assert not panel.scrubber.playing
    assert child(panel, QPushButton, "flow.play").text() == "Play"
    before = panel.scrubber.column
    QTest.mouseClick(child(panel, QPushButton, "flow.forward"), Qt.MouseButton.LeftButton)
    assert panel.scrubber.column == min(before + 1, 6)
    QTest.mouseClick(child(panel, QPushButton, "flow.back"), Qt.MouseButton.LeftButton)
    assert panel.scrubber.column == min(before + 1, 6) - 1


def test_a_step_moves_smoothly_between_two_states(driven: Driven, qtbot: Any) -> None:
    plane = driven.panel.planes.cells[0].plane
    seen: list[float] = []
    go = plane.go
    plane.go = lambda position: (seen.append(position), go(position))  # type: ignore[method-assign]
    driven.panel.scrubber.go(1)
    settle(driven.panel, qtbot)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert any(0 < position < 1 for position in seen)


def test_parts_can_be_hidden_and_arrows_show_the_present_layer(driven: Driven, qtbot: Any) -> None:
    panel = driven.panel
    plane = panel.planes.cells[0].plane
    panel.scrubber.go(2)
    settle(panel, qtbot)
    for name, items in (("points", [plane.cloud]), ("contours", list(plane.rings)), ("arrows", [plane.arrows])):
        box = child(panel, QCheckBox, f"flow.{name}")
        before = items[0].isVisible()
        box.click()
        assert [item.isVisible() for item in items] == [not before] * len(items)
        [action] = [action for action in panel.options() if action.objectName() == f"flow.show_{name}"]
        assert action.isChecked() != before
    arrows: Any = plane.arrows
    x, y = arrows.getData()
    flow = plane.flow
    assert flow is not None
    np.testing.assert_allclose(np.stack([x, y], axis=1)[0::5], flow.points[1, :120], atol=1e-5)
    np.testing.assert_allclose(np.stack([x, y], axis=1)[1::5], flow.points[2, :120], atol=1e-5)


def test_the_grid_of_the_data_is_regular_in_the_data(driven: Driven) -> None:
    QTest.mouseClick(child(driven.panel, QToolButton, "flow.grid.data"), Qt.MouseButton.LeftButton)
    driven.answer()
    assert [ask.grid for ask in driven.asked if isinstance(ask, ReadPlane)] == ["noise", "data"]
    flow = driven.panel.planes.cells[1].plane.flow
    assert flow is not None
    assert np.ptp(flow.grid[0, 0, :, 0]) == 0, "the first line is vertical"
    assert np.ptp(flow.grid[-1, 0, :, 0]) > 0.01


def test_a_click_on_a_small_state_goes_there(driven: Driven) -> None:
    panel = driven.panel
    strip = panel.planes.strip
    assert strip.isVisible()
    assert [row.role for row in strip.rows] == ["teacher", "student"]
    middles = [strip.picture_rect(row, state).center().x() for row, state in ((0, 3), (1, 1))]
    assert middles[0] == pytest.approx(middles[1]), "matched layers stand in one column"
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.picture_rect(0, 4).center().toPoint())
    assert panel.scrubber.column == 4
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.picture_rect(1, 1).center().toPoint())
    assert panel.scrubber.column == 3
    assert list(strip.marked) == [3, 1]


def test_rows_of_small_states_stay_together_in_a_tall_panel(show: Any, fake_studio: Any, run: Path, qtbot: Any) -> None:
    panel = Driven(show, fake_studio, run, (600, 1400)).panel
    strip = panel.planes.strip
    qtbot.waitUntil(lambda: strip.width() > 400)
    first, second = strip.picture_rect(0, 0), strip.picture_rect(1, 0)
    assert second.top() - first.bottom() < first.height()


@pytest.mark.parametrize("half", [1.0, 4.5, 60.0])
def test_only_segments_that_are_long_for_the_plane_are_left_out(qtbot: Any, half: float) -> None:
    plane = FlowPlane()
    qtbot.addWidget(plane)
    steps = half * np.array([0.0, 0.15, 0.3, 0.9, 1.0])
    lines = np.stack([np.stack([steps, np.full(5, y)], axis=1) for y in (-0.1, 0.0, 0.1)] * 2)
    states = np.repeat(lines[None], 2, axis=0)
    flow = PlaneFlow(names=["a"], labels=["a"], points=np.zeros((2, 9, 2)), grid=states, rings=np.zeros((2, 2, 5, 2)))
    plane.show_flow(flow, np.zeros(9, int))
    plane.frame((-half, half, -half, half))
    for curve in (plane.grid, plane.middle):
        assert {tuple(line) for line in curve.opts["connect"].reshape(-1, 5).tolist()} == {(1, 1, 0, 1, 0)}


def test_a_small_tile_has_neither_strip_nor_probe(show: Any, fake_studio: Any, run: Path) -> None:
    panel = Driven(show, fake_studio, run, SMALL).panel
    assert not panel.planes.strip.isVisible()
    assert not panel.planes.probe.isVisible()
    assert all(cell.plane.isVisible() for cell in panel.planes.cells)
    QTest.mouseClick(panel.planes.cells[0].plane.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    assert fake_studio.asked == [], "without the probe, nothing is asked for it"


def test_another_flow_can_be_compared(driven: Driven) -> None:
    choice = child(driven.panel, QComboBox, "flow.second")
    choice.setCurrentIndex(choice.findData("baseline"))
    choice.activated.emit(choice.currentIndex())
    driven.answer()
    cell = driven.panel.planes.cells[1]
    assert cell.title.text() == "Baseline"
    plane = driven.panel.states.plane
    assert plane is not None
    np.testing.assert_array_equal(positions(cell.plane), plane.flows["baseline"].points[0])


def test_a_flow_without_weights_says_so(driven: Driven) -> None:
    del driven.view.stages[driven.studio.seed, "student"]
    plane = driven.panel.states.plane
    assert plane is not None
    del plane.flows["student"]
    driven.panel.show_run(driven.view)
    driven.panel.states.plane = plane
    driven.panel.refresh()
    cell = driven.panel.planes.cells[1]
    assert not cell.shown
    assert cell._reason.text() == "not trained yet"
    assert driven.panel.scrubber.slider.maximum() == 6, "the teacher can still be scrubbed"


def test_layers_of_two_flows_share_columns() -> None:
    assert align_layers(list("abcdef"), list("uv"), [("c", "u"), ("f", "v")]).states == (
        (0, 1, 2, 3, 4, 5, 6),
        (0, 3, 6),
    )
    more = align_layers(list("ab"), list("uvwx"), [("a", "w")])
    assert more.states == ((0, 3, 4), (0, 1, 2, 3, 4))
    assert more.partner(3) == (1, 3)
    crossed = align_layers(list("abcd"), list("uvw"), [("c", "u"), ("b", "v")])
    assert crossed.matched == ((2, 2),)
    assert align_layers([], list("uv")).states == ((), (0, 1, 2))


def test_long_segments_of_the_grid_are_broken_and_points_outside_are_not_drawn(qtbot: Any) -> None:
    line = np.stack([np.array([0.0, 0.3, 0.6, 1.2, 1.4, np.nan, 1.5]), np.zeros(7)], axis=1).astype(np.float32)
    grid = np.stack([line] * 4)[None]
    flow = PlaneFlow(names=[], labels=[], points=np.array([[[0, 0], [99, 99]]], np.float32), grid=grid,
                     rings=np.zeros((1, 2, 5, 2), np.float32))  # fmt: skip
    plane = FlowPlane()
    qtbot.addWidget(plane)
    plane.show_flow(flow, noise_hues(flow.points[0]))
    plane.frame((-2.0, 2.0, -2.0, 2.0))
    connect = plane.middle.opts["connect"].reshape(2, 7)
    assert connect.tolist() == [[1, 1, 0, 1, 0, 0, 0]] * 2
    x, _, _ = arrow_lines(np.array([[0.0, 0.0], [np.nan, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert len(x) == 5, "an arrow without a finite end is left out"
