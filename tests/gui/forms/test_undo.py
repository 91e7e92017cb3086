"""Names of the steps for undo."""

from __future__ import annotations

import pytest

from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.undo import change_name
from tests.gui.forms.driver import choose, write


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("distillation.lkd.weight", "Change weight of LKD"),
        ("teacher.actnorm", "Change ActNorm of teacher"),
        ("data.kind", "Change data set"),
        ("data", "Change data set"),
        ("name", "Change name"),
        ("assistants", "Change assistants"),
        ("assistants.1.hidden", "Change hidden channels of assistant 2"),
        ("training.ema_decay", "Change weight averaging of training"),
    ],
)
def test_a_step_is_named_after_the_field(path: str, name: str) -> None:
    assert change_name(path) == name


def test_the_form_names_its_steps(form: ExperimentForm) -> None:
    write(form, "training.student_steps", "7")
    assert form.undo_stack.undoText() == "Change student steps of training"
    choose(form, "training.optimizer", "adamax")
    assert form.undo_stack.undoText() == "Change optimizer of training"
    form.undo_stack.undo()
    assert form.undo_stack.redoText() == "Change optimizer of training"
    form.pairs.converted.emit()
    assert form.undo_stack.undoText() == "Edit pairs"
