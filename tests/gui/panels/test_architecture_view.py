"""What the drawing of the flows shows: errors of a run, differences, folded levels, sizes, and its files."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QToolButton
from pytestqt.qtbot import QtBot

from nfkd.config import ExperimentConfig
from nfkd.protocol.events import MatchingMeasured, SeedStarted, StageStarted
from nfkd.protocol.records import LayerPair, StagePlan
from nfkd.protocol.roles import USUAL
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.theme import LIGHT, tokens
from nfkd_gui.widgets.figure import draw_svg
from tests.gui.glow_layers import glow
from tests.gui.panels.architecture_driver import MADE, Driver

RUN = "/runs/digits"


def begin_run(drawing: Driver, do: Callable[[Any], Any], text: str = "") -> None:
    """Start and show a run whose student has the pairs of the strategy."""
    drawing.script.begin(RUN, text or ExperimentConfig.load("digits").to_toml())
    drawing.studio.open_run(RUN)
    do(drawing.studio.clients[-1].settled())  # type: ignore[attr-defined]
    pairs = [LayerPair(student=student, teacher=teacher, summary="") for student, teacher in MADE]
    plans = [StagePlan(stage=role, steps=100, curves=[], pairs=pairs if role == "student" else []) for role in USUAL]
    drawing.script.emit(SeedStarted(run=RUN, seed=1, stages=plans, event_shape=[1, 8, 8]))
    drawing.script.emit(StageStarted(run=RUN, seed=1, stage="student"))


def measure(drawing: Driver, step: int, errors: list[float]) -> None:
    drawing.script.emit(MatchingMeasured(run=RUN, seed=1, stage="student", step=step, error=np.array(errors)))


def beside_label(drawing: Driver, student: str) -> QPoint:
    """Return a point on a line, a quarter of its way up."""
    return drawing.view.mapFromScene(drawing.line(student).path().pointAtPercent(0.2))


def test_no_size_makes_scroll_bars_come_and_go(drawing: Driver, qapp: QApplication) -> None:
    built: list[int] = []
    drawing.view.zoomed.connect(lambda _scale: built.append(1))
    for width in range(300, 900, 13):
        drawing.panel.resize(width, 200 + width // 3)
        built.clear()
        qapp.processEvents()
        assert len(built) <= 4, width


def test_lines_have_the_colours_of_the_errors(drawing: Driver, do: Any, qtbot: QtBot) -> None:
    neutral = tokens().muted.lower()
    assert neutral in drawing.colours_around(beside_label(drawing, "level1.step2"))
    begin_run(drawing, do)
    measure(drawing, 10, [0.01, 1.0])
    qtbot.waitUntil(lambda: drawing.line("level1.step2").pair.error is not None)
    low, high = LIGHT.match[0].lower(), LIGHT.match[-1].lower()
    assert low in drawing.colours_around(beside_label(drawing, "level1.step2"))
    assert high in drawing.colours_around(beside_label(drawing, "level2.step2"))
    assert drawing.panel.legend.accessibleName().startswith("Legend: Matching error (mean square) from 0.01 to 1.")
    measure(drawing, 20, [1.0, 0.01])
    qtbot.waitUntil(lambda: drawing.line("level1.step2").pair.error == 1.0)
    assert high in drawing.colours_around(beside_label(drawing, "level1.step2"))
    assert low in drawing.colours_around(beside_label(drawing, "level2.step2"))


def test_a_pair_that_the_run_does_not_have_is_neutral(drawing: Driver, do: Any, qtbot: QtBot) -> None:
    begin_run(drawing, do)
    measure(drawing, 10, [0.01, 1.0])
    qtbot.waitUntil(lambda: drawing.line("level1.step2").pair.error is not None)
    drawing.panel.move_pair(1, "teacher", "level2.step5")
    assert [item.pair.error for item in drawing.view.drawing.pairs] == [0.01, None]
    drawing.form.undo_stack.undo()
    assert [item.pair.error for item in drawing.view.drawing.pairs] == [0.01, 1.0]


def test_errors_of_other_flows_are_not_shown(drawing: Driver, do: Any, qtbot: QtBot) -> None:
    other = ExperimentConfig.load("digits").to_toml().replace("hidden = 64", "hidden = 63", 1)
    begin_run(drawing, do, other)
    measure(drawing, 10, [0.01, 1.0])
    drawing.panel.refresh()
    assert [item.pair.error for item in drawing.view.drawing.pairs] == [None, None]
    assert "run colours" not in drawing.panel.legend.accessibleName()


def test_a_level_with_many_steps_is_one_block_until_it_is_unfolded(drawing: Driver, do: Any) -> None:
    drawing.script.layers = {"teacher": glow(32), "student": glow(2)}
    drawing.script.pairs = [LayerPair(student="level1.step2", teacher="level1.step32", summary="")]
    drawing.describe(do)
    block = drawing.block("teacher", "level1.step7")
    assert (block.box.kind, len(block.box.layers)) == ("group", 32)
    assert drawing.block("teacher", "level2.step7").box.kind == "group"
    end = drawing.at_end("level1.step2", "teacher")
    drawing.drag(end, drawing.at_block("teacher", "level1.step20"))
    assert drawing.written() == [("level1.step2", "level1.step20")], "a line can end inside a folded block"
    drawing.click(drawing.at_block("teacher", "level1.step3"))
    assert drawing.block("teacher", "level1.step7").box.layers[0].name == "level1.step7"
    assert drawing.block("teacher", "level2.step7").box.kind == "group", "the other level stays folded"
    fold = drawing.view.drawing.folds[0]
    drawing.click(drawing.view.mapFromScene(fold.boundingRect().center()))
    assert drawing.block("teacher", "level1.step7").box.kind == "group"


def test_differences_mark_steps_that_the_student_lacks(drawing: Driver, qtbot: QtBot) -> None:
    assert isinstance(drawing.panel.differences, QToolButton)
    qtbot.mouseClick(drawing.panel.differences, Qt.MouseButton.LeftButton)
    lacking = [
        block.box.layers[0].name for block in drawing.view.drawing.blocks
        if block.is_lacking and block.box.level == 0
    ]  # fmt: skip
    assert lacking == [f"level1.step{number}" for number in (1, 2, 3, 5, 6, 7)]
    config = drawing.studio.experiment.config
    assert config is not None
    [backdrop] = [item for item in drawing.view.drawing.items() if hasattr(item, "notes")]
    assert backdrop.notes[0][0] == "2 of 8 steps"
    assert "120 of 720 parameters" in backdrop.notes[0]
    qtbot.mouseClick(drawing.panel.differences, Qt.MouseButton.LeftButton)
    assert not any(block.is_lacking for block in drawing.view.drawing.blocks)


def test_heights_follow_the_parameters_on_demand(drawing: Driver, qtbot: QtBot) -> None:
    def heights() -> list[float]:
        names = ("level1.step1", "level2.step1")
        return [drawing.block(role, name).box.rect.height for role in ("teacher", "student") for name in names]

    assert len(set(heights())) == 1
    button = drawing.panel.findChild(QToolButton, "architecture.size.parameters")
    assert isinstance(button, QToolButton)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    found = np.array(heights())
    bodies = found - (found[1] - 2 * (found[1] - found[0]))  # level 2 has twice the parameters of level 1
    assert bodies / bodies[1] == pytest.approx([0.5, 1.0, 1 / 3, 2 / 3])


def test_every_layer_has_a_tooltip_with_all_facts(drawing: Driver) -> None:
    tip = drawing.block("student", "level2.step1").toolTip()
    assert all(part in tip for part in ("Student, level 2 step 1", "step", "8×2×2", "120 parameters", "coupling"))
    assert "squeeze" in drawing.block("teacher", "level1.squeeze").toolTip()


def test_the_wheel_zooms_with_ctrl_and_fit_returns(drawing: Driver, qtbot: QtBot) -> None:
    place = QPointF(200, 200)
    wheel = QWheelEvent(
        place, QPointF(drawing.view.viewport().mapToGlobal(place.toPoint())), QPoint(), QPoint(0, 120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.ControlModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    before = drawing.view.transform().m11()
    QApplication.sendEvent(drawing.view.viewport(), wheel)
    assert drawing.view.transform().m11() == pytest.approx(1.15 * before)
    assert drawing.panel.percent.text() == f"{115 * before:.0f} %"
    qtbot.mouseClick(drawing.panel.fit, Qt.MouseButton.LeftButton)
    seen = drawing.view.mapToScene(drawing.view.viewport().rect()).boundingRect()
    assert seen.adjusted(-1, -1, 1, 1).contains(drawing.view.sceneRect())


def test_assistants_have_a_row_and_pairs_that_cannot_be_moved(drawing: Driver, do: Any) -> None:
    drawing.script.layers |= {"assistant-1": glow(8)}
    document = drawing.form.document()
    drawing.studio.experiment.replace(document | {"assistants": [document["student"]]})
    drawing.describe(do)
    rows = [row.role for row in drawing.view.drawing.layout_.rows]
    assert rows == ["teacher", "assistant-1", "student"]
    assert drawing.drawn("assistant-1") == MADE
    before = drawing.toml()
    item = next(item for item in drawing.view.drawing.pairs if item.pair.learner == "assistant-1")
    drawing.drag(drawing.view.mapFromScene(item.end("teacher")), drawing.at_block("teacher", "level1.step3"))
    assert drawing.toml() == before


def test_flows_that_cannot_be_described_leave_a_sentence(drawing: Driver) -> None:
    document = drawing.form.document()
    drawing.studio.experiment.replace(document | {"student": document["student"] | {"steps": "many"}})
    message = drawing.panel.findChild(type(drawing.panel._message), "architecture.message")
    assert message is not None
    assert message.isVisible()
    assert "once the problems at the left are fixed" in message.text()
    assert drawing.panel.figure() is None
    assert not drawing.panel.auto.isEnabled()


def test_the_picture_has_text_and_the_table_has_every_layer(drawing: Driver, tmp_path: Path) -> None:
    figure = drawing.panel.figure()
    assert figure is not None
    root = ET.fromstring(draw_svg(figure, "architecture"))
    texts = {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Teacher", "Student", "Level 1", "Level 2", "LKD", "squeeze", "8"} <= texts
    write_csv(tmp_path / "layers.csv", drawing.panel.numbers()["Layers"])
    with (tmp_path / "layers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(glow(8)) + len(glow(2))
    assert rows[1] == {
        "flow": "teacher", "layer": "level1.step1", "kind": "step", "output": "4×4×4", "parameters": "90",
    }  # fmt: skip
    assert drawing.panel.export_name() == "digits-architecture"
