"""The table of runs: sorted, and runs opened, duplicated, resumed, renamed, deleted and reused."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QLabel,
    QPushButton,
    QTreeView,
)

from nfkd.config import ExperimentConfig
from nfkd.protocol.comparing import TrashRuns
from nfkd.protocol.requests import RenameRun, ResumeFromDisk
from nfkd_gui.forms.pairs_box import PairsBox
from nfkd_gui.window.main_window import MainWindow
from tests.gui.window.steps import DIGITS, Do, child, settled


def select(window: MainWindow, row: int) -> None:
    table = child(window, QTreeView, "runs.table")
    table.setCurrentIndex(table.model().index(row, 0))


def trigger(window: MainWindow, name: str) -> None:
    action = child(window, QAction, name)
    assert action.isEnabled(), name
    action.trigger()


def test_the_runs_table_sorts_and_aligns_numbers(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        for name, value in (("a", 10.0), ("b", 9.0), ("c", None)):
            script.begin(f"/runs/{name}", DIGITS)
            script.set_state(f"/runs/{name}", "finished", student_test=value)
        await settled(window.studio)
        window.open_workspace("compare")
        table = child(window, QTreeView, "runs.table")
        model = table.model()
        heads = [model.headerData(column, Qt.Orientation.Horizontal) for column in range(model.columnCount())]
        column = heads.index("Test NLL, bits/dim")
        for order, names in ((Qt.SortOrder.AscendingOrder, "bac"), (Qt.SortOrder.DescendingOrder, "abc")):
            table.sortByColumn(column, order)
            assert "".join(model.index(row, 0).data() for row in range(3)) == names  # without a value: last
        assert model.index(0, column).data() == "10.000"
        assert model.index(0, column).data(Qt.ItemDataRole.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight

    do(scenario())


def test_a_duplicated_run_keeps_its_pairs(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        pairs = [{"student": "step3", "teacher": "step8", "weight": 2.0}]
        matching = {"strategy": "pairs", "pairs": pairs}
        config = ExperimentConfig.load("two_moons").replace(name="old", distillation={"matching": matching})
        script.begin("/runs/old", config.to_toml())
        script.finish("/runs/old")
        await settled(window.studio)
        window.open_workspace("compare")
        select(window, 0)
        trigger(window, "runs.duplicate")
        await settled(window.studio)
        assert window.studio.experiment.config == config
        table = child(window, PairsBox, "distillation.matching.pairs")
        assert [(row.student.currentText(), row.teacher.currentText()) for row in table.rows] == [("step3", "step8")]

    do(scenario())


def test_runs_are_opened_duplicated_and_resumed(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        config = ExperimentConfig.load("two_moons").replace(name="old", student={"hidden": 21})
        script.begin("/runs/old", config.to_toml())
        script.set_state("/runs/old", "interrupted", cause="The engine was ended.")
        script.active = ""
        await settled(window.studio)
        window.open_workspace("compare")
        table = child(window, QTreeView, "runs.table")
        table.setFocus()
        select(window, 0)
        QTest.keyClick(table, Qt.Key.Key_Return)
        await settled(window.studio)
        assert window.workspace == "train"
        window.open_workspace("compare")
        assert window.studio.view is not None
        assert window.studio.view.row.run == "/runs/old"
        said: list[str] = []
        window.runs.message.connect(said.append)
        trigger(window, "runs.duplicate")
        await settled(window.studio)
        assert said[-1] == "The settings of “old” are in Design"
        assert window.studio.experiment.config == config
        trigger(window, "runs.continue")
        await settled(window.studio)
        window.open_workspace("compare")
        assert any(isinstance(request, ResumeFromDisk) for request in script.asked)
        assert not child(window, QAction, "runs.rename").isEnabled()  # it is live

    do(scenario())


def test_runs_are_renamed_and_deleted(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/old", DIGITS)
        script.finish("/runs/old")
        await settled(window.studio)
        window.open_workspace("compare")
        select(window, 0)
        trigger(window, "runs.rename")
        await settled(window.studio)
        dialog: Any = QApplication.activeModalWidget()
        assert all(button.icon().isNull() for button in dialog.findChildren(QPushButton))
        dialog.setTextValue("new")
        dialog.accept()
        await settled(window.studio)
        assert RenameRun(run="/runs/old", name="new").name in [getattr(r, "name", "") for r in script.asked]
        assert list(window.studio.rows) == ["/runs/new"]
        trigger(window, "runs.delete")
        await settled(window.studio)
        assert [request.runs for request in script.asked if isinstance(request, TrashRuns)] == [["/runs/new"]]
        assert window.studio.rows == {}

    do(scenario())


def test_use_a_runs_teacher_and_undo(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        experiment = window.studio.experiment
        before = ExperimentConfig.from_dict(experiment.document)
        other = ExperimentConfig.load("digits").replace(
            name="old", teacher={"steps": 5, "hidden": 21}, seeds={"retrain_teacher": True}
        )
        script.begin("/runs/old", other.to_toml())
        await settled(window.studio)
        window.open_workspace("compare")
        select(window, 0)
        trigger(window, "runs.teach")
        await settled(window.studio)
        dialog: Any = QApplication.activeModalWidget()
        assert "not trained yet" in " ".join(label.text() for label in dialog.findChildren(QLabel))
        dialog.accept()
        await settled(window.studio)
        assert ExperimentConfig.from_dict(experiment.document) == before
        script.finish("/runs/old")
        await settled(window.studio)
        trigger(window, "runs.teach")
        await settled(window.studio)
        config = experiment.config
        assert config is not None
        assert config.teacher == other.teacher
        assert config.training.teacher_weights == "/runs/old"
        assert not config.seeds.retrain_teacher
        assert "teacher is now that of “old”" in window.statusBar().currentMessage()
        assert (config.student, config.data, config.name) == (before.student, before.data, before.name)
        assert experiment.dirty
        window.form.undo_stack.undo()
        assert ExperimentConfig.from_dict(experiment.document) == before

    do(scenario())
