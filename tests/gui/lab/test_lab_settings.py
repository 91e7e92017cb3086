"""The settings of the lab change the state and the flows in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QSlider

from nfkd.protocol.lab import ChangeLab
from nfkd_gui.model.lesson_parts import value_at
from nfkd_gui.panels.lab_data import DataThumb, LabData
from nfkd_gui.panels.lab_dialogs import ColumnsDialog, DrawDialog
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.message_cell import MessageCell
from nfkd_gui.widgets.number_box import NumberBox
from nfkd_gui.widgets.number_slider import NumberSlider
from tests.gui.lab.lab_driver import Driven
from tests.gui.pixels import channels


def changes(lab: Driven) -> int:
    return sum(isinstance(request, ChangeLab) for request in lab.studio.asked)


def write(lab: Driven, path: str, text: str) -> None:
    line = lab.find(f"lab.{path}.number", NumberBox).findChild(QLineEdit)
    line.selectAll()
    lab.qtbot.keyClicks(line, text)
    lab.press(Qt.Key.Key_Return, line)


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


def test_a_typed_number_counts_at_return_or_when_the_field_is_left(lab: Driven) -> None:
    path, sent = "training.student_examples", changes(lab)
    line = lab.find(f"lab.{path}.number", NumberBox).findChild(QLineEdit)
    with lab.qtbot.waitActive(lab.view):
        lab.view.activateWindow()
    line.setFocus()
    line.selectAll()
    lab.qtbot.keyClicks(line, "120")
    lab.press(Qt.Key.Key_Right)  # elsewhere: it does not disturb the typing
    assert (line.text(), changes(lab), value_at(lab.lab.state, path)) == ("120", sent, 100)
    lab.press(Qt.Key.Key_Return, line)
    assert (changes(lab), value_at(lab.lab.state, path)) == (sent + 1, 120)
    lab.press(Qt.Key.Key_Up, line)
    assert value_at(lab.lab.state, path) == 121
    line.selectAll()
    lab.qtbot.keyClicks(line, "90")
    lab.find("lab.position").setFocus()
    lab.studio.answer()
    assert (changes(lab), value_at(lab.lab.state, path)) == (sent + 3, 90)


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


def test_a_teacher_that_is_trained_together_with_the_students(lab: Driven) -> None:
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
    red, green, _blue = channels(picture).transpose(2, 0, 1)
    assert (abs(green - wanted.green()) + abs(red - wanted.red()) < 40).sum() > 50
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


def columns_file(folder: Path, count: int) -> tuple[Path, np.ndarray]:
    values = np.random.default_rng(0).normal(size=(300, count)) * np.arange(1, count + 1)
    path = folder / f"{count}.csv"
    names = ",".join("abcdef"[:count])
    np.savetxt(path, values, delimiter=",", header=names, comments="")
    return path, values


def test_of_a_file_with_more_columns_two_are_chosen(lab: Driven, tmp_path: Path) -> None:
    path, values = columns_file(tmp_path, 4)
    lab.view.settings.data.read(str(path))
    lab.studio.answer()
    dialog = lab.view.findChild(ColumnsDialog)
    assert dialog is not None
    assert lab.lab.state.lab.points == ()
    first, second = (lab.find(f"lab.columns.feature_{axis}", QComboBox) for axis in "xy")
    second.setCurrentIndex(0)
    assert not dialog.use.isEnabled()
    first.setCurrentIndex(3)
    second.setCurrentIndex(1)
    dialog.use.click()
    lab.studio.answer()
    wanted = values[:, [3, 1]]
    scaled_rows = (wanted - wanted.mean(axis=0)) / wanted.std(axis=0)
    for axis in (0, 1):
        points = np.array(lab.lab.state.lab.points)[:, axis]
        np.testing.assert_allclose(np.sort(points), np.sort(scaled_rows[:, axis]), atol=1e-4)
    assert lab.text("lab.own_points") == "300 of 300 rows; d and b"
    lab.click("lab.data.rings")
    assert not lab.find("lab.own_points").isVisible()


def test_a_file_that_does_not_fit_is_explained(lab: Driven, tmp_path: Path) -> None:
    before = lab.lab.state
    cell = lab.view.settings.data.parentWidget()
    assert isinstance(cell, MessageCell)
    lab.view.settings.data.read(str(columns_file(tmp_path, 1)[0]))
    lab.studio.answer()
    assert cell.message == "Gives 1 value a row: the lab needs two columns"
    lab.view.settings.data.read(str(tmp_path / "missing.csv"))
    assert "Not a table" in cell.message
    assert lab.lab.state == before


def test_a_late_file_does_not_replace_data_that_was_chosen_meanwhile(lab: Driven, tmp_path: Path) -> None:
    lab.view.settings.data.read(str(columns_file(tmp_path, 2)[0]))
    lab.lab.set_values({"data.kind": "rings"})
    lab.studio.answer()
    assert (lab.lab.state.data.kind, lab.lab.state.lab.points) == ("rings", ())


def test_thumbnails_that_a_lost_engine_did_not_give_are_asked_for_again(lab: Driven) -> None:
    data = LabData(lab.lab, lab.studio, lab.view)
    data.ask()
    lab.studio.waiting.clear()  # the engine is lost
    data.ask()
    lab.studio.answer()
    empty = DataThumb("rings", lab.view)
    for thumb in (empty, data.thumbs["rings"]):
        thumb.resize(64, 66)
    assert data.thumbs["rings"].grab().toImage() != empty.grab().toImage()


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


def test_the_last_drawing_is_kept_while_other_data_is_chosen(lab: Driven) -> None:
    points = [[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]
    lab.lab.set_values({"data.kind": "drawn", "data.points": points})
    lab.studio.answer()
    lab.click("lab.data.rings")
    lab.click("lab.data.drawn")
    dialog = lab.view.findChild(DrawDialog)
    assert dialog is not None
    assert [list(point) for point in dialog.box.canvas.points] == points
    dialog.use.click()
    lab.studio.answer()
    assert np.array(lab.lab.state.data.points).tolist() == points


def test_what_has_no_effect_is_off_and_says_why(lab: Driven, tmp_path: Path) -> None:
    noise, new_points = lab.find("lab.data.noise"), lab.find("lab.new_points")
    assert noise.isEnabled()
    assert new_points.isEnabled()
    lab.view.settings.data.read(str(columns_file(tmp_path, 2)[0]))
    lab.studio.answer()
    write(lab, "training.student_examples", "0")
    assert not noise.isEnabled()
    assert noise.toolTip() == lab.find("lab.data.noise.slider").toolTip() == "Own points get no noise."
    assert not new_points.isEnabled()
    assert new_points.toolTip().startswith("The students see all points")


def test_a_number_of_layers_that_is_not_offered_has_a_segment(lab: Driven) -> None:
    assert not lab.find("lab.depth.other").isVisible()
    lab.lab.set_values({"student.steps": 5})
    lab.studio.answer()
    other = lab.find("lab.depth.other", QAbstractButton)
    assert (other.isVisible(), other.isChecked(), other.text()) == (True, True, "5")
    lab.click("lab.depth.2")
    assert lab.lab.state.student.steps == 2
    assert not other.isVisible()


def test_each_segment_says_what_it_does(lab: Driven) -> None:
    tips = {name: lab.find(f"lab.speed.{name}").toolTip() for name in ("slow", "normal", "quick", "full")}
    assert [tips[name].split()[0] for name in ("slow", "normal", "quick")] == ["2", "20", "80"]
    assert "all from the same noise" in lab.find("lab.show.samples").toolTip()


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
