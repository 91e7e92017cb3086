"""The form: every field has an editor, what is written is what is run, problems land at their fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from nfkd.config import Config, DistillationConfig, ExperimentConfig
from nfkd.config.base import field
from nfkd.config.problems import ConfigProblem
from nfkd.protocol.requests import Describe
from nfkd_gui.forms.editors import ChoiceBox, NumberBox, SwitchBox, TextBox
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.fields import Section, Value, Variants, describe_model
from nfkd_gui.forms.sections import SectionBox
from nfkd_gui.model.studio import Studio


def editor(form: ExperimentForm, path: str) -> Any:
    found = [widget for widget in form.findChildren(QWidget, path) if not widget.isHidden()]
    assert len(found) == 1, path
    return found[0]


def found(widget: QWidget, kind: type, name: str) -> Any:
    child = widget.findChild(kind, name)
    assert child is not None, name
    return child


def message(form: ExperimentForm, path: str) -> str:
    return " ".join(label.text() for label in form.findChildren(QLabel, f"{path}.message") if not label.isHidden())


def write(form: ExperimentForm, path: str, text: str) -> None:
    """Write into a field with the keyboard."""
    line = editor(form, path).findChild(QLineEdit) or editor(form, path)
    line.selectAll()
    QTest.keyClicks(line, text) if text else QTest.keyClick(line, Qt.Key.Key_Delete)


def choose(form: ExperimentForm, path: str, value: str) -> None:
    box: QComboBox = editor(form, path)
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def named(widget: QWidget) -> str:
    """Return the widget's name, or that of the editor that it is the line of."""
    parent = widget.parentWidget()
    return widget.objectName() or (parent.objectName() if parent is not None else "")


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return every path of a value, by pydantic's own JSON schema."""
    schema = model.model_json_schema()
    found: set[str] = set()

    def walk(node: dict[str, Any], path: str) -> None:
        if "$ref" in node:
            node = {
                **schema["$defs"][node["$ref"].rpartition("/")[2]],
                **{k: v for k, v in node.items() if k != "$ref"},
            }
        if "properties" in node:
            for name, child in node["properties"].items():
                walk(child, f"{path}.{name}" if path else name)
        elif "oneOf" in node or "anyOf" in node:
            for child in node.get("oneOf", node.get("anyOf", [])):
                walk(child, path)
        else:
            found.add(path)

    walk(schema, prefix)
    return found


def test_every_field_of_the_configuration_has_an_editor(form: ExperimentForm) -> None:
    editors = (NumberBox, TextBox, ChoiceBox, SwitchBox)
    names = {child.objectName() for kind in (*editors, QWidget) for child in form.findChildren(kind)}
    missing = leaves(ExperimentConfig) - names
    assert missing == set()


def test_every_editor_is_named_helped_and_has_a_buddy(form: ExperimentForm) -> None:
    buddies = {label.buddy().objectName() for label in form.findChildren(QLabel) if label.buddy() is not None}
    for path in leaves(ExperimentConfig):
        widget = form.findChild(QWidget, path)
        assert isinstance(widget, QWidget)
        assert widget.accessibleName(), path
        assert widget.toolTip(), path
        assert path in buddies


def test_the_description_knows_bounds_units_choices_and_variants() -> None:
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


@pytest.mark.parametrize("preset", ["digits", "two_moons"])
def test_a_preset_goes_through_the_form_unchanged(form: ExperimentForm, ready: Studio, preset: str) -> None:
    ready.experiment.open(preset)
    assert ExperimentConfig.from_dict(form.document()) == ExperimentConfig.load(preset)


def test_what_is_typed_is_what_is_run(form: ExperimentForm, ready: Studio) -> None:
    write(form, "student.hidden", "48")
    write(form, "training.learning_rate", "2e-4")
    choose(form, "training.optimizer", "adamax")
    config = ready.experiment.config
    assert config is not None
    assert (config.student.hidden, config.training.learning_rate, config.training.optimizer) == (48, 2e-4, "adamax")
    assert ready.experiment.dirty


def test_another_kind_brings_its_own_fields_and_remembers_the_old(form: ExperimentForm, ready: Studio) -> None:
    choose(form, "data.kind", "two_moons")
    write(form, "data.count", "500")
    assert ready.experiment.document["data"]["count"] == 500
    choose(form, "data.kind", "digits")
    assert "count" not in ready.experiment.document["data"]
    choose(form, "data.kind", "two_moons")
    assert ready.experiment.document["data"]["count"] == 500


def test_a_problem_of_form_shows_at_its_field_at_once_and_goes(form: ExperimentForm, ready: Studio) -> None:
    write(form, "student.hidden", "0")
    assert "at least 1" in message(form, "student.hidden")
    assert not ready.experiment.may_run
    write(form, "student.hidden", "many")
    assert "whole number" in message(form, "student.hidden")
    write(form, "student.hidden", "16")
    assert message(form, "student.hidden") == ""


