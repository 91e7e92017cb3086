"""The loss as a table: rows, adding and removing terms, unfolding, curves, gradient shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCheckBox, QLabel, QMenu, QPushButton, QSlider, QWidget

from nfkd.config import DistillationConfig, ExperimentConfig
from nfkd.config.problems import ConfigProblem
from nfkd.protocol import events
from nfkd.protocol.records import CurveBatch
from nfkd.protocol.times import StageTime, TimeEstimate
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.fields import all_fields
from nfkd_gui.forms.loss_section import LossSection
from nfkd_gui.forms.term_row import TermRow
from nfkd_gui.model.gradient_shares import GradientShares
from nfkd_gui.model.studio import Studio
from tests.gui.forms.driver import choose, click, editor, message, write

TERMS = list(DistillationConfig().terms())
DIGITS = ["nll", "lkd", "ilkd"]


def child(form: ExperimentForm, kind: type, name: str) -> Any:
    found = form.findChild(kind, name)
    assert found is not None, name
    return found


def loss(form: ExperimentForm) -> LossSection:
    [section] = [box.node for box in form._sections if isinstance(box.node, LossSection)]
    return section


def row(form: ExperimentForm, term: str) -> TermRow:
    return loss(form).terms[term].row


def shown(form: ExperimentForm) -> list[str]:
    return [term for term in TERMS if row(form, term).isVisible()]


def unfolded(form: ExperimentForm) -> list[str]:
    return [term for term in TERMS if loss(form).terms[term].details.isVisible()]


def add(form: ExperimentForm, term: str) -> None:
    menu = child(form, QMenu, "distillation.terms")
    [action] = [action for action in menu.actions() if action.data() == term]
    action.trigger()


def text(form: ExperimentForm, name: str) -> str:
    return child(form, QLabel, name).text()


def test_only_terms_with_a_weight_are_rows_and_the_others_are_in_the_menu(form: ExperimentForm) -> None:
    form.show_section("distillation")
    assert shown(form) == DIGITS
    menu = child(form, QMenu, "distillation.terms")
    assert [action.data() for action in menu.actions()] == [term for term in TERMS if term not in DIGITS]
    meanings = {action.data(): action.text() for action in menu.actions()}
    assert meanings["skd"].startswith("SKD – Difference of samples that student and teacher make")


def test_a_term_is_added_unfolded_with_a_sensible_weight_and_removed_as_named_steps(
    form: ExperimentForm, ready: Studio
) -> None:
    form.show_section("distillation")
    add(form, "score")
    assert shown(form) == [*DIGITS, "score"]
    assert unfolded(form) == ["score"]
    assert ready.experiment.document["distillation"]["score"]["weight"] == 0.05
    assert form.undo_stack.undoText() == "Add Score"
    write(form, "distillation.score.weight", "0.2")
    assert form.undo_stack.undoText() == "Change weight of score"
    click(form, "distillation.score.remove")
    assert shown(form) == DIGITS
    assert ready.experiment.document["distillation"]["score"]["weight"] == 0
    assert form.undo_stack.undoText() == "Remove Score"
    form.undo_stack.undo()
    assert shown(form) == [*DIGITS, "score"]
    form.undo_stack.undo()
    form.undo_stack.undo()
    assert shown(form) == DIGITS
    assert not loss(form).terms["nll"].details.findChild(QPushButton, "distillation.nll.remove")


def test_a_row_stays_while_its_weight_is_edited(form: ExperimentForm, ready: Studio) -> None:
    form.show_section("distillation")
    write(form, "distillation.lkd.weight", "0")
    assert shown(form) == DIGITS
    write(form, "distillation.lkd.weight", "x")
    assert shown(form) == DIGITS
    write(form, "distillation.lkd.weight", "0")
    ready.experiment.replace(form.document())
    assert shown(form) == ["nll", "ilkd"]


def test_one_row_is_unfolded_at_a_time_with_mouse_and_keyboard(form: ExperimentForm) -> None:
    form.show_section("distillation")
    click(form, "distillation.lkd.unfold")
    assert unfolded(form) == ["lkd"]
    QTest.mouseClick(row(form, "ilkd").plain_name, Qt.MouseButton.LeftButton)
    assert unfolded(form) == ["ilkd"]
    chevron = row(form, "ilkd").chevron
    form.activateWindow()
    chevron.setFocus()
    QTest.keyClick(chevron, Qt.Key.Key_Left)
    assert unfolded(form) == []
    QTest.keyClick(chevron, Qt.Key.Key_Up)
    QTest.keyClick(row(form, "lkd").chevron, Qt.Key.Key_Space)
    assert unfolded(form) == ["lkd"]


def test_every_field_of_the_section_can_be_opened(form: ExperimentForm) -> None:
    for field in all_fields():
        if field.path.startswith("distillation."):
            form.open_field(field.path)
            found = [each for each in form.findChildren(QWidget, field.path) if each.isVisible()]
            assert found, field.path
    assert ExperimentConfig.from_dict(form.document()) == ExperimentConfig.load("digits")


def test_the_head_says_what_the_weights_sum_to_or_what_is_wrong(form: ExperimentForm) -> None:
    form.show_section("distillation")
    assert text(form, "distillation.weights") == "Weights sum to 1.00"
    write(form, "distillation.nll.weight", "1.9")
    assert text(form, "distillation.weights") == "Weights sum to 2.00: divided by their sum"
    for term in DIGITS:
        write(form, f"distillation.{term}.weight", "0")
    assert text(form, "distillation.weights").startswith("All weights are zero")


def test_a_wrong_weight_takes_the_place_of_curve_and_share(form: ExperimentForm) -> None:
    form.show_section("distillation")
    height = row(form, "lkd").height()
    write(form, "distillation.lkd.weight", "-1")
    assert "at least 0" in message(form, "distillation.lkd.weight")
    assert not row(form, "lkd").curve.isVisible()
    assert row(form, "lkd").height() == height
    write(form, "distillation.lkd.weight", "1")
    assert row(form, "lkd").curve.isVisible()


def test_a_problem_inside_unfolds_the_row_of_a_term(
    form: ExperimentForm, script: Any, described: Callable[[], None]
) -> None:
    form.show_section("distillation")
    script.find_problems = lambda _config: [
        ConfigProblem(path="distillation.lkd.schedule_end", message="odd"),
        ConfigProblem(path="distillation.jacobian.weight", message="the teacher does not support it"),
    ]
    described()
    assert unfolded(form) == ["lkd"]
    assert editor(form, "distillation.lkd.schedule_end").isVisible()  # although the schedule is constant
    assert message(form, "distillation.lkd.schedule_end") == "Odd"
    assert shown(form) == [*DIGITS, "jacobian"]
    assert message(form, "distillation.jacobian.weight") == "The teacher does not support it"
    click(form, "distillation.ilkd.unfold")
    assert unfolded(form) == ["lkd", "ilkd"]


def test_the_curve_is_the_weight_over_the_stage(form: ExperimentForm) -> None:
    form.show_section("distillation")
    click(form, "distillation.ilkd.unfold")
    choose(form, "distillation.ilkd.schedule", "cosine")
    write(form, "distillation.ilkd.schedule_span", "0.5")
    curve = np.array(row(form, "ilkd").curve.weights)
    steps = np.linspace(0, 999, len(curve)).round()
    raw = 0.05 * (1 - 0.5 * (1 - np.cos(np.pi * np.minimum(1, steps / 499))))
    np.testing.assert_allclose(curve, raw / (0.95 + raw), atol=1e-12)
    image = row(form, "ilkd").curve.grab().toImage()
    ink = [[image.pixelColor(x, y).lightness() < 100 for y in range(image.height())] for x in range(image.width())]
    first, last = (next(column.index(True) for column in columns if True in column) for columns in (ink, ink[::-1]))
    assert first < 6 < image.height() - 6 < last  # it falls from the top to the bottom


def test_the_pool_has_a_check_box_a_slider_and_a_number(form: ExperimentForm, ready: Studio) -> None:
    form.show_section("distillation")
    use = child(form, QCheckBox, "distillation.pool.use")
    slider = editor(form, "distillation.pool.share").findChild(QSlider)
    assert use.isChecked()
    assert slider.value() == 6
    slider.setValue(10)
    assert ready.experiment.document["distillation"]["pool"]["share"] == 0.5
    QTest.mouseClick(use, Qt.MouseButton.LeftButton, pos=use.rect().center())
    assert ready.experiment.document["distillation"]["pool"]["share"] == 0
    assert form.undo_stack.undoText() == "Remove pool"
    assert not child(form, QWidget, "distillation.pool.size").isVisible()
    write(form, "distillation.pool.share", "0.25")
    assert use.isChecked()
    assert slider.value() == 5


# --- gradient shares -----------------------------------------------------------------------------------------------


def shares_of(form: ExperimentForm) -> dict[str, str]:
    return {term: row(form, term).share.text for term in shown(form)}


def measured(**shares: float) -> TimeEstimate:
    stage = StageTime(stage="student", steps=5, step_seconds=1.0)
    return TimeEstimate(stages=[stage], preparation=0.0, search=0.0, seconds=5.0, seeds=1, shares=shares)


def test_shares_are_those_of_the_estimate_and_then_of_the_run_of_this_experiment(
    form: ExperimentForm, ready: Studio, script: Any, do: Callable[[Any], Any], described: Callable[[], None]
) -> None:
    form.show_section("distillation")
    form.show_shares(GradientShares(ready))
    assert set(shares_of(form).values()) == {"–"}
    script.estimate = measured(nll=0.58, lkd=0.23, ilkd=0.19)
    described()

    async def settle() -> None:
        await ready.clients[-1].settled()  # type: ignore[attr-defined]

    ready.time_estimate.refresh()
    do(settle())
    assert shares_of(form) == {"nll": "58\u00a0%", "lkd": "23\u00a0%", "ilkd": "19\u00a0%"}
    assert "before the run" in text(form, "distillation.shares")

    run = "/runs/digits"
    script.begin(run, ready.experiment.text)
    ready.open_run(run)
    do(settle())
    steps, times = np.array([50, 100]), np.zeros(2)
    for term, values in {"nll": (0.5, 0.6), "lkd": (0.3, 0.3), "ilkd": (0.2, 0.1)}.items():
        batch = CurveBatch(steps=steps, values=np.array(values), times=times)
        script.emit(events.CurvePoints(run=run, seed=1, stage="student", curves={f"share/{term}": batch}))
    do(settle())
    assert shares_of(form) == {"nll": "60\u00a0%", "lkd": "30\u00a0%", "ilkd": "10\u00a0%"}
    assert "step 100" in text(form, "distillation.shares")

    write(form, "distillation.lkd.weight", "0.07")  # another experiment: nothing is known
    assert set(shares_of(form).values()) == {"–"}
    assert math.isnan(row(form, "lkd").share.share)


@pytest.mark.parametrize(("share", "filled"), [(0.0, 0), (0.5, 16), (1.0, 32), (math.nan, 0)])
def test_the_bar_is_filled_by_the_share(form: ExperimentForm, share: float, filled: int) -> None:
    form.show_section("distillation")
    bar = row(form, "lkd").share
    bar.show_share(share)
    image = bar.grab().toImage()
    middle = image.height() // 2
    colours = [image.pixelColor(x, middle).name().upper() for x in range(32)]
    assert colours.count("#5B4FD1") == filled
    assert colours.count("#DFE3E9") == 32 - filled
