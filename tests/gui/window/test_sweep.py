"""Try several values: from a field or the menu, checked while it is typed, estimated, saved and started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QDoubleSpinBox, QLineEdit, QMenu, QPushButton, QWidget

from nfkd.config import ExperimentConfig
from nfkd.config.sweep import SweepConfig
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.queue import RunSweep
from nfkd_gui.model.sweep_draft import parse_values
from nfkd_gui.window.field_finder import FieldLine
from nfkd_gui.window.main_window import MainWindow
from nfkd_gui.window.sweep_dialog import SweepDialog
from tests.gui.window.steps import DIGITS, Do, child, click, settled, text


def opened(window: MainWindow, path: str = "") -> SweepDialog:
    window.sweeps.set_up(path)
    dialog = window.findChild(SweepDialog)
    assert isinstance(dialog, SweepDialog)
    return dialog


def enter(dialog: SweepDialog, path: str, values: str) -> None:
    """Type values as a user does."""
    line = child(dialog, QLineEdit, f"sweep.values.{path}")
    line.selectAll()
    QTest.keyClicks(line, values)


async def estimated(window: MainWindow, dialog: SweepDialog, until: Any) -> None:
    while dialog.draft.description is None:
        await until(dialog.draft.changed)
    await settled(window.studio)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("8, 16, 32", [8, 16, 32]),
        ("0.1,1e-3", [0.1, 1e-3]),
        ("none, blocks", ["none", "blocks"]),
        ("true, false", [True, False]),
        ('"a, b", "c"', ["a, b", "c"]),
        ("8", [8]),
        ("8,", [8]),
        (" ", []),
        ("none, 8", ["none", 8]),
    ],
)
def test_values_are_read_as_in_a_file(written: str, values: list[Any]) -> None:
    found = parse_values(written)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_a_field_offers_it_in_its_context_menu(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        window.open_field("student.hidden")
        cell = child(window.form, QWidget, "student.hidden.message")
        place = cell.mapTo(window.form, QPoint(20, 8))
        QApplication.sendEvent(window.form, _context_menu(window.form, place))
        [menu] = [menu for menu in window.form.findChildren(QMenu) if menu.isVisible()]
        menu.actions()[0].trigger()
        menu.close()
        dialog = window.findChild(SweepDialog)
        assert isinstance(dialog, SweepDialog)
        line = child(dialog, QLineEdit, "sweep.values.student.hidden")
        assert line.text() == str(window.studio.experiment.document["student"]["hidden"])
        assert dialog.focusWidget() is line

    do(scenario())


def _context_menu(form: QWidget, place: QPoint) -> Any:
    from PySide6.QtGui import QContextMenuEvent

    return QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, form.mapToGlobal(place))


def test_all_combinations_are_counted_estimated_and_started(
    window: MainWindow, script: Any, do: Do, until: Any
) -> None:
    async def scenario() -> None:
        dialog = opened(window, "student.hidden")
        enter(dialog, "student.hidden", "8, 16, 32")
        add = child(dialog, QLineEdit, "sweep.add")
        QTest.keyClicks(add, "student steps")
        QTest.keyClick(add, Qt.Key.Key_Return)
        enter(dialog, "student.steps", "1, 2")
        await estimated(window, dialog, until)
        assert text(dialog, "sweep.summary") == "6 runs, 1 teacher · about 6 min · 6.0 MiB of 1.0 GiB free."
        start = child(dialog, QPushButton, "sweep.start")
        assert start.text() == "Start 6 runs"
        click(dialog, QPushButton, "sweep.start")
        await settled(window.studio)
        [request] = [request for request in script.asked if isinstance(request, RunSweep)]
        sweep = SweepConfig.from_toml(request.config)
        assert sweep.sweep.grid == {"student.hidden": [8, 16, 32], "student.steps": [1, 2]}
        assert window.studio.experiment.config is not None
        assert sweep.experiment() == window.studio.experiment.config.replace(name="digits sweep")
        assert window.workspace == "design"  # until its first run exists
        script.begin("/runs/digits sweep/hidden-8", DIGITS)
        await settled(window.studio)
        assert window.workspace == "compare"
        assert window.compare.model.folder == "digits sweep"

    do(scenario())


def test_a_ray_cluster_is_chosen_with_its_address_and_the_gpus_of_a_run(
    window: MainWindow, script: Any, do: Do, until: Any
) -> None:
    async def scenario() -> None:
        script.ray = True
        dialog = opened(window, "student.hidden")
        enter(dialog, "student.hidden", "8, 16")
        await estimated(window, dialog, until)
        assert not child(dialog, QLineEdit, "sweep.address").isVisible()
        child(dialog, QComboBox, "sweep.place").setCurrentText("Ray cluster")
        assert "on this machine, one after another" in text(dialog, "sweep.summary")
        address, start = child(dialog, QLineEdit, "sweep.address"), child(dialog, QPushButton, "sweep.start")
        address.selectAll()
        QTest.keyClick(address, Qt.Key.Key_Delete)
        assert not start.isEnabled()
        QTest.keyClicks(address, "ray://head:10001")
        child(dialog, QDoubleSpinBox, "sweep.gpus").setValue(0.5)
        child(dialog, QDoubleSpinBox, "sweep.cpus").setValue(4)
        click(dialog, QPushButton, "sweep.start")
        await settled(window.studio)
        [request] = [request for request in script.asked if isinstance(request, RunSweep)]
        assert request.cluster is not None
        assert (request.cluster.address, request.cluster.gpus, request.cluster.cpus) == ("ray://head:10001", 0.5, 4.0)

    do(scenario())


def test_without_ray_the_cluster_says_how_to_install_it(window: MainWindow, do: Do, until: Any) -> None:
    async def scenario() -> None:
        dialog = opened(window, "student.hidden")
        enter(dialog, "student.hidden", "8, 16")
        await estimated(window, dialog, until)
        place, note = child(dialog, QComboBox, "sweep.place"), child(dialog, QWidget, "sweep.no_ray")
        assert not note.isVisible()
        place.setCurrentText("Ray cluster")
        assert "nfkd[cluster]" in text(dialog, "sweep.no_ray")
        assert note.isVisible()
        assert not child(dialog, QPushButton, "sweep.start").isEnabled()
        place.setCurrentText("This machine")
        assert child(dialog, QPushButton, "sweep.start").isEnabled()

    do(scenario())


def test_wrong_values_are_marked_at_their_field_and_nothing_starts(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        dialog = opened(window, "student.hidden")
        for values, message in (("8, many", "whole number"), ("", "least one"), ("8, 8", "twice"), ("0", "at least")):
            enter(dialog, "student.hidden", values)
            if not values:
                line = child(dialog, QLineEdit, "sweep.values.student.hidden")
                QTest.keyClick(line, Qt.Key.Key_Backspace)
            cell = child(dialog, QLineEdit, "sweep.values.student.hidden").parentWidget()
            assert message in cell.message
            assert not child(dialog, QPushButton, "sweep.start").isEnabled()
            assert not child(dialog, QPushButton, "sweep.save").isEnabled()
        assert window.studio.experiment.document["student"]["hidden"] != 0

    do(scenario())


def test_too_many_combinations_are_refused_with_their_number(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        dialog = opened(window, "training.learning_rate")
        values = ", ".join(f"0.{number:04}" for number in range(1, 1200))
        dialog.draft.set_values("training.learning_rate", values)
        assert text(dialog, "sweep.summary") == "1,199 runs are more than 1,000: remove values."
        assert not child(dialog, QPushButton, "sweep.start").isEnabled()

    do(scenario())


def test_three_seeds_are_offered_where_there_are_fewer(window: MainWindow, do: Do, until: Any) -> None:
    async def scenario() -> None:
        dialog = opened(window, "student.hidden")
        click(dialog, QPushButton, "sweep.seeds")
        assert not child(dialog, QPushButton, "sweep.seeds").isVisible()
        assert SweepConfig.from_toml(dialog.draft.text).seeds.count == 3
        assert window.studio.experiment.config is not None
        assert window.studio.experiment.config.seeds.count == 1

    do(scenario())


def test_a_sweep_is_saved_as_a_file_that_the_terminal_reads(window: MainWindow, do: Do, tmp_path: Path) -> None:
    async def scenario() -> None:
        dialog = opened(window, "student.hidden")
        enter(dialog, "student.hidden", "8, 16")
        file = tmp_path / "widths.toml"
        dialog.save(str(file))
        assert [each.config.student.hidden for each in SweepConfig.open(file).combinations()] == [8, 16]
        errors: list[ErrorInfo] = []
        window.studio.failed.connect(errors.append)
        dialog.save(str(tmp_path / "no" / "folder.toml"))
        assert [error.title for error in errors] == ["The sweep was not saved"]

    do(scenario())


def test_a_field_that_does_not_exist_is_told_and_starts_nothing(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        dialog = opened(window, "student.hidden")
        add = child(dialog, QLineEdit, "sweep.add")
        QTest.keyClicks(add, "zzzz")
        assert "No field" in add.parentWidget().message  # type: ignore[attr-defined]
        QTest.keyClick(add, Qt.Key.Key_Return)
        assert dialog.isVisible()
        add.clear()
        assert add.parentWidget().message == ""  # type: ignore[attr-defined]

    do(scenario())


def test_fields_have_the_titles_of_the_experiments_own_data_and_flows(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        window.studio.experiment.replace(ExperimentConfig.load("two_moons").model_dump(mode="json"), dirty=False)
        await settled(window.studio)
        dialog = opened(window)
        add = child(dialog, FieldLine, "sweep.add")
        add.setText("data points")
        assert add.found() == ["Data › Points"]
        add.setText("hidden units")
        assert {"Student › Hidden units", "Teacher › Hidden units"} <= set(add.found())

    do(scenario())


def test_design_offers_it_beside_run(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        window.open_workspace("design")
        button = child(window, QPushButton, "header.second")
        assert button.text() == "Several values …"
        click(window, QPushButton, "header.second")
        assert isinstance(window.findChild(SweepDialog), SweepDialog)

    do(scenario())


def test_a_field_is_removed(window: MainWindow, do: Do) -> None:
    async def scenario() -> None:
        dialog = opened(window, "student.hidden")
        child(dialog, QWidget, "sweep.remove.student.hidden").click()  # type: ignore[attr-defined]
        assert dialog.draft.values == {}
        assert text(dialog, "sweep.summary") == "Add a field whose values you want to try."
        assert child(dialog, QPushButton, "sweep.start").text() == "Start"

    do(scenario())