def test_of_a_long_description_whole_lines_are_seen(form: ExperimentForm) -> None:
    box = editor(form, "description")
    box.set_value("\n".join("abcdef"))
    lines = (box.viewport().height() - box.document().documentMargin()) / box.fontMetrics().lineSpacing()
    assert lines == pytest.approx(3, abs=0.1)


def test_a_row_makes_the_place_for_its_message_when_it_has_one(form: ExperimentForm) -> None:
    assert form.findChild(QLabel, "student.hidden.message") is None
    write(form, "student.hidden", "0")
    said, line = found(form, QLabel, "student.hidden.message"), editor(form, "student.hidden")
    assert said.isVisible()
    QApplication.processEvents()
    assert said.mapToGlobal(said.rect().topLeft()).y() >= line.mapToGlobal(line.rect().bottomLeft()).y()
    write(form, "student.hidden", "16")
    assert not said.isVisible()


def test_a_folded_or_advanced_problem_comes_into_sight(form: ExperimentForm, ready: Studio) -> None:
    document = form.document()
    document["seeds"]["count"] = 0
    document["training"]["checkpoint_every"] = -3
    ready.experiment.replace(document)
    assert message(form, "seeds.count")
    assert editor(form, "training.checkpoint_every").isVisible()
    assert "(given: -3)" in message(form, "training.checkpoint_every")


def test_a_problem_of_a_whole_section_shows_in_it(form: ExperimentForm, ready: Studio) -> None:
    for term in ("nll", "lkd", "ilkd", "skd"):
        write(form, f"distillation.{term}.weight", "0")
    shown = [label.text() for label in form.findChildren(QLabel) if not label.isHidden()]
    assert any("All weights are zero" in text for text in shown)


PAPER = ["nll", "lkd", "ilkd", "skd"]
TERMS = list(DistillationConfig().terms())


def terms_shown(form: ExperimentForm) -> list[str]:
    return [term for term in TERMS if found(form, QWidget, f"distillation.{term}.weight").isVisible()]


def fold(form: ExperimentForm) -> Any:
    return found(form, QToolButton, "distillation.more")


def test_the_terms_past_the_papers_are_folded_away_until_asked_for(form: ExperimentForm, qtbot: QtBot) -> None:
    assert terms_shown(form) == PAPER
    assert fold(form).text() == f"{len(TERMS) - len(PAPER)} more terms"
    assert "Jacobians" in fold(form).toolTip()
    qtbot.mouseClick(fold(form), Qt.MouseButton.LeftButton)
    assert terms_shown(form) == TERMS
    assert fold(form).text() == "Fewer terms"
    QTest.keyClick(fold(form), Qt.Key.Key_Space)
    assert terms_shown(form) == PAPER


def test_a_term_with_a_weight_is_seen_and_stays_while_it_is_edited(
    form: ExperimentForm, ready: Studio, qtbot: QtBot
) -> None:
    document = form.document()
    document["distillation"]["score"]["weight"] = 0.2
    ready.experiment.replace(document)
    assert terms_shown(form) == [*PAPER, "score"]
    assert fold(form).text() == "7 more terms"
    write(form, "distillation.score.weight", "0")
    assert terms_shown(form) == [*PAPER, "score"]  # not taken from under the user's hands
    qtbot.mouseClick(fold(form), Qt.MouseButton.LeftButton)
    write(form, "distillation.density.weight", "0.1")
    qtbot.mouseClick(fold(form), Qt.MouseButton.LeftButton)
    assert terms_shown(form) == [*PAPER, "density"]


def test_a_problem_in_a_folded_section_brings_it_into_sight(
    form: ExperimentForm, ready: Studio, script: Any, do: Callable[[Any], Any], until: Callable[[Any], Any]
) -> None:
    problem = ConfigProblem(path="distillation.jacobian.weight", message="the teacher cannot serve it")
    script.find_problems = lambda _config: [problem]

    async def described() -> None:
        while ready.experiment.description is None:
            await until(ready.experiment.checked)

    do(described())
    assert terms_shown(form) == [*PAPER, "jacobian"]
    assert message(form, "distillation.jacobian.weight") == "The teacher cannot serve it"


class _Rare(Config, frozen=True):
    one: int = field(1, title="One", help="A number.")
    two: int = field(2, title="Two", help="Another.", advanced=True)


class _Model(Config, frozen=True):
    common: int = field(0, title="Common", help="Always seen.")
    rare: _Rare = field(title="Rare", help="Seldom used.", advanced=True, default_factory=_Rare)


def test_any_models_advanced_section_folds(qtbot: QtBot) -> None:
    section = Section("", "box", "Box", "", advanced=False, group="", fields=describe_model(_Model, "box"))

    def changed(path: str, *, merges: bool = True) -> None:
        del path, merges

    box = SectionBox(section, changed, folded=False)
    qtbot.addWidget(box)
    box.show()

    def seen() -> list[str]:
        return [name for name in ("common", "rare.one", "rare.two") if found(box, QWidget, f"box.{name}").isVisible()]

    assert seen() == ["common"]
    assert found(box, QToolButton, "box.more").text() == "1 more setting"
    box.part.set_value({"rare": {"two": 3}}, {})
    assert seen() == ["common", "rare.one"]
    found(box, QToolButton, "box.advanced").click()
    assert seen() == ["common", "rare.one", "rare.two"]
    box.part.set_value({}, {})
    assert seen() == ["common"]


