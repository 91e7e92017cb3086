"""The form: editors for all fields, problems at their fields, folding, undo, keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.protocol.requests import Describe
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.fields import Section, Value, Variants, describe_model
from nfkd_gui.model.studio import Studio
from tests.gui.forms.driver import choose, editor, message, value_paths, write


def found(widget: QWidget, kind: type, name: str) -> Any:
    child = widget.findChild(kind, name)
    assert child is not None, name
    return child


def editor_name(widget: QWidget) -> str:
    """Return the name of a widget or, for the line of an editor, of the editor."""
    parent = widget.parentWidget()
    return widget.objectName() or (parent.objectName() if parent is not None else "")


def test_every_field_has_an_editor_with_name_help_and_label(form: ExperimentForm) -> None:
    for field in describe_model(ExperimentConfig):
        if isinstance(field, Variants):
            for tag in field.members:  # the fields of a kind are made when it is first chosen
                choose(form, field.choice.path, tag)
    buddies = {label.buddy().objectName() for label in form.findChildren(QLabel) if label.buddy() is not None}
    for path in value_paths(ExperimentConfig):
        widget = form.findChild(QWidget, path)
        assert isinstance(widget, QWidget)
        assert widget.accessibleName(), path
        assert widget.toolTip(), path
        assert path in buddies


def test_fields_have_bounds_units_choices_and_variants() -> None:
    fields = {field.name: field for field in describe_model(ExperimentConfig)}
    teacher, training = fields["teacher"], fields["training"]
    assert isinstance(teacher, Variants)
    assert {"glow", "glow1d"} <= set(teacher.members)
    levels = next(field for field in teacher.members["glow"] if field.name == "levels")
    assert isinstance(levels, Value)
    assert (levels.kind, levels.bounds, levels.path) == ("integer", "1 to 6", "teacher.levels")
    assert isinstance(training, Section)
    rate = next(field for field in training.fields if field.name == "learning_rate")
    assert isinstance(rate, Value)
    assert (rate.kind, rate.bounds) == ("number", "above 0, at most 1")
    batch = next(field for field in training.fields if field.name == "batch_size")
    assert isinstance(batch, Value)
    assert batch.unit == "examples"


def test_tab_goes_from_a_kind_to_its_fields_and_on_to_the_next_section(form: ExperimentForm, qtbot: QtBot) -> None:
    form.activateWindow()
    qtbot.waitActive(form)
    choose(form, "student.kind", "maf")
    kind = editor(form, "student.kind")
    kind.setFocus()
    assert form.focusWidget() is kind
    reached = [kind.objectName()]
    while not reached[-1].startswith("distillation") and len(reached) < 40:
        QTest.keyClick(form.focusWidget(), Qt.Key.Key_Tab)
        focus = form.focusWidget()
        reached.append(editor_name(focus))
    fields = [name for name in reached if name.startswith("student.") and not name.endswith(".advanced")]
    config = ExperimentConfig.load("maf_moons").student
    shown = {f"student.{name}" for name in type(config).model_fields}
    assert set(fields) <= shown
    assert {"student.kind", "student.steps", "student.hidden"} <= set(fields)


def test_the_form_does_not_change_a_preset(form: ExperimentForm, ready: Studio) -> None:
    for preset in ("digits", "two_moons"):
        ready.experiment.open(preset)
        assert ExperimentConfig.from_dict(form.document()) == ExperimentConfig.load(preset)


def test_typed_values_are_in_the_experiment(form: ExperimentForm, ready: Studio) -> None:
    write(form, "student.hidden", "48")
    write(form, "training.learning_rate", "2e-4")
    choose(form, "training.optimizer", "adamax")
    config = ready.experiment.config
    assert config is not None
    assert (config.student.hidden, config.training.learning_rate, config.training.optimizer) == (48, 2e-4, "adamax")
    assert ready.experiment.dirty


def test_another_kind_has_its_own_fields_and_the_old_values_are_kept(form: ExperimentForm, ready: Studio) -> None:
    choose(form, "data.kind", "two_moons")
    write(form, "data.count", "500")
    assert ready.experiment.document["data"]["count"] == 500
    choose(form, "data.kind", "digits")
    assert "count" not in ready.experiment.document["data"]
    choose(form, "data.kind", "two_moons")
    assert ready.experiment.document["data"]["count"] == 500


def test_a_validation_error_is_shown_below_its_editor_until_it_is_fixed(form: ExperimentForm, ready: Studio) -> None:
    write(form, "student.hidden", "0")
    assert "at least 1" in message(form, "student.hidden")
    assert not ready.experiment.may_run
    write(form, "student.hidden", "many")
    assert "whole number" in message(form, "student.hidden")
    write(form, "student.hidden", "16")
    assert message(form, "student.hidden") == ""


def test_a_long_text_shows_whole_lines(form: ExperimentForm) -> None:
    box = editor(form, "description")
    box.set_value("\n".join("abcdef"))
    lines = (box.viewport().height() - box.document().documentMargin()) / box.fontMetrics().lineSpacing()
    assert lines == pytest.approx(3, abs=0.1)


def test_problems_of_hidden_fields_are_shown(form: ExperimentForm, ready: Studio) -> None:
    document = form.document()
    document["seeds"]["count"] = 0
    document["training"]["checkpoint_every"] = -3
    ready.experiment.replace(document)
    assert message(form, "seeds.count")
    assert editor(form, "training.checkpoint_every").isVisible()
    assert "(given: -3)" in message(form, "training.checkpoint_every")


def test_a_problem_of_a_section_is_shown_in_the_section(form: ExperimentForm, ready: Studio) -> None:
    for term in ("nll", "lkd", "ilkd", "skd"):
        write(form, f"distillation.{term}.weight", "0")
    shown = [label.text() for label in form.findChildren(QLabel) if not label.isHidden()]
    assert any("All weights are zero" in text for text in shown)


def test_unknown_keys_are_shown_and_kept_until_the_user_removes_them(
    form: ExperimentForm, ready: Studio, tmp_path: Path, qtbot: QtBot
) -> None:
    path = tmp_path / "odd.toml"
    text = ExperimentConfig.load("digits").to_toml().replace("[student]", "[student]\nwidht = 3")
    path.write_text(text)
    ready.experiment.open(path)
    unknown = form.findChild(QWidget, "unknown_fields")
    assert isinstance(unknown, QWidget)
    assert unknown.isVisible()
    assert "student.widht" in unknown.findChildren(QLabel)[0].text()
    assert not ready.experiment.may_run
    write(form, "student.hidden", "8")
    assert ready.experiment.document["student"]["widht"] == 3
    qtbot.mouseClick(unknown.remove, Qt.MouseButton.LeftButton)  # type: ignore[attr-defined]
    assert "widht" not in ready.experiment.document["student"]
    assert ready.experiment.config is not None
    assert not unknown.isVisible()


def test_the_engines_problems_are_at_their_fields_and_its_estimate_below(
    form: ExperimentForm, ready: Studio, described: Callable[[], None]
) -> None:
    described()
    assert ready.experiment.may_run
    text = " ".join(label.text() for label in form.estimate.findChildren(QLabel))
    for figure in ("120 k", "12.0 k", "10.0 : 1", "30 MiB", "Matching: 1 pair (paper)", "1,259 train", "Ready to run"):
        assert figure in text
    write(form, "student.hidden", "2000")
    assert not ready.experiment.is_checked
    described()
    assert message(form, "student.hidden") == "Needs more memory than there is"
    assert not ready.experiment.may_run


def test_fast_typing_sends_one_request(
    form: ExperimentForm, ready: Studio, script: Any, do: Callable[[Any], Any], until: Callable[[Any], Any]
) -> None:
    async def wait() -> None:
        while ready.experiment.description is None:
            await until(ready.experiment.checked)

    do(wait())
    script.asked.clear()
    for text in ("1", "12", "128"):
        write(form, "student.hidden", text)
    do(wait())
    asked = [
        ExperimentConfig.from_toml(request.config).student.hidden
        for request in script.asked
        if isinstance(request, Describe)
    ]
    assert asked == [128]


def test_undo_and_redo_of_fields(form: ExperimentForm, ready: Studio) -> None:
    write(form, "student.hidden", "48")
    choose(form, "training.optimizer", "adamax")
    form.undo_stack.undo()
    assert ready.experiment.document["training"]["optimizer"] == "adamw"
    form.undo_stack.undo()
    assert ready.experiment.document["student"]["hidden"] == 64
    assert editor(form, "student.hidden").value() == 64
    form.undo_stack.redo()
    assert ready.experiment.document["student"]["hidden"] == 48


def test_tab_visits_the_fields_and_scrolls_to_them(form: ExperimentForm, qtbot: QtBot) -> None:
    form.activateWindow()
    first = editor(form, "name")
    first.setFocus()
    qtbot.waitUntil(first.hasFocus)
    visited = set()
    for _ in range(40):
        QTest.keyClick(form.focusWidget(), Qt.Key.Key_Tab)
        focus = form.focusWidget()
        visited.add(editor_name(focus))
        assert not focus.visibleRegion().isEmpty()
    assert {"description", "data.kind", "teacher.levels", "student.hidden", "distillation.nll.weight"} <= visited


def test_an_older_field_is_converted_and_shown_until_the_first_edit(
    form: ExperimentForm, ready: Studio, described: Callable[[], None]
) -> None:
    document = ExperimentConfig.load("digits").model_dump(mode="python")
    del document["distillation"]["inherit"]
    document["distillation"]["matching"]["inherit_permutation"] = True
    ready.experiment.replace(document)
    assert editor(form, "distillation.inherit").currentData() == "mixing"
    assert form.document()["distillation"]["inherit"] == "mixing"
    described()
    description = ready.experiment.description
    assert description is not None
    assert ["inherit_permutation" in warning.message for warning in description.warnings].count(True) == 1
    choose(form, "distillation.inherit", "none")
    described()
    description = ready.experiment.description
    assert description is not None
    assert not any("inherit_permutation" in warning.message for warning in description.warnings)
