"""The matching in the form: the pairs of a strategy, and editing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.config.problems import ConfigProblem
from nfkd.protocol.records import LayerPair
from nfkd_gui.forms.experiment_form import ExperimentForm
from nfkd_gui.model.studio import Studio
from tests.gui.glow_layers import glow

PATH = "distillation.matching.pairs"


@pytest.fixture
def form(ready: Studio, script: Any, qtbot: QtBot, described: Callable[[], None]) -> Iterator[ExperimentForm]:
    script.layers = {"student": glow(2), "teacher": glow(4)}
    names = [("level1.step2", "level1.step4"), ("level2.step2", "level2.step4")]
    script.pairs = [LayerPair(student=s, teacher=t, summary=f"student {s} ↔ teacher {t}") for s, t in names]
    ready.experiment.open("digits")
    form = ExperimentForm(ready.experiment)
    qtbot.addWidget(form)
    form.show()
    qtbot.waitExposed(form)
    described()
    yield form
    ready.experiment.stop()


def part(form: ExperimentForm, name: str) -> Any:
    [found] = [widget for widget in form.findChildren(QWidget, f"{PATH}.{name}") if not widget.isHidden()]
    return found


def offered(form: ExperimentForm, name: str) -> list[str]:
    box: QComboBox = part(form, name)
    return [box.itemData(index) for index in range(box.count())]


def choose(form: ExperimentForm, name: str, value: str) -> None:
    box: QComboBox = part(form, name)
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def written(ready: Studio) -> list[tuple[str, str, object]]:
    pairs = ready.experiment.document["distillation"]["matching"]["pairs"]
    return [(pair["student"], pair["teacher"], pair["weight"]) for pair in pairs]


def click(qtbot: QtBot, form: ExperimentForm, name: str) -> None:
    """Click a button as soon as it is laid out: until then a new row has no height."""
    qtbot.waitUntil(lambda: not part(form, name).size().isEmpty())
    qtbot.mouseClick(part(form, name), Qt.MouseButton.LeftButton)


def test_the_pairs_of_a_strategy_are_shown_and_can_be_edited(form: ExperimentForm, ready: Studio, qtbot: QtBot) -> None:
    shown = [label.text() for label in form.pairs.findChildren(QLabel) if label.isVisible()]
    assert [text for text in shown if text.startswith("level")] == [
        "level 1 step 2",
        "level 1 step 4",
        "level 2 step 2",
        "level 2 step 4",
    ]
    click(qtbot, form, "convert")
    assert ready.experiment.document["distillation"]["matching"]["strategy"] == "pairs"
    assert written(ready) == [("level1.step2", "level1.step4", 1.0), ("level2.step2", "level2.step4", 1.0)]
    assert part(form, "1.teacher").currentText() == "level 2 step 4"
    config = ready.experiment.config
    assert config is not None
    assert config.distillation.matching.strategy == "pairs"
    form.undo_stack.undo()
    assert ready.experiment.document["distillation"]["matching"] == {
        "strategy": "paper",
        "pairs": [],
    }


def test_only_layers_that_fit_are_offered(form: ExperimentForm, ready: Studio, qtbot: QtBot) -> None:
    click(qtbot, form, "convert")
    assert offered(form, "0.student") == ["level1.step1", "level1.step2", "level2.step1"]
    assert offered(form, "0.teacher") == [f"level1.step{n}" for n in (1, 2, 3, 4)]
    assert offered(form, "1.student") == ["level2.step1", "level2.step2"]
    assert offered(form, "1.teacher") == [f"level2.step{n}" for n in (1, 2, 3, 4)]
    choose(form, "1.teacher", "level2.step2")
    choose(form, "0.student", "level2.step1")
    assert written(ready)[0][:2] == ("level2.step1", "level2.step1")  # of the same shape, and above the next pair
    assert offered(form, "1.student") == ["level2.step2"]
    assert offered(form, "0.teacher") == ["level2.step1"]


def test_pairs_are_added_weighted_and_removed(form: ExperimentForm, ready: Studio, qtbot: QtBot) -> None:
    click(qtbot, form, "convert")
    click(qtbot, form, "add")
    assert [pair[:2] for pair in written(ready)] == [
        ("level1.step2", "level1.step4"),
        ("level2.step1", "level2.step3"),
        ("level2.step2", "level2.step4"),
    ]
    click(qtbot, form, "add")
    assert written(ready)[0][:2] == ("level1.step1", "level1.step3")
    assert not part(form, "add").isEnabled()
    assert "No two unmatched layers" in part(form, "add").toolTip()
    line = part(form, "2.weight").findChild(QLineEdit)
    line.selectAll()
    QTest.keyClicks(line, "2.5")
    assert written(ready)[2] == ("level2.step1", "level2.step3", 2.5)
    click(qtbot, form, "0.remove")
    click(qtbot, form, "0.remove")
    assert written(ready) == [("level2.step1", "level2.step3", 2.5), ("level2.step2", "level2.step4", 1.0)]
    assert ready.experiment.config is not None
    form.undo_stack.undo()
    form.undo_stack.undo()
    form.undo_stack.undo()  # typing the weight is one change
    assert [pair[2] for pair in written(ready)] == [1.0, 1.0, 1.0, 1.0]
    assert part(form, "3.teacher").currentData() == "level2.step4"


def test_a_problem_is_shown_at_its_row_until_it_is_fixed(
    form: ExperimentForm,
    ready: Studio,
    script: Any,
    qtbot: QtBot,
    described: Callable[[], None],
) -> None:
    def find(config: ExperimentConfig) -> list[ConfigProblem]:
        pairs = config.distillation.matching.pairs
        odd = [n for n, pair in enumerate(pairs) if pair.student == "level2.step1"]
        return [ConfigProblem(path=f"{PATH}.{n}", message="shapes 8×2×2 and 4×4×4 differ") for n in odd]

    script.find_problems = find
    click(qtbot, form, "convert")
    choose(form, "1.student", "level2.step1")
    described()
    assert part(form, "1.message").message == "Shapes 8×2×2 and 4×4×4 differ"
    assert "1 problem" in form.estimate.findChild(QLabel, "estimate.status").text()  # type: ignore[union-attr]
    assert not ready.experiment.may_run
    line = part(form, "0.weight").findChild(QLineEdit)
    line.selectAll()
    QTest.keyClicks(line, "much")
    assert "be a number" in part(form, "0.message").message
    QTest.keyClick(line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(line, "3")
    choose(form, "1.student", "level2.step2")
    described()
    assert not part(form, "1.message").message
    assert ready.experiment.may_run


def test_unknown_layers_are_shown_with_a_message(
    form: ExperimentForm, ready: Studio, script: Any, described: Callable[[], None]
) -> None:
    message = "the student has no layer 'level9.step1' (level1.step1 to level2.step2)"
    script.find_problems = lambda _config: [ConfigProblem(path=f"{PATH}.0.student", message=message)]
    document = form.document()
    pair = {"student": "level9.step1", "teacher": "level1.step1", "weight": 1.0}
    document["distillation"]["matching"] = {"strategy": "pairs", "pairs": [pair]}
    ready.experiment.replace(document)
    described()
    assert part(form, "0.student").currentText() == "level9.step1"
    assert part(form, "0.message").message == message[:1].upper() + message[1:]
    assert written(ready) == [("level9.step1", "level1.step1", 1.0)]


def test_the_choice_of_auto_is_shown(form: ExperimentForm, ready: Studio, described: Callable[[], None]) -> None:
    document = form.document()
    document["distillation"]["matching"]["strategy"] = "auto"
    ready.experiment.replace(document)
    described()
    assert part(form, "caption").text() == "Auto chose: paper, 2 pairs"


def test_a_warning_is_shown_below_the_form(
    form: ExperimentForm, ready: Studio, script: Any, described: Callable[[], None]
) -> None:
    message = "the student (4 steps) is deeper than its teacher (2 steps)"
    script.warnings = [ConfigProblem(path="student.steps", message=message)]
    ready.experiment.replace(form.document() | {"name": "deeper"})
    described()
    status = form.estimate.findChild(QLabel, "estimate.status")
    assert isinstance(status, QLabel)
    assert "Ready to run. The student (4 steps) is deeper than its teacher (2 steps)." in status.text()