def test_unknown_keys_of_a_file_are_shown_kept_and_removed_by_a_button(
    form: ExperimentForm, ready: Studio, tmp_path: Path, qtbot: QtBot
) -> None:
    path = tmp_path / "odd.toml"
    text = ExperimentConfig.load("digits").to_toml().replace("[student]", "[student]\nwidht = 3")
    path.write_text(text)
    ready.experiment.open(path)
    unplaced = form.findChild(QWidget, "unplaced")
    assert isinstance(unplaced, QWidget)
    assert unplaced.isVisible()
    assert "student.widht" in unplaced.findChildren(QLabel)[0].text()
    assert not ready.experiment.may_run
    write(form, "student.hidden", "8")
    assert ready.experiment.document["student"]["widht"] == 3
    qtbot.mouseClick(unplaced.remove, Qt.MouseButton.LeftButton)  # type: ignore[attr-defined]
    assert "widht" not in ready.experiment.document["student"]
    assert ready.experiment.config is not None
    assert not unplaced.isVisible()


def test_the_engines_problems_land_at_their_fields_and_its_figures_below(
    form: ExperimentForm, ready: Studio, do: Callable[[Any], Any], until: Callable[[Any], Any]
) -> None:
    async def described() -> None:
        while ready.experiment.description is None:
            await until(ready.experiment.checked)

    do(described())
    assert ready.experiment.may_run
    words = " ".join(label.text() for label in form.estimate.findChildren(QLabel))
    for figure in ("120 k", "12 k", "10.0 : 1", "30 MiB", "Matching: 1 pair (paper)", "1,259 train", "Ready to run"):
        assert figure in words
    write(form, "student.hidden", "2000")
    assert not ready.experiment.may_run
    do(described())
    assert message(form, "student.hidden") == "Needs more memory than there is"
    assert not ready.experiment.may_run


def test_typing_asks_the_engine_once_and_only_about_the_last(
    form: ExperimentForm, ready: Studio, script: Any, do: Callable[[Any], Any], until: Callable[[Any], Any]
) -> None:
    async def settled() -> None:
        while ready.experiment.description is None:
            await until(ready.experiment.checked)

    do(settled())
    script.asked.clear()
    for text in ("1", "12", "128"):
        write(form, "student.hidden", text)
    do(settled())
    asked = [
        ExperimentConfig.from_toml(request.config).student.hidden
        for request in script.asked
        if isinstance(request, Describe)
    ]
    assert asked == [128]


def test_undo_takes_a_field_back_at_once_and_redo_brings_it_again(form: ExperimentForm, ready: Studio) -> None:
    write(form, "student.hidden", "48")
    choose(form, "training.optimizer", "adamax")
    form.undo_stack.undo()
    assert ready.experiment.document["training"]["optimizer"] == "adam"
    form.undo_stack.undo()
    assert ready.experiment.document["student"]["hidden"] == 32
    assert editor(form, "student.hidden").value() == 32
    form.undo_stack.redo()
    assert ready.experiment.document["student"]["hidden"] == 48


@pytest.mark.parametrize(
    ("start", "key", "end"),
    [(0.05, Qt.Key.Key_Up, 0.06), (0.1, Qt.Key.Key_Down, 0.09), (0.001, Qt.Key.Key_Up, 0.002), (3, Qt.Key.Key_Up, 4)],
)
def test_arrow_keys_step_in_the_first_figure(qtbot: QtBot, start: float, key: Qt.Key, end: float) -> None:
    box = NumberBox(whole=isinstance(start, int))
    qtbot.addWidget(box)
    box.set_value(start)
    QTest.keyClick(box, key)
    assert box.value() == end


def test_tab_walks_from_field_to_field_and_the_form_follows(form: ExperimentForm, qtbot: QtBot) -> None:
    form.activateWindow()
    first = editor(form, "name")
    first.setFocus()
    qtbot.waitUntil(first.hasFocus)
    visited = set()
    for _ in range(40):
        QTest.keyClick(form.focusWidget(), Qt.Key.Key_Tab)
        focus = form.focusWidget()
        visited.add(named(focus))
        assert not focus.visibleRegion().isEmpty()
    assert {"description", "data.kind", "teacher.levels", "student.hidden", "distillation.nll.weight"} <= visited


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,000", 1000), ("12,345.5", 12345.5), ("0,001", "0,001"), ("0,05", "0,05"), ("1,5", "1,5"), ("7", 7)],
)
def test_a_comma_is_never_taken_for_what_it_may_not_be(qtbot: Any, text: str, value: object) -> None:
    box = NumberBox(whole=False)
    qtbot.addWidget(box)
    box.lineEdit().setText(text)
    assert box.value() == value
