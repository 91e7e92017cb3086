"""The drawing of the flows as an editor: layers are matched by mouse, keyboard and menu, as in the table of pairs."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMenu, QToolButton
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.protocol.data import DataPreview
from nfkd.protocol.requests import Describe
from tests.gui.panels.architecture_driver import MADE, Driver


def test_dragging_an_end_matches_another_layer_in_one_step_for_undo(drawing: Driver) -> None:
    before = drawing.toml()
    assert drawing.drawn() == MADE
    drawing.drag(drawing.at_end("level2.step2", "teacher"), drawing.at_block("teacher", "level2.step5"))
    written = tomllib.loads(drawing.toml())["distillation"]["matching"]
    assert written["strategy"] == "pairs"
    assert [(pair["student"], pair["teacher"]) for pair in written["pairs"]] == [
        MADE[0], ("level2.step2", "level2.step5"),
    ]  # fmt: skip
    assert drawing.drawn() == [MADE[0], ("level2.step2", "level2.step5")]
    assert drawing.form.undo_stack.undoText() == "Match level2.step2 with level2.step5"
    assert drawing.form.undo_stack.count() == 1
    drawing.form.undo_stack.undo()
    assert drawing.toml() == before
    assert drawing.drawn() == MADE
    drawing.form.undo_stack.redo()
    assert drawing.written()[1] == ("level2.step2", "level2.step5")


def test_the_end_at_the_student_can_be_dragged_too(drawing: Driver) -> None:
    drawing.drag(drawing.at_end("level1.step2", "student"), drawing.at_block("student", "level1.step1"))
    assert drawing.written() == [("level1.step1", "level1.step8"), MADE[1]]


def test_a_problem_elsewhere_keeps_digits_dark_on_light(drawing: Driver) -> None:
    experiment, data = drawing.studio.experiment, drawing.studio.data_preview
    data.preview = DataPreview(images=np.zeros((1, 1, 8, 8), np.uint8))  # paper only, so no pixel is black
    data.changed.emit()
    assert not drawing.black_pixels()
    training = experiment.document["training"] | {"learning_rate": "abc"}
    experiment.edit(experiment.document | {"training": training})
    data.changed.emit()
    assert experiment.problems
    assert not drawing.black_pixels()
    data.preview = DataPreview(images=np.full((1, 1, 8, 8), 255, np.uint8))  # ink only
    data.changed.emit()
    assert drawing.black_pixels() > 100


def test_a_drop_asks_the_engine_at_once(drawing: Driver, do: Callable[[Any], Any]) -> None:
    drawing.script.asked.clear()
    drawing.drag(drawing.at_end("level2.step2", "teacher"), drawing.at_block("teacher", "level2.step5"))
    do(drawing.studio.clients[-1].settled())  # type: ignore[attr-defined]
    asked = [request for request in drawing.script.asked if isinstance(request, Describe)]
    assert len(asked) == 1
    assert ExperimentConfig.from_toml(asked[0].config).distillation.matching.pairs[1].teacher == "level2.step5"
    assert drawing.studio.experiment.description is not None


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("level1.step3", "Not here: 4×4×4 against 8×2×2"),
        ("level2.squeeze", "Not here: a squeeze cannot be matched"),
    ],
)
def test_other_layers_refuse_and_say_why(drawing: Driver, layer: str, reason: str) -> None:
    before = drawing.toml()
    drawing.press(drawing.at_end("level2.step2", "teacher"))
    drawing.move(drawing.at_block("teacher", layer))
    assert drawing.block("teacher", layer).mark == "refused"
    assert drawing.block("teacher", "level2.step5").mark == "target"
    assert reason in drawing.hints()
    drawing.release(drawing.at_block("teacher", layer))
    assert drawing.toml() == before
    assert drawing.drawn() == MADE
    assert drawing.hints() == []
    assert {block.mark for block in drawing.view.drawing.blocks} == {""}


def test_matched_layers_and_crossings_refuse_as_in_the_table(drawing: Driver) -> None:
    drawing.panel.add_pair("level2.step1", "level2.step4")
    moved = drawing.at_end("level2.step1", "teacher")
    drawing.press(moved)
    drawing.move(drawing.at_block("teacher", "level2.step8"))
    assert "Not here: already matched with level 2 step 2" in drawing.hints()
    drawing.release(drawing.at_block("teacher", "level2.step8"))
    drawing.drag(drawing.at_end("level2.step2", "teacher"), drawing.at_block("teacher", "level2.step6"))
    drawing.press(drawing.at_end("level2.step1", "teacher"))
    drawing.move(drawing.at_block("teacher", "level2.step7"))
    assert "Not here: would cross the pair level 2 step 2 ↔ level 2 step 6" in drawing.hints()
    marks = {
        block.box.layers[0].name for block in drawing.view.drawing.blocks
        if block.box.role == "teacher" and block.mark == "target"
    }  # fmt: skip
    drawing.key(Qt.Key.Key_Escape)
    box = drawing.form.pairs.rows[1].teacher
    assert marks == {box.itemData(index) for index in range(box.count())}


def test_a_reply_of_the_engine_does_not_end_a_drag(drawing: Driver, do: Callable[[Any], Any]) -> None:
    drawing.press(drawing.at_end("level2.step2", "teacher"))
    drawing.move(drawing.at_block("teacher", "level2.step5"))
    drawing.describe(do)
    drawing.release(drawing.at_block("teacher", "level2.step5"))
    assert drawing.written()[1] == ("level2.step2", "level2.step5")


def test_escape_puts_the_end_back(drawing: Driver) -> None:
    before, end = drawing.toml(), drawing.at_end("level2.step2", "teacher")
    drawing.press(end)
    drawing.move(drawing.at_block("teacher", "level2.step5"))
    assert drawing.at_end("level2.step2", "teacher") != end
    drawing.key(Qt.Key.Key_Escape)
    drawing.release(drawing.at_block("teacher", "level2.step5"))
    assert drawing.at_end("level2.step2", "teacher") == end
    assert drawing.toml() == before


def test_a_pair_is_drawn_from_a_free_block_of_the_student(drawing: Driver) -> None:
    drawing.drag(drawing.at_block("student", "level2.step1"), drawing.at_block("teacher", "level2.step3"))
    assert drawing.written() == [MADE[0], ("level2.step1", "level2.step3"), MADE[1]]
    before = drawing.toml()
    drawing.drag(drawing.at_block("student", "level2.step1"), drawing.at_block("teacher", "level2.step5"))
    assert drawing.toml() == before, "it is matched already"


def test_the_table_and_the_drawing_follow_each_other(drawing: Driver, qtbot: QtBot) -> None:
    drawing.drag(drawing.at_end("level2.step2", "teacher"), drawing.at_block("teacher", "level2.step5"))
    rows = drawing.form.pairs.rows
    assert [row.names for row in rows] == drawing.drawn()
    kept = list(rows)
    drawing.panel.move_pair(1, "teacher", "level2.step6")
    drawing.panel.move_pair(1, "teacher", "level2.step5")
    assert drawing.form.pairs.rows == kept, "the widgets of the table stay"
    assert [row.names for row in kept] == drawing.drawn()
    box = rows[0].teacher
    box.setCurrentIndex(box.findData("level1.step3"))
    box.activated.emit(box.currentIndex())
    assert drawing.drawn() == [("level1.step2", "level1.step3"), ("level2.step2", "level2.step5")]
    qtbot.mouseClick(rows[1].remove, Qt.MouseButton.LeftButton)
    assert drawing.drawn() == [("level1.step2", "level1.step3")]


def test_delete_removes_the_chosen_pair(drawing: Driver) -> None:
    drawing.click(drawing.at_end("level1.step2", "teacher"))
    assert drawing.line("level1.step2").is_selected
    drawing.key(Qt.Key.Key_Delete)
    assert drawing.written() == [MADE[1]]
    assert drawing.form.undo_stack.undoText() == "Remove the pair level1.step2, level1.step8"


def test_auto_match_lets_the_engine_choose(drawing: Driver, qtbot: QtBot) -> None:
    drawing.drag(drawing.at_end("level2.step2", "teacher"), drawing.at_block("teacher", "level2.step5"))
    assert isinstance(drawing.panel.auto, QToolButton)
    qtbot.mouseClick(drawing.panel.auto, Qt.MouseButton.LeftButton)
    assert drawing.studio.experiment.document["distillation"]["matching"] == {"strategy": "auto", "pairs": []}


def test_the_menu_of_a_line_weighs_and_removes(drawing: Driver) -> None:
    wanted: list[tuple[str, bool]] = []
    drawing.panel.field_wanted.connect(lambda path, focus: wanted.append((path, focus)))
    actions = menu_of(drawing, "level2.step2")
    assert {"architecture.weight", "architecture.remove", "architecture.auto"} <= set(actions)
    actions["architecture.weight"].trigger()
    assert wanted == [("distillation.matching.pairs.1.weight", True)]
    assert drawing.written() == MADE, "the strategy's pairs are now the user's"
    menu_of(drawing, "level2.step2")["architecture.remove"].trigger()
    assert drawing.written() == [MADE[0]]


def menu_of(drawing: Driver, student: str) -> dict[str, Any]:
    for menu in drawing.panel.findChildren(QMenu):
        menu.close()
    drawing.view.menu_wanted.emit(drawing.at_end(student, "teacher"), drawing.line(student))
    menus = [widget for widget in QApplication.topLevelWidgets() if widget.objectName() == "architecture.context"]
    menu = next(menu for menu in menus if menu.isVisible())
    found = {action.objectName(): action for action in menu.actions()}
    menu.close()
    return found


def test_clicks_choose_a_block_or_a_pair(drawing: Driver) -> None:
    chosen: list[Any] = []
    drawing.panel.section_wanted.connect(chosen.append)
    drawing.panel.field_wanted.connect(lambda path, _focus: chosen.append(path))
    drawing.click(drawing.at_block("teacher", "level2.step3"))
    assert chosen == ["teacher"]
    text = drawing.panel.readout.text()
    assert all(part in text for part in ("Teacher, level 2 step 3", "8×2×2", "180 parameters", "1×1 convolution"))
    drawing.click(drawing.at_end("level2.step2", "student"))
    assert chosen[1:] == ["distillation.matching.strategy"]
    assert "level 2 step 2 ↔ teacher level 2 step 8" in drawing.panel.readout.text()


def test_keys_reach_blocks_and_lines_and_move_their_ends(drawing: Driver, qtbot: QtBot) -> None:
    view = drawing.view
    drawing.panel.activateWindow()
    drawing.panel.fit.setFocus()
    qtbot.waitUntil(drawing.panel.fit.hasFocus)
    view.setFocus(Qt.FocusReason.TabFocusReason)
    assert view.accessibleDescription().startswith("Teacher, level 1 squeeze")
    drawing.key(Qt.Key.Key_Right)
    assert view.accessibleDescription().startswith("Teacher, level 1 step 1")
    drawing.key(Qt.Key.Key_Down)
    assert view.accessibleDescription().startswith("Student, level 1 ")
    drawing.key(Qt.Key.Key_Tab)
    assert view.accessibleDescription().startswith("Student level 1 step 2 ↔ teacher level 1 step 8")
    drawing.key(Qt.Key.Key_Right)
    drawing.key(Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    assert drawing.written() == [MADE[0], ("level2.step2", "level2.step7")]
    drawing.key(Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    assert drawing.written()[1] == ("level2.step2", "level2.step6")
    drawing.key(Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.ShiftModifier)
    assert drawing.written()[1] == ("level2.step1", "level2.step6")
    drawing.key(Qt.Key.Key_Delete)
    assert drawing.written() == [MADE[0]]


def test_a_whole_number_is_a_weight(drawing: Driver, do: Callable[[Any], Any]) -> None:
    document = tomllib.loads(drawing.toml())
    document["distillation"]["matching"] = {
        "strategy": "pairs",
        "pairs": [{"student": student, "teacher": teacher, "weight": weight}
                  for (student, teacher), weight in zip(MADE, (2, 0), strict=True)],
    }  # fmt: skip
    drawing.studio.experiment.replace(document)
    drawing.describe(do)
    first, second = (drawing.line(student) for student, _ in MADE)
    assert "weight 2" in first.pair.text
    assert "measured only" in second.pair.text
