"""The settings of the lab change the state and the flows in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLineEdit, QSlider

from nfkd.protocol.lab import ChangeLab
from nfkd_gui.panels.lab_data import DrawDialog
from nfkd_gui.panels.lab_settings import value_at
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.number_box import NumberBox
from nfkd_gui.widgets.number_slider import NumberSlider
from tests.gui.lab.lab_driver import Driven


def changes(lab: Driven) -> int:
    return sum(isinstance(request, ChangeLab) for request in lab.studio.asked)


def write(lab: Driven, path: str, text: str) -> None:
    line = lab.find(f"lab.{path}.number", NumberBox).findChild(QLineEdit)
    line.selectAll()
    lab.qtbot.keyClicks(line, text)
    lab.studio.answer()


@pytest.mark.parametrize(
    "path", ["training.student_examples", "distillation.pool.share", "training.learning_rate", "monitor.temperature"]
)
def test_a_slider_by_keyboard_changes_the_state_and_the_engine(lab: Driven, path: str) -> None:
    before = value_at(lab.lab.state, path)
    slider = lab.find(f"lab.{path}.slider", QSlider)
    slider.setFocus()
    lab.press(Qt.Key.Key_PageDown if before >= 0.9 and path.endswith("share") else Qt.Key.Key_PageUp, slider)
    after = value_at(lab.lab.state, path)
    assert after != before
    assert value_at(lab.studio.flows.config, path) == after
    assert lab.find(f"lab.{path}.number", NumberBox).value() == after


def test_rates_and_weights_change_between_two_steps_and_points_start_the_students_anew(lab: Driven) -> None:
    lab.train(3)
    write(lab, "training.learning_rate", "0.01")
    write(lab, "distillation.lkd.weight", "0.5")
    assert lab.studio.flows.steps_of()["student"] == 4
    write(lab, "training.student_examples", "60")
    assert lab.studio.flows.steps_of()["student"] == 0
    assert len(lab.lab.info.points) == 60


@pytest.mark.parametrize(
    ("path", "wrong"),
    [("training.learning_rate", "fast"), ("training.student_examples", "-5"), ("distillation.pool.share", "2")],
)
def test_a_wrong_value_is_explained_below_its_field_and_changes_nothing(lab: Driven, path: str, wrong: str) -> None:
    state, sent = lab.lab.state, changes(lab)
    cell = lab.view.settings.rows[path]
    height = cell.height()
    write(lab, path, wrong)
    assert cell.message.startswith("Must be ")
    assert (lab.lab.state, changes(lab), cell.height()) == (state, sent, height)
    write(lab, path, "0.5" if path != "training.student_examples" else "50")
    assert cell.message == ""
    assert value_at(lab.lab.state, path) == (50 if path == "training.student_examples" else 0.5)


def test_one_term_alone(lab: Driven) -> None:
    lab.click("lab.only.skd")
    weights = {name: term.weight for name, term in lab.studio.flows.config.distillation.terms().items()}
    assert {name for name, weight in weights.items() if weight} == {"skd"}
    assert lab.find("lab.distillation.nll.weight.number", NumberBox).value() == 0


def test_a_teacher_that_learns_along(lab: Driven) -> None:
    lab.click("lab.teacher.together")
    lab.train(2)
    assert lab.studio.flows.steps_of()["teacher"] == 2
    lab.click("lab.teacher.trained")
    assert lab.lab.frame.phase == "students"


def test_new_points_and_new_seed(lab: Driven) -> None:
    points = lab.lab.info.points
    lab.click("lab.new_seed")
    assert lab.studio.flows.config.lab.repeat == 1
    assert lab.studio.flows.phase == "students", "the teacher is kept"
    lab.click("lab.new_points")
    assert not np.array_equal(lab.lab.info.points, points)


def test_reset_opens_the_first_state(lab: Driven) -> None:
    write(lab, "monitor.temperature", "0.3")
    lab.lab.control("pause")
    lab.view.settings.back.click()
    assert lab.lab.state == type(lab.lab.state).first()


# --- data -------------------------------------------------------------------------------------------------------------


def test_the_thumbnails_show_the_data_and_choose_it(lab: Driven) -> None:
    thumb = lab.find("lab.data.rings")
    picture = thumb.grab().toImage()
    wanted = QColor(role_colour("data"))
    pixels = [picture.pixelColor(x, y) for x in range(picture.width()) for y in range(picture.height())]
    assert sum(abs(pixel.green() - wanted.green()) + abs(pixel.red() - wanted.red()) < 40 for pixel in pixels) > 50
    lab.click("lab.data.rings")
    assert lab.lab.state.data.kind == "rings"
    assert thumb.isChecked()
    assert not lab.find("lab.data.pinwheel").isChecked()


def test_the_points_of_a_file_replace_the_data(lab: Driven, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(300, 2)) * (5, 1) + (100, 0)
    path = tmp_path / "own.csv"
    np.savetxt(path, values, delimiter=",", header="a,b", comments="")
    lab.view.settings.data.read(str(path))
    lab.studio.answer()
    points = np.array(lab.lab.state.lab.points)
    assert points.shape == (300, 2)
    np.testing.assert_allclose(points.std(axis=0), 1, atol=0.01)  # scaled: the ends of the axes do not matter
    scaled_rows = (values - values.mean(axis=0)) / values.std(axis=0)
    np.testing.assert_allclose(np.sort(points[:, 0]), np.sort(scaled_rows[:, 0]), atol=1e-4)
    assert lab.find("lab.data.own").isChecked()
    lab.click("lab.data.pinwheel")
    assert lab.lab.state.lab.points == ()


def test_a_file_that_does_not_fit_is_explained(lab: Driven, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(300, 3)), delimiter=",", header="a,b,c", comments="")
    before = lab.lab.state
    messages: list[str] = []
    lab.view.settings.data.failed.connect(messages.append)
    lab.view.settings.data.read(str(path))
    lab.studio.answer()
    assert messages[-1].startswith("Gives 3 values a row: choose two columns")
    assert lab.lab.state == before
    lab.view.settings.data.read(str(tmp_path / "missing.csv"))
    assert "Not a table" in messages[-1]


def test_a_drawing_becomes_the_data(lab: Driven) -> None:
    lab.click("lab.data.drawn")
    dialog = lab.view.findChild(DrawDialog)
    assert dialog is not None
    assert not dialog.use.isEnabled()
    line = dialog.box.line
    line.setFocus()
    lab.qtbot.keyClicks(line, "0 1; 1 0; -1 0")
    dialog.use.click()
    lab.studio.answer()
    assert lab.lab.state.data.kind == "drawn"
    assert np.array(lab.lab.state.data.points).tolist() == [[0, 1], [1, 0], [-1, 0]]


# --- the slider -------------------------------------------------------------------------------------------------------


def test_equal_steps_of_a_logarithmic_slider_are_equal_factors(qtbot: object) -> None:
    slider = NumberSlider(0.001, 1.0, logarithmic=True)
    qtbot.addWidget(slider)  # type: ignore[attr-defined]
    slider.set_value(1.0)
    values = []
    for position in (0, 50, 100, 150, 200):
        slider.slider.setValue(position)
        values.append(float(slider.value()))
    slider.slider.setValue(0)
    np.testing.assert_allclose(np.diff(np.log10(values[1:])), 0.75, atol=0.03)
    assert values[-1] == 1.0


def test_the_slider_takes_numbers_beyond_its_ends_and_keeps_wrong_text(qtbot: object) -> None:
    slider = NumberSlider(30, 4000, logarithmic=True, whole=True)
    qtbot.addWidget(slider)  # type: ignore[attr-defined]
    slider.set_value(9000)
    assert (slider.value(), slider.slider.value()) == (9000, slider.slider.maximum())
    slider.set_value(0)
    assert (slider.value(), slider.slider.value()) == (0, 0)
    slider.number.set_value("many")
    assert slider.value() == "many"
