"""The lab by mouse and keyboard: training, the way through the layers, the probe and what distillation buys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QAbstractButton, QApplication, QDoubleSpinBox, QLabel, QSlider, QWidget

from nfkd.protocol.lab import LAB_ROLES as ROLES
from nfkd.protocol.lab import ChangeLab, ControlLab
from nfkd_gui.panels.lab_scrubber import STEPS
from nfkd_gui.plotting.gain_plot import best_so_far
from nfkd_gui.theme import apply_theme, role_colour, tokens
from tests.gui.lab.lab_driver import Driven

Left = Qt.MouseButton.LeftButton


def actions(lab: Driven) -> list[str]:
    return [request.action for request in lab.studio.asked if isinstance(request, ControlLab)]


def shown(widget: Any) -> QImage:
    return widget.grab().toImage()


def dots(lab: Driven, role: str) -> np.ndarray:
    """Return the positions of the samples that a plane draws, (n, 2)."""
    return np.column_stack(lab.plane(role).cloud.getData())


# --- training ---------------------------------------------------------------------------------------------------------


def test_play_and_pause_by_mouse_and_space(lab: Driven) -> None:
    before = len(actions(lab))
    lab.click("lab.play")
    assert lab.text("lab.play") == "Pause"
    assert "Training the students, 1 of 30 steps" in lab.text("lab.message")
    lab.press(Qt.Key.Key_Space)
    assert lab.text("lab.play") == "Play"
    assert actions(lab)[before:] == ["play", "pause"]


def test_one_step_and_restart(lab: Driven) -> None:
    lab.click("lab.step")
    assert (lab.studio.flows.step_number, lab.text("lab.count")) == (2, "Step 2")
    lab.click("lab.restart")
    assert (lab.studio.flows.step_number, lab.text("lab.count")) == (0, "Step 0")


def test_after_all_steps_play_is_off_and_the_line_says_what_to_do(lab: Driven) -> None:
    lab.train(29)
    assert not lab.find("lab.play").isEnabled()
    assert lab.text("lab.message").startswith("All 30 steps are made: restart")


def test_speed_and_what_is_shown_are_in_the_state(lab: Driven) -> None:
    lab.click("lab.speed.slow")
    lab.click("lab.show.samples")
    lab.click("lab.arrows")
    lab.click("lab.grid")
    look = lab.lab.state.lab
    assert (look.speed, look.show, look.arrows, look.grid) == ("slow", "samples", True, False)
    plane = lab.plane("student")
    assert plane.cloud.isVisible()
    assert plane.arrows.isVisible()
    assert not plane.image.isVisible()
    assert not plane.grid.isVisible()


def test_a_message_of_the_engine_stands_above_the_planes(lab: Driven) -> None:
    lab.lab.control("play")
    lab.studio.answer(message="The loss is not finite.")
    assert lab.text("lab.message") == "The loss is not finite. Restart, or change a setting."
    lab.studio.answer()
    assert "not finite" not in lab.text("lab.message")


def test_while_the_teacher_is_missing_the_students_wait(open_lab: Callable[..., Driven]) -> None:
    lab = open_lab(steps=0)
    assert lab.text("lab.reason.student") == "Press Play."
    lab.train(1)
    assert lab.plane("student").isVisible()
    lab.lab.set_values({"seeds.first": 7})  # there is no trained teacher for this seed
    lab.studio.answer()
    lab.train(3)
    assert lab.lab.frame.phase == "teacher"
    assert "3 of 20 steps" in lab.text("lab.message")
    assert lab.text("lab.reason.student") == "Starts when the teacher is trained."
    assert lab.text("lab.state.student") == ""
    assert lab.plane("teacher").isVisible()
    assert not lab.plane("student").isVisible()  # the student of the other seed is gone
    assert lab.text("lab.gap_reason") == "Known when the students train."


# --- the way through the layers ---------------------------------------------------------------------------------------


def test_the_right_key_goes_to_the_states_after_the_next_layer_of_the_teacher(lab: Driven) -> None:
    lab.press(Qt.Key.Key_Right)
    flows = {role: picture.plane for role, picture in lab.lab.pictures.items()}
    np.testing.assert_allclose(dots(lab, "teacher"), flows["teacher"].points[1], atol=1e-5)
    between = flows["student"].points[0] / 3 + 2 * flows["student"].points[1] / 3
    np.testing.assert_allclose(dots(lab, "student"), between, atol=1e-4)
    assert lab.text("lab.layer_text") == "teacher 1 of 3 · student 0.7 of 2"
    assert lab.text("lab.state.teacher") == "after layer 1 of 3"
    lab.press(Qt.Key.Key_Left)
    assert lab.lab.state.lab.position == 0
    assert lab.plane("teacher").image.isVisible()


def test_a_click_at_the_end_of_the_line_shows_the_noise(lab: Driven) -> None:
    track = lab.find("lab.position", QSlider)
    lab.qtbot.mouseClick(track, Left, pos=QPoint(track.width() - 3, track.height() // 2))
    assert lab.lab.state.lab.position == 1
    for role in ROLES:
        np.testing.assert_allclose(dots(lab, role), lab.lab.frame.noise, atol=1e-3)
        assert not lab.plane(role).image.isVisible()


def test_near_an_end_of_the_line_the_handle_goes_to_it(lab: Driven) -> None:
    track = lab.find("lab.position", QSlider)
    for share, near in ((1.0, -3), (0.0, 3)):
        place = QPoint(round(track.x_of(share)) + near, track.height() // 2)
        lab.qtbot.mouseClick(track, Left, pos=place)
        assert lab.lab.state.lab.position == share


def test_dragging_moves_all_flows_by_the_same_share(lab: Driven) -> None:
    track = lab.find("lab.position", QSlider)
    middle = QPoint(track.width() // 2, track.height() // 2)
    lab.qtbot.mousePress(track, Left, pos=QPoint(10, middle.y()))
    lab.qtbot.mouseMove(track, middle)
    lab.qtbot.mouseRelease(track, Left, pos=middle)
    assert lab.lab.state.lab.position == pytest.approx(0.5, abs=0.01)
    shares = [lab.plane(role).share for role in ROLES]
    assert shares == [pytest.approx(track.value() / STEPS)] * 3


def test_playing_through_the_layers_moves_the_planes_and_stops(lab: Driven) -> None:
    lab.click("lab.play_layers")
    lab.qtbot.waitUntil(lambda: lab.plane("teacher").share > 0.02)
    lab.click("lab.play_layers")
    assert lab.lab.state.lab.position == pytest.approx(lab.plane("student").share, abs=1 / STEPS)


def test_a_layer_that_is_off_changes_nothing(lab: Driven) -> None:
    lab.click("lab.layer.student.step1")
    assert lab.lab.state.lab.off == ("student.step1",)
    points = lab.points("student")
    np.testing.assert_array_equal(points[0], points[1])
    assert np.abs(points[1] - points[2]).max() > 0.01
    assert lab.studio.flows.step_number == 1  # nothing starts anew
    lab.click("lab.layer.student.step1")
    assert lab.lab.state.lab.off == ()
    points = lab.points("student")
    assert np.abs(points[0] - points[1]).max() > 0.01


def test_another_depth_gives_the_students_other_layers(lab: Driven) -> None:
    lab.click("lab.depth.3")
    lab.train(1)
    assert len(lab.points("student")) == 4
    lab.qtbot.waitUntil(lambda: lab.find("lab.layer.student.step3").isVisible())
    assert lab.text("lab.layer_text") == "teacher 0 of 3 · student 0 of 3"


# --- the probe --------------------------------------------------------------------------------------------------------


def cell_centre(lab: Driven, row: int, column: int) -> tuple[float, float]:
    x0, x1, y0, y1 = lab.lab.info.extent
    rows, columns = lab.lab.pictures["student"].density.shape
    return x0 + (column + 0.5) / columns * (x1 - x0), y0 + (row + 0.5) / rows * (y1 - y0)


def test_the_terms_of_the_probe_add_up_to_the_density(lab: Driven) -> None:
    place = cell_centre(lab, 40, 30)
    lab.drag("student", (0.0, 0.0), place)
    assert lab.lab.state.lab.probe == pytest.approx(place, abs=0.03)  # a pixel of the plane
    for field, value in zip("xy", place, strict=True):
        lab.find(f"lab.probe_{field}", QDoubleSpinBox).setValue(value)
    lab.lab.set_values({"lab.probe": place})
    lab.studio.answer()
    for role in ROLES:
        terms = lab.find(f"lab.terms.{role}").terms
        flow = lab.studio.flows.flow(role)
        flow.eval()
        with torch.no_grad():
            expected = float(flow.log_prob(torch.tensor([place], dtype=torch.float32)))
        assert expected == pytest.approx(lab.lab.pictures[role].density[40, 30], abs=1e-4)
        assert terms.total == pytest.approx(expected, abs=1e-4)
        assert len(terms.layers) == len(lab.lab.pictures[role].plane.names)
        written = lab.text(f"lab.formula.{role}").replace("−", "-")
        numbers = [part.replace("- ", "-").replace("+ ", "") for part in written.split(" = ")]
        assert float(numbers[-1]) == pytest.approx(expected, abs=0.006)


def test_the_first_window_has_the_formula_and_all_flows(open_lab: Callable[..., Driven]) -> None:
    lab = open_lab(size=(1012, 812))  # beside the lessons in a window of 1440 × 900
    lab.drag("student", (0.4, 0.6))
    assert any("log |det" in label.text() for label in lab.view.probe.findChildren(QLabel) if label.isVisible())
    for role in ROLES:
        assert lab.find(f"lab.terms.{role}").isVisible()


def test_pointing_shows_the_probe_and_all_planes_have_the_same_point(lab: Driven) -> None:
    assert not lab.find("lab.probe_x").isVisible()
    lab.drag("baseline", (1.0, 0.5))
    assert lab.find("lab.probe_x").isVisible()
    rings = [lab.ring(role) for role in ROLES]
    assert rings == [pytest.approx(np.array([[1.0, 0.5]]), abs=0.04)] * 3


def test_on_the_way_the_ring_goes_to_where_the_user_points(lab: Driven) -> None:
    lab.lab.set_values({"lab.position": 1.0})
    lab.drag("student", (0.4, -0.3))
    ring = lab.ring("student")
    assert ring == pytest.approx(np.array([[0.4, -0.3]]), abs=0.15)
    way = lab.way("student")
    np.testing.assert_allclose(way[:3], lab.lab.probe.flows["student"].states, atol=1e-5)


def test_the_most_likely_point_and_no_probe(lab: Driven) -> None:
    lab.click("lab.page.probe")
    lab.click("lab.probe_likely")
    density = lab.lab.pictures["teacher"].density
    assert lab.find("lab.terms.teacher").terms.total == pytest.approx(density.max(), abs=1e-4)
    lab.click("lab.probe_remove")
    assert lab.lab.state.lab.probe == ()
    assert not lab.find("lab.terms.teacher").isVisible()


def test_without_a_finite_state_no_probe_is_placed(lab: Driven) -> None:
    plane = lab.plane("teacher")
    assert plane.flow is not None
    states = [np.full_like(states, np.nan) for states in (plane.flow.points, plane.flow.grid)]
    plane.flow = msgspec.structs.replace(plane.flow, points=states[0], grid=states[1])
    plane.position = 1.5
    plane.probed.emit(0.3, 0.4)
    assert lab.lab.state.lab.probe == ()


# --- what distillation buys -------------------------------------------------------------------------------------------


def curves(alone: list[float], student: list[float], teacher: float) -> dict[str, np.ndarray]:
    steps = 10.0 * np.arange(len(alone))
    return {
        "baseline": np.column_stack([steps, alone]),
        "student": np.column_stack([steps, student]),
        "teacher": np.array([[0.0, teacher]]),
    }


def test_the_figure_is_the_share_of_the_gap_by_the_best_values(lab: Driven) -> None:
    given = curves([3.5, 2.4, 2.9], [3.5, 2.0, 1.9], 1.6)
    lab.lab.control("pause")
    lab.studio.answer(curves=given, step=20)
    assert lab.text("lab.gap") == f"{100 * (2.4 - 1.9) / (2.4 - 1.6):.0f} %"
    assert lab.text("lab.gap_reason") == "of the gap to the teacher closed, at step 20"
    assert lab.text("lab.table.baseline.2") == "2.400"
    assert lab.text("lab.value.baseline") == "2.90 nats"


def test_without_a_gap_the_figure_says_why(lab: Driven) -> None:
    lab.lab.control("pause")
    lab.studio.answer(curves=curves([3.0, 1.5], [3.0, 1.6], 1.6))
    assert lab.text("lab.gap") == "–"
    assert "the teacher is not better than the student alone" in lab.text("lab.gap_reason")


def test_the_plot_fills_what_is_between_the_students(lab: Driven) -> None:
    given = curves([3.5, 3.0, 3.0, 3.0], [3.5, 2.0, 2.0, 2.0], 1.6)
    lab.lab.control("pause")
    lab.studio.answer(curves=given)
    plot = lab.find("lab.gain")
    picture = shown(plot)
    inside = plot.to_pixel(13.0, 2.75).toPoint()
    outside = plot.to_pixel(13.0, 3.3).toPoint()
    assert picture.pixelColor(outside) == picture.pixelColor(plot.width() - 2, 2)  # the ground
    assert picture.pixelColor(inside) != picture.pixelColor(outside)
    line = picture.pixelColor(plot.to_pixel(15.0, 2.0).toPoint())
    wanted = QColor(role_colour("student"))
    assert line.hsvHueF() == pytest.approx(wanted.hsvHueF(), abs=0.03)


def test_best_so_far_ignores_values_that_are_not_finite() -> None:
    curve = np.array([[0, 3.0], [10, np.nan], [20, 2.0], [30, 2.5]])
    np.testing.assert_array_equal(best_so_far(curve)[:, 1], [3.0, 3.0, 2.0, 2.0])


# --- the look ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark", "contrast"])
def test_each_plane_has_the_colours_of_its_role(open_lab: Callable[..., Driven], theme: str) -> None:
    lab = open_lab(theme, steps=6)
    lab.lab.set_values({"lab.grid": False, "lab.contours": False, "lab.data": False})
    for role in ROLES:
        density = lab.lab.pictures[role].density
        row, column = np.unravel_index(density.argmax(), density.shape)
        picture = shown(lab.plane(role).viewport())
        peak = picture.pixelColor(lab.pixel_of(role, *cell_centre(lab, int(row), int(column))))
        corner = picture.pixelColor(4, 4)
        assert corner == QColor(tokens().panel)
        hue = QColor(role_colour(role)).hsvHueF()
        if role != "baseline":
            assert abs((peak.hsvHueF() - hue + 0.5) % 1 - 0.5) < 0.05


def test_a_new_theme_changes_the_colours_at_once(lab: Driven) -> None:
    lab.lab.set_values({"lab.grid": False, "lab.contours": False, "lab.data": False})
    apply_theme(QApplication.instance(), "dark")  # type: ignore[arg-type]
    lab.studio.theme_changed.emit()
    lab.qtbot.waitUntil(lambda: shown(lab.plane("teacher").viewport()).pixelColor(4, 4) == QColor(tokens().panel))


def test_the_planes_have_the_same_size_and_limits(lab: Driven) -> None:
    ranges = [lab.plane(role).canvas.getViewBox().viewRange() for role in ROLES]
    for other in ranges[1:]:
        np.testing.assert_allclose(other, ranges[0], rtol=1e-6)
    heights = {lab.plane(role).height() for role in ROLES}
    assert len(heights) == 1
    (x0, x1), (y0, y1) = ranges[0]
    plane = lab.plane("teacher").canvas.getViewBox().rect()
    assert (x1 - x0) / plane.width() == pytest.approx((y1 - y0) / plane.height(), rel=1e-3)


def test_every_control_has_a_name_for_tests_and_for_screen_readers(lab: Driven) -> None:
    lab.click("lab.page.probe")
    kinds = (QAbstractButton, QSlider, QDoubleSpinBox)
    controls: list[QWidget] = [w for kind in kinds for w in lab.view.findChildren(kind)]
    assert len(controls) > 40
    for control in controls:
        assert control.objectName().startswith("lab."), control
        written = control.text() if isinstance(control, QAbstractButton) else ""
        assert control.accessibleName() or written, control.objectName()


def test_a_frame_without_new_pictures_keeps_those_of_before(lab: Driven) -> None:
    before = lab.plane("teacher").flow
    lab.lab.control("pause")
    lab.studio.answer(pictures={})
    assert lab.plane("teacher").flow is before
    assert msgspec.structs.asdict(lab.lab.frame)["pictures"] == {}


def test_no_change_is_sent_for_what_only_the_studio_shows(lab: Driven) -> None:
    before = sum(isinstance(request, ChangeLab) for request in lab.studio.asked)
    lab.press(Qt.Key.Key_Right)
    lab.click("lab.contours")
    assert sum(isinstance(request, ChangeLab) for request in lab.studio.asked) == before
