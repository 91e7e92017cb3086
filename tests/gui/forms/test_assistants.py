"""The list of assistants in the form: add, edit and remove sections."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.forms.fields import SectionList, Variants, describe_model
from nfkd_gui.forms.list_editor import halfway
from nfkd_gui.model.studio import Studio
from tests.gui.forms.driver import choose, click, editor, message, write


def hidden(ready: Studio) -> list[Any]:
    return [one["hidden"] for one in ready.experiment.document["assistants"]]


def test_the_field_describes_its_items() -> None:
    [assistants] = [field for field in describe_model(ExperimentConfig) if isinstance(field, SectionList)]
    assert (assistants.name, assistants.each, assistants.between, assistants.max_items) == (
        "assistants",
        "assistant",
        ("teacher", "student"),
        3,
    )
    second = assistants.item(1)
    assert isinstance(second, Variants)
    assert (second.title, second.choice.path) == ("Assistant 2", "assistants.1.kind")
    assert {"glow", "maf"} <= set(second.members)


def test_a_new_assistant_starts_halfway_to_the_student_and_can_be_edited(form: ExperimentForm, ready: Studio) -> None:
    click(form, "assistants.add")
    document = ready.experiment.document
    teacher, student, [added] = (document[name] for name in ("teacher", "student", "assistants"))
    assert (teacher["steps"], student["steps"], added["steps"]) == (8, 2, 4)
    changed = {key for key, value in teacher.items() if value != added[key]}
    assert changed == {key for key, value in teacher.items() if value != student[key]}
    write(form, "assistants.0.hidden", "48")
    write(form, "assistants.0.steps", "4")
    config = ready.experiment.config
    assert config is not None
    assert [(one.hidden, one.steps) for one in config.assistants] == [(48, 4)]
    click(form, "assistants.add")
    # The next one starts between the last assistant and the student.
    assert hidden(ready) == [48, round(math.sqrt(48 * student["hidden"]))]
    choose(form, "assistants.1.kind", "glow1d")
    assert ready.experiment.config is not None
    assert [one.kind for one in ready.experiment.config.assistants] == ["glow", "glow1d"]


def test_halfway_between_different_kinds_is_the_first() -> None:
    assert halfway({"kind": "glow", "steps": 9}, {"kind": "maf", "steps": 1}) == {"kind": "glow", "steps": 9}
    assert halfway({"kind": "maf", "steps": 9, "norm": True}, {"kind": "maf", "steps": 4, "norm": False}) == {
        "kind": "maf",
        "steps": 6,
        "norm": True,
    }
    assert halfway({"kind": "maf", "steps": "many"}, {"kind": "maf", "steps": 4}) == {"kind": "maf", "steps": "many"}


def test_the_number_is_limited_and_each_addition_is_one_step_for_undo(form: ExperimentForm, ready: Studio) -> None:
    for _ in range(3):
        click(form, "assistants.add")
    assert not editor(form, "assistants.add").isEnabled()
    form.undo_stack.undo()
    assert len(ready.experiment.document["assistants"]) == 2
    assert editor(form, "assistants.add").isEnabled()


def test_removing_from_the_middle_can_be_undone(form: ExperimentForm, ready: Studio) -> None:
    for number, width in enumerate(("48", "40", "36")):
        click(form, "assistants.add")
        write(form, f"assistants.{number}.hidden", width)
    click(form, "assistants.1.remove")
    assert hidden(ready) == [48, 36]
    assert editor(form, "assistants.1.hidden").value() == 36
    form.undo_stack.undo()
    assert hidden(ready) == [48, 40, 36]
    assert editor(form, "assistants.1.hidden").value() == 40
    form.undo_stack.redo()
    assert hidden(ready) == [48, 36]
    for _ in range(2):
        click(form, "assistants.0.remove")
    assert ready.experiment.document["assistants"] == []
    assert ready.experiment.config is not None


def test_problems_are_shown_at_their_fields(form: ExperimentForm, ready: Studio) -> None:
    click(form, "assistants.add")
    click(form, "assistants.add")
    write(form, "assistants.1.hidden", "0")
    assert "at least 1" in message(form, "assistants.1.hidden")
    assert message(form, "assistants.0.hidden") == ""
    click(form, "assistants.0.remove")
    assert "at least 1" in message(form, "assistants.0.hidden")
    document = form.document()
    document["assistants"] = [document["teacher"]] * 4
    ready.experiment.replace(document)
    assert "at most 3, and has 4" in message(form, "assistants")
    document["assistants"] = [{"kind": "nice"}, 7]
    ready.experiment.replace(document)
    assert "'nice' is not known" in message(form, "assistants.0.kind")
    assert form.document()["assistants"] == [{"kind": "nice"}, 7]


def test_advanced_fields_are_shown_on_request(form: ExperimentForm) -> None:
    click(form, "assistants.add")
    assert not [box for box in form.findChildren(QWidget, "assistants.0.permutation") if box.isVisible()]
    click(form, "assistants.advanced")
    click(form, "assistants.add")
    for number in (0, 1):
        assert editor(form, f"assistants.{number}.permutation").isVisible()


def test_unknown_keys_stay_with_their_assistant_until_the_user_removes_them(
    form: ExperimentForm, ready: Studio, tmp_path: Path
) -> None:
    glow = '[[assistants]]\nkind = "glow"\nlevels = 2\nsteps = 4\n'
    path = tmp_path / "odd.toml"
    path.write_text(
        f"{ExperimentConfig.load('digits').to_toml().replace('assistants = []', '')}\n{glow}{glow}widht = 3\n"
    )
    ready.experiment.open(path)
    unknown = editor(form, "unknown_fields")
    assert "assistants.1.widht" in unknown.findChildren(QLabel)[0].text()
    write(form, "assistants.0.hidden", "48")
    assert ready.experiment.document["assistants"][1]["widht"] == 3
    click(form, "assistants.0.remove")
    assert ready.experiment.document["assistants"][0]["widht"] == 3
    QTest.mouseClick(unknown.remove, Qt.MouseButton.LeftButton)
    assert "widht" not in ready.experiment.document["assistants"][0]
    assert ready.experiment.config is not None


def test_a_value_that_is_no_list_is_kept_until_an_assistant_is_added(form: ExperimentForm, ready: Studio) -> None:
    document = form.document() | {"assistants": "two"}
    ready.experiment.replace(document)
    assert form.document()["assistants"] == "two"
    assert "list" in message(form, "assistants").lower()
    click(form, "assistants.add")
    assert len(ready.experiment.document["assistants"]) == 1


def test_the_form_does_not_change_a_valid_experiment(form: ExperimentForm, ready: Studio) -> None:
    assistants = ({"kind": "glow", "levels": 2, "steps": 4, "hidden": 48}, {"kind": "maf", "steps": 3})
    config = ExperimentConfig.load("digits").replace(assistants=assistants)
    ready.experiment.replace(config.model_dump(mode="python"))  # like a duplicated run
    assert ExperimentConfig.from_dict(form.document()) == config


def test_tab_visits_new_assistants_after_the_add_button(form: ExperimentForm, qtbot: QtBot) -> None:
    click(form, "assistants.add")
    click(form, "assistants.add")
    form.activateWindow()
    add = editor(form, "assistants.add")
    add.setFocus()
    qtbot.waitUntil(add.hasFocus)
    names = []
    while len(names) < 40 and "student.kind" not in names:
        QTest.keyClick(form.focusWidget(), Qt.Key.Key_Tab)
        focus = form.focusWidget()
        parent = focus.parentWidget()
        names.append(focus.objectName() or (parent.objectName() if parent is not None else ""))
    for number in (0, 1):
        fields = ("remove", "kind", "levels", "steps", "hidden")
        order = [names.index(f"assistants.{number}.{name}") for name in fields]
        assert order == sorted(order)
    assert names.index("assistants.0.hidden") < names.index("assistants.1.kind") < names.index("student.kind")


def test_the_estimate_includes_assistants(form: ExperimentForm, described: Callable[[], None]) -> None:
    described()
    shown = form.findChild(QLabel, "estimate.details")
    assert isinstance(shown, QLabel)
    assert "Assistant" not in shown.text()
    height = form.estimate.sizeHint().height()
    click(form, "assistants.add")
    described()
    assert shown.text().startswith("Assistant 1: 34.0 k parameters")
    assert form.estimate.sizeHint().height() == height, "it needs no scroll bar"
    headings = [label.text() for label in form.pairs.findChildren(QLabel)]
    assert "Assistant 1" in headings
    assert "Teacher" not in headings
