"""Messages move no field, no field is shown without effect, and no text of another library reaches the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QApplication, QLineEdit, QWidget

from nfkd.config import ConfigError, ExperimentConfig
from nfkd.config.data import TableConfig
from nfkd.config.flows import JetConfig
from nfkd_gui.forms.effects import has_effect, value_at
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.fields import LISTS, Field, Section, Value, Variants, describe_model
from nfkd_gui.model.studio import Studio
from nfkd_gui.widgets.message_cell import MessageCell
from tests.gui.forms.driver import choose, editor, message, value_paths, write


def places(form: ExperimentForm) -> dict[str, QPoint]:
    """Return where each visible field is, by its path, once all layouts are done."""
    found, before = _places(form), None
    while found != before:
        QApplication.sendPostedEvents()
        QApplication.processEvents()
        found, before = _places(form), found
    return found


def _places(form: ExperimentForm) -> dict[str, QPoint]:
    fields = {path: form.findChildren(QWidget, path) for path in value_paths(ExperimentConfig)}
    return {
        path: widget.mapTo(form, QPoint(0, 0))
        for path, widgets in fields.items()
        for widget in widgets
        if widget.isVisible()
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("name", "a/b"),
        ("data.test_fraction", "0.9"),
        ("teacher.levels", "x"),
        ("distillation.nll.weight", "x"),
        ("distillation.lkd.schedule_span", "7"),
        ("distillation.pool.size", "-1"),
        ("distillation.matching.pairs.0.weight", "much"),
        ("training.learning_rate", ""),
        ("seeds.first", "9999999999999"),
    ],
)
def test_a_message_moves_no_field(form: ExperimentForm, described: Callable[[], None], path: str, text: str) -> None:
    described()  # else the matched layers may be shown between the two looks
    form.resize(360, 700)
    if "schedule" in path:
        form.open_field("distillation.lkd.schedule")
        choose(form, "distillation.lkd.schedule", "cosine")
    if "pairs" in path:
        document = form.document()
        pair = {"student": "level1.step1", "teacher": "level1.step1", "weight": 1.0}
        document["distillation"]["matching"] = {"strategy": "pairs", "pairs": [pair]}
        form._experiment.replace(document)
    form.open_field(path)
    before = places(form)
    assert len(before) > 1
    line = editor(form, path).findChild(QLineEdit) or editor(form, path)
    line.setFocus()
    line.clear()
    line.textEdited.emit("")
    write(form, path, text)
    assert message(form, path) or message(form, path.rpartition(".")[0])
    assert places(form) == before


def test_a_long_message_is_cut_and_its_field_is_marked(form: ExperimentForm) -> None:
    form.resize(360, 700)
    form.open_field("training.learning_rate")
    write(form, "training.learning_rate", "a" * 200)
    [cell] = form.findChildren(MessageCell, "training.learning_rate.message")
    assert cell.visible_message().endswith("…")
    assert cell.editor.property("wrong")
    assert cell.editor.accessibleDescription() == cell.message
    write(form, "training.learning_rate", "0.1")
    assert not cell.editor.property("wrong")
    assert not cell.message


# --- fields without effect -----------------------------------------------------------------------------------------


def is_shown(form: ExperimentForm, path: str) -> bool:
    return any(widget.isVisible() for widget in form.findChildren(QWidget, path))


def test_a_field_is_hidden_while_it_has_no_effect_and_keeps_its_value(form: ExperimentForm, ready: Studio) -> None:
    form.open_field("training.optimizer")  # with the advanced fields
    choose(form, "training.optimizer", "adamw")
    write(form, "training.weight_decay", "0.3")
    choose(form, "training.optimizer", "adam")
    assert not is_shown(form, "training.weight_decay")
    assert ready.experiment.document["training"]["weight_decay"] == 0.3
    choose(form, "training.teacher_optimizer", "adamw")
    assert is_shown(form, "training.weight_decay")
    choose(form, "training.teacher_optimizer", "same")
    assert not is_shown(form, "training.assistant_steps")
    form.open_field("training.assistant_steps")
    assert is_shown(form, "training.assistant_steps")  # asked for


def test_a_field_with_a_problem_is_shown_although_it_has_no_effect(form: ExperimentForm, ready: Studio) -> None:
    form.show_section("training")
    document = form.document()
    document["training"] |= {"optimizer": "adam", "weight_decay": 7.0}
    ready.experiment.replace(document)
    assert message(form, "training.weight_decay")
    assert is_shown(form, "training.weight_decay")


def test_effects_of_siblings_of_other_sections_and_of_numbers() -> None:
    fields = {field.path: field for field in values(describe_model(ExperimentConfig))}
    document: dict[str, Any] = ExperimentConfig.load("digits").model_dump(mode="json")

    def effect(path: str, **changes: Any) -> bool:
        for other, value in changes.items():
            section, _, name = other.partition("__")
            document[section] = document[section] | {name: value} if name else value
        return has_effect(fields[path], document)

    assert not effect("distillation.lkd.schedule_end")
    assert effect("training.teacher_steps")
    assert not effect("training.teacher_steps", training__teacher_weights="/runs/digits")
    assert not effect("training.ablations", distillation__inherit="none")
    assert effect("training.ablations", distillation__inherit="blocks")
    assert not effect("seeds.retrain_teacher", seeds__count=1)
    assert effect("seeds.retrain_teacher", seeds__count=2)
    assert effect("seeds.retrain_teacher", seeds__count="x")
    assert not effect("training.assistant_steps", assistants=[])
    assert effect("training.assistant_steps", assistants=[{"kind": "glow"}])


@pytest.mark.parametrize(
    ("data", "shown"), [("digits", "patch"), ("image_stack", "patch"), ("table", "token"), ("two_moons", "token")]
)
def test_tokens_of_a_transformer_are_patches_or_features(data: str, shown: str) -> None:
    model = ExperimentConfig.load("digits", ["teacher.kind=tarflow", "student.kind=tarflow"])
    document = model.model_dump(mode="json") | {"data": {"kind": data}}
    effects = {
        field.path: has_effect(field, document)
        for field in values(describe_model(ExperimentConfig))
        if field.path.endswith((".patch", ".token")) and field.needs
    }
    assert effects == {
        f"{flow}.{name}": name == shown for flow in ("teacher", "student") for name in ("patch", "token")
    }


def test_every_rule_names_fields_that_exist() -> None:
    digits = ExperimentConfig.load("digits").model_dump(mode="json")
    jet = dict.fromkeys(("teacher", "student"), JetConfig().model_dump(mode="json"))
    documents = (digits, digits | {"data": TableConfig().model_dump(mode="json")}, digits | jet)
    known = {path for field in values(describe_model(ExperimentConfig)) for rule in field.needs for path in rule}
    assert len(known) > 10
    assert all(any(value_at(document, path) is not None for document in documents) for path in known)


# --- the words of messages -----------------------------------------------------------------------------------------


def values(fields: tuple[Field, ...]) -> list[Value]:
    found: list[Value] = []
    for field in fields:
        match field:
            case Value():
                found.append(field)
            case Section():
                found += values(field.fields)
            case Variants():
                found += values((field.choice, *(item for group in field.members.values() for item in group)))
            case _:
                pass
    return found


def problems(digits: ExperimentConfig, path: str, value: Any, kind: str = "") -> list[str]:
    document: dict[str, Any] = digits.model_dump(mode="json")
    *parents, last = path.split(".")
    section: Any = document
    for name in parents:
        section = section[name]
    if kind:
        section.clear()
        section["kind"] = kind
    section[last] = value
    try:
        ExperimentConfig.from_dict(document)
    except ConfigError as error:
        return [problem.message for problem in error.problems if problem.path == path]
    return []


@pytest.mark.parametrize("value", ["", " ", "abc", 1.5, [], ["x"], {}, True, None, 10**30], ids=repr)
def test_no_field_shows_the_text_of_a_library(value: Any) -> None:
    sections = {field.name: field for field in describe_model(ExperimentConfig)}
    kinds = {
        item.path: tag
        for name in ("data", "teacher", "student")
        for tag, members in getattr(sections[name], "members", {}).items()
        for item in members
    }
    digits, reported = ExperimentConfig.load("digits"), 0
    for field in values(tuple(sections.values())):
        for text in problems(digits, field.path, value, kinds.get(field.path, "")):
            reported += 1
            assert "Input" not in text, (field.path, text)
            assert "valid" not in text, (field.path, text)
            assert text == text.strip() != "", field.path
            if value == "" and field.kind in {"integer", "number", "share"}:
                assert text in {"is empty; it must be a whole number", "is empty; it must be a number"}
            if value == "abc" and field.kind in {"integer", "number", "share"}:
                assert text.endswith("number (given: 'abc')"), (field.path, text)
            if value == "abc" and field.kind in LISTS:
                assert text.startswith("must be a list"), (field.path, text)
    assert reported > 20
