"""The table of Compare in the window: choosing, columns, filter, labels, folders, trash, reports, by mouse and keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QItemSelectionModel, QPoint, Qt
from PySide6.QtGui import QAction, QColor, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
    QToolButton,
    QTreeView,
    QWidget,
)
from pytestqt.qtbot import QtBot

from nfkd.protocol.comparing import LabelRuns, MoveRuns, ReadThumbnails, RestoreRuns, SeedValues, TrashRuns
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.queue import ContinueSweep
from nfkd.protocol.view import RunView
from nfkd_gui.panels.runs import RunsPanel
from nfkd_gui.panels.runs_cells import arrow_rect, check_rect
from nfkd_gui.panels.runs_columns import ColumnsDialog
from nfkd_gui.panels.runs_trash import TrashDialog
from nfkd_gui.theme import role_colour, tokens
from nfkd_gui.window.main_window import MainWindow
from tests.gui.pixels import colour_names
from tests.gui.scripted_engine import row_of
from tests.gui.window.steps import DIGITS, child, click, settled

Do = Callable[[Any], Any]
NAMES = ("a", "b", "c", "d")
Keys = Qt.KeyboardModifier


@pytest.fixture
def runs(window: MainWindow, script: Any, do: Do) -> RunsPanel:
    """Four runs in Compare, one of them live, each with three seeds."""
    for number, name in enumerate(NAMES):
        run = f"/runs/{name}" if name != "c" else "/runs/old/c"
        gap = 0.2 + 0.4 * number
        row = row_of(
            run, "running" if name == "d" else "finished", created=1e9 - number, seeds=3, seeds_done=3, digest=name,
            student_test=2.5 - 0.1 * number, gap_closed=gap, verdict="better", tags=["kept"] if name == "a" else [],
        )  # fmt: skip
        script.views[run] = RunView(row, "")
        script.runs.values[run] = {
            "student.hidden": 32.0 * (1 + number), "seeds.count": 3.0, "gap_closed": gap,
            "training.teacher_weights": "/runs/old/c/teacher" if name == "a" else "",
        }  # fmt: skip
        script.runs.seeds[run] = [
            SeedValues(seed=seed, values={"student_test": 2.5 - 0.1 * number + 0.01 * seed, "gap_closed": gap})
            for seed in (1, 2, 3)
        ]
    window.resize(1500, 900)

    async def show() -> None:
        window.studio.list_runs()
        await settled(window.studio)
        window.open_workspace("compare")
        await settled(window.studio)

    do(show())
    window.runs.table.setFocus()
    return window.runs


def shown(runs: RunsPanel) -> list[str]:
    return [group.name for group in runs.model.groups]


def select(runs: RunsPanel, *names: str) -> None:
    """Select rows as with Ctrl."""
    flags = QItemSelectionModel.SelectionFlag
    runs.table.clearSelection()
    for name in names:
        index = runs.model.index(shown(runs).index(name), 0)
        runs.table.selectionModel().setCurrentIndex(index, flags.Select | flags.Rows)


def press(runs: RunsPanel, place: QPoint, modifier: Keys = Keys.NoModifier) -> None:
    QTest.mouseClick(runs.table.viewport(), Qt.MouseButton.LeftButton, modifier, place)


def row_rect(runs: RunsPanel, name: str) -> Any:
    return runs.table.visualRect(runs.model.index(shown(runs).index(name), 0))


def trigger(runs: RunsPanel, name: str) -> None:
    action = child(runs, QAction, f"runs.{name}")
    assert action.isEnabled(), name
    action.trigger()


def requests(script: Any, kind: type) -> list[Any]:
    return [request for request in script.asked if isinstance(request, kind)]


def colours(widget: QWidget, rect: Any) -> set[str]:
    return colour_names(widget.grab(rect).toImage())


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_a_click_on_the_check_box_compares_a_run_in_its_colour_and_keeps_the_selection(runs: RunsPanel) -> None:
    select(runs, "b")
    for number, name in enumerate(("c", "a")):
        place = check_rect(row_rect(runs, name))
        press(runs, place.center())
        assert QColor(tokens().run[number]).name() in colours(runs.table.viewport(), place)
    assert [group.name for group in runs.compare.chosen_groups()] == ["c", "a"]
    assert runs.table.selected_keys() == ["/runs/b"]
    first = runs.model.index(shown(runs).index("c"), 0)
    assert first.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked
    press(runs, check_rect(row_rect(runs, "c")).center())
    assert runs.compare.chosen == ["/runs/a"]
    assert QColor(tokens().run[0]).name() in colours(runs.table.viewport(), check_rect(row_rect(runs, "a")))


def test_space_compares_all_selected_runs_or_takes_them_out(runs: RunsPanel) -> None:
    press(runs, row_rect(runs, "a").center())
    press(runs, row_rect(runs, "c").center(), Keys.ShiftModifier)
    assert runs.table.selected_keys() == ["/runs/a", "/runs/b", "/runs/old/c"]
    press(runs, row_rect(runs, "b").center(), Keys.ControlModifier)
    QTest.keyClick(runs.table, Qt.Key.Key_Space)
    assert runs.compare.chosen == ["/runs/a", "/runs/old/c"]
    QTest.keyClick(runs.table, Qt.Key.Key_Space)
    assert runs.compare.chosen == []


def test_seeds_unfold_by_the_arrow_and_the_keys_and_stay_unfolded_when_the_order_changes(runs: RunsPanel) -> None:
    press(runs, arrow_rect(row_rect(runs, "b")).center())
    parent = runs.model.index(shown(runs).index("b"), 0)
    assert runs.table.isExpanded(parent)
    column = runs.model.columns.index("student_test")
    cells = [runs.model.index(number, column, parent).data() for number in range(3)]
    assert cells == ["2.410", "2.420", "2.430"]
    assert runs.model.index(0, 0, parent).data() == "seed 1"
    runs.table.sortByColumn(runs.model.columns.index("name"), Qt.SortOrder.DescendingOrder)
    assert shown(runs) == ["d", "c", "b", "a"]
    assert runs.table.isExpanded(runs.model.index(2, 0))
    select(runs, "a")
    QTest.keyClick(runs.table, Qt.Key.Key_Right)
    assert runs.table.isExpanded(runs.model.index(3, 0))


def test_a_double_click_opens_a_run_in_train(runs: RunsPanel, window: MainWindow, do: Do) -> None:
    place = row_rect(runs, "b").center()
    press(runs, place)
    QTest.mouseDClick(runs.table.viewport(), Qt.MouseButton.LeftButton, Keys.NoModifier, place)
    do(settled(window.studio))
    assert window.workspace == "train"
    assert window.studio.view is not None
    assert window.studio.view.row.name == "b"


def test_the_header_counts_runs_and_folders_and_offers_a_report(runs: RunsPanel, window: MainWindow) -> None:
    assert child(window, QLabel, "header.subtitle").text() == "4 runs in 2 folders"
    select(runs, "a", "b")
    report = child(window, QPushButton, "header.primary")
    assert report.text() == "Report on 2 runs"
    for key in ("/runs/a", "/runs/b", "/runs/old/c"):
        runs.compare.toggle(key)
    assert report.text() == "Report on 3 runs"
    assert child(window, QLabel, "runs.count").text() == "4 groups  ·  2 selected"
    window.open_workspace("design")
    assert report.text() != "Report on 3 runs"


def test_a_report_is_written_beside_the_runs_and_its_link_offered(
    runs: RunsPanel, window: MainWindow, script: Any, do: Do
) -> None:
    runs.compare.choose(["/runs/a", "/runs/b"])
    child(window, QPushButton, "header.primary").click()
    dialog: Any = window.findChild(QDialog, "runs.report.file")
    assert [Path(path).name for path in dialog.selectedFiles()] == ["report-of-2-runs.html"]
    dialog.reject()
    runs.actions_.write_report(["/runs/a", "/runs/b"], "/runs/both.html")
    do(settled(window.studio))
    [report] = script.runs.reports
    assert (report.runs, report.path) == (["/runs/a", "/runs/b"], "/runs/both.html")
    assert runs.note.link.text() == "Open the report"
    assert not runs.note.isHidden()


# --- columns ----------------------------------------------------------------------------------------------------------


def test_columns_are_chosen_remembered_and_moved(runs: RunsPanel, window: MainWindow, studio: Any) -> None:
    runs.choose_columns()
    dialog: Any = window.findChild(ColumnsDialog)
    dialog.search.setText("hidden student")
    model = dialog.list.model()
    [row] = range(model.rowCount())
    assert model.index(row, 0).data().startswith("Student › Hidden")
    model.setData(model.index(row, 0), Qt.CheckState.Checked, Qt.ItemDataRole.CheckStateRole)
    assert runs.table.visible_order()[-1] == "student.hidden"
    assert studio.preferences.run_columns[-1] == "student.hidden"
    header = runs.table.header()
    header.moveSection(header.count() - 1, 1)
    assert studio.preferences.run_columns[:2] == ["name", "student.hidden"]
    again = RunsPanel(studio, lambda _act: True)
    assert again.table.order()[:2] == ["name", "student.hidden"]
    again.deleteLater()
    child(dialog, QPushButton, "runs.columns.reset").click()
    assert studio.preferences.run_columns == []
    assert "student.hidden" not in runs.table.visible_order()
    dialog.reject()


def test_a_double_click_on_the_edge_of_a_head_fits_its_column(runs: RunsPanel) -> None:
    header, section = runs.table.header(), runs.model.columns.index("verdict")
    fitted = header.sectionSize(section)
    edge = QPoint(header.sectionViewportPosition(section) + fitted - 1, header.height() // 2)
    QTest.mousePress(header.viewport(), Qt.MouseButton.LeftButton, Keys.NoModifier, edge)
    header.resizeSection(section, fitted + 40)
    QTest.mouseRelease(header.viewport(), Qt.MouseButton.LeftButton, Keys.NoModifier, edge)
    header.sectionHandleDoubleClicked.emit(section)
    assert header.sectionSize(section) == fitted


def test_equal_columns_are_hidden_on_demand(runs: RunsPanel, window: MainWindow) -> None:
    runs._set_columns(["name", "data", "student.hidden"])
    assert runs.model.cell(runs.model.index(0, 1)).muted
    runs.choose_columns()
    dialog: Any = window.findChild(ColumnsDialog)
    dialog.equal.click()
    assert runs.table.visible_order() == ["name", "student.hidden"]
    dialog.equal.click()
    assert runs.table.visible_order() == ["name", "data", "student.hidden"]
    dialog.reject()


@pytest.mark.parametrize("width", [1600, 1280, 800])
def test_the_default_columns_fit_without_scrolling(runs: RunsPanel, window: MainWindow, width: int) -> None:
    window.setMinimumSize(0, 0)
    window.resize(width, 800)
    QApplication.processEvents()
    runs.table.fit()
    assert runs.table.horizontalScrollBar().maximum() == 0
    assert runs.table.visible_order()[0] == "name"
    assert ("created" in runs.table.visible_order()) == (width > 800)


def test_the_share_of_the_gap_is_a_bar_with_the_teachers_mark(runs: RunsPanel) -> None:
    index = runs.model.index(shown(runs).index("d"), runs.model.columns.index("gap_closed"))
    found = colours(runs.table.viewport(), runs.table.visualRect(index))
    assert QColor(role_colour("student")).name() in found
    assert QColor(role_colour("teacher")).name() in found
    assert index.data() == "140 ± 0"


def test_thumbnails_are_asked_for_rows_in_sight_only_and_drawn_in_the_themes_colours(
    runs: RunsPanel, window: MainWindow, script: Any, do: Do
) -> None:
    ink = np.zeros((64, 64), np.uint8)
    ink[:, 32:] = 128  # the middle of the scale: the student's colour
    for number in range(100):
        run = f"/runs/more {number:03}"
        script.views[run] = RunView(row_of(run, "finished", created=float(number), digest=run), "")
        script.runs.thumbnails[run] = ink
    assert not requests(script, ReadThumbnails)
    runs.compare.sort_by("name", descending=True)

    async def show() -> None:
        window.studio.list_runs()
        await settled(window.studio)
        runs.head_buttons[0].click()
        QApplication.processEvents()
        await settled(window.studio)
        QApplication.processEvents()
        await settled(window.studio)

    do(show())
    asked = {run for request in requests(script, ReadThumbnails) for run in request.runs}
    assert {"/runs/more 099", "/runs/more 098"} <= asked
    assert "/runs/more 000" not in asked
    place = row_rect(runs, "more 099")
    wanted = QColor(role_colour("student"))
    near = [QColor(name) for name in colours(runs.table.viewport(), place)]
    assert any(abs(c.red() - wanted.red()) + abs(c.green() - wanted.green()) < 6 for c in near)
    assert place.height() > 44


# --- filter -----------------------------------------------------------------------------------------------------------


def test_a_wrong_filter_is_told_at_the_field_without_moving_it(runs: RunsPanel) -> None:
    field = child(runs, QLineEdit, "runs.filter")
    cell = runs.toolbar.filter
    before = (field.geometry(), cell.geometry(), runs.table.geometry())
    field.setText("student.hiden < 64")
    assert cell.message.startswith("No run has a column or setting student.hiden")
    assert field.property("wrong")
    assert (field.geometry(), cell.geometry(), runs.table.geometry()) == before
    field.setText("student.hidden < 70")
    assert (cell.message, shown(runs)) == ("", ["a", "b"])


def test_proposals_are_chosen_with_the_keys(runs: RunsPanel) -> None:
    field: Any = child(runs, QLineEdit, "runs.filter")
    field.setFocus()
    QTest.keyClicks(field, "verd")
    assert field.options() == ["verdict"]
    popup = QApplication.activePopupWidget()
    assert popup is not None
    QTest.keyClick(popup, Qt.Key.Key_Down)
    QTest.keyClick(popup, Qt.Key.Key_Return)
    assert field.text() == "verdict "
    QTest.keyClicks(field, "== ")
    assert field.options() == ['"better"']
    field.insert_option('"better"')
    assert field.text() == 'verdict == "better" '
    assert len(shown(runs)) == 4


def test_enter_ends_a_filter_and_takes_no_proposal(runs: RunsPanel) -> None:
    field: Any = child(runs, QLineEdit, "runs.filter")
    field.setFocus()
    QTest.keyClicks(field, 'verdict == "better" ')
    assert field.options() == ["and", "or"]
    popup = QApplication.activePopupWidget()
    assert popup is not None
    QTest.keyClick(popup, Qt.Key.Key_Return)
    assert field.text() == 'verdict == "better" '
    assert QApplication.activePopupWidget() is None


def test_a_folder_is_chosen_with_its_number_of_runs(runs: RunsPanel) -> None:
    folder = child(runs, QComboBox, "runs.folder")
    assert [folder.itemText(n) for n in range(folder.count())] == ["All folders (4)", "Runs folder (3)", "old (1)"]
    folder.setCurrentIndex(2)
    folder.activated.emit(2)
    assert shown(runs) == ["c"]
    select(runs, "c")
    runs.toolbar.filter.field.setText("nothing like it")
    child(runs, QPushButton, "runs.clear").click()
    assert shown(runs) == list(NAMES)
    assert folder.currentText() == "All folders (4)"


def test_the_lineage_leads_to_the_teachers_run(runs: RunsPanel) -> None:
    runs._set_columns(["name", "teacher_from"])
    assert runs.model.index(shown(runs).index("a"), 1).data() == "c"
    runs.toolbar.filter.field.setText("kept")
    select(runs, "a")
    trigger(runs, "teacher_run")
    assert runs.table.selected_keys() == ["/runs/old/c"]
    assert not child(runs, QAction, "runs.teacher_run").isEnabled()


# --- labels, folders, trash -------------------------------------------------------------------------------------------


def test_tags_are_added_and_removed(runs: RunsPanel, window: MainWindow, script: Any, do: Do) -> None:
    select(runs, "a", "b")
    trigger(runs, "tag")
    dialog: Any = window.findChild(QDialog, "runs.tags")
    [item] = [dialog.list.item(number) for number in range(dialog.list.count())]
    assert (item.text(), item.checkState()) == ("kept", Qt.CheckState.PartiallyChecked)
    item.setCheckState(Qt.CheckState.Unchecked)
    dialog.new.setText("good, paper draft")
    dialog.accept()
    do(settled(window.studio))
    [request] = requests(script, LabelRuns)
    assert (request.runs, request.add, request.remove) == (["/runs/a", "/runs/b"], ["good", "paper draft"], ["kept"])
    assert request.note is None
    assert runs.model.cell(runs.model.index(0, runs.model.columns.index("tags"))).chips == [
        ("good", "neutral"), ("paper draft", "neutral"),
    ]  # fmt: skip


def test_a_note_is_written_and_found(runs: RunsPanel, window: MainWindow, script: Any, do: Do) -> None:
    select(runs, "b")
    trigger(runs, "note")
    dialog: Any = window.findChild(QDialog, "runs.note.dialog")
    child(dialog, QPlainTextEdit, "runs.note.text").setPlainText("seed 2 is odd\n")
    dialog.accept()
    do(settled(window.studio))
    assert [request.note for request in requests(script, LabelRuns)] == ["seed 2 is odd"]
    runs.toolbar.filter.field.setText("odd")
    assert shown(runs) == ["b"]


def test_runs_are_moved_to_a_folder_and_a_live_one_stays_with_a_reason(
    runs: RunsPanel, window: MainWindow, script: Any, do: Do
) -> None:
    told: list[ErrorInfo] = []
    window.studio.failed.connect(told.append)
    select(runs, "a", "d")
    trigger(runs, "move")
    dialog: Any = window.findChild(QDialog, "runs.folder.dialog")
    dialog.edit.setCurrentText("a:b")
    dialog.accept()
    assert dialog.isVisible()
    assert "may not contain" in dialog.problem.text()
    dialog.edit.setCurrentText("new/deeper")
    dialog.accept()
    do(settled(window.studio))
    [request] = requests(script, MoveRuns)
    assert (request.runs, request.folder) == (["/runs/a"], "/runs/new/deeper")
    assert runs.compare.folders() == {"": 2, "new": 1, "new/deeper": 1, "old": 1}
    [error] = told
    assert error.title == "1 run was not moved to new/deeper"
    assert error.cause == "d: it is in training or queued; stop it first"
    for box in window.findChildren(QDialog):
        box.reject()


def test_deleted_runs_come_back_with_ctrl_z(runs: RunsPanel, window: MainWindow, script: Any, do: Do) -> None:
    select(runs, "a", "b")
    QTest.keyClick(runs.table, Qt.Key.Key_Delete)
    do(settled(window.studio))
    assert window.findChildren(QMessageBox) == []
    [request] = requests(script, TrashRuns)
    assert (request.folder, request.runs) == ("/runs", ["/runs/a", "/runs/b"])
    assert shown(runs) == ["c", "d"]
    assert runs.note.label.text() == "2 runs are in the trash"
    assert runs.note.isVisible()
    assert runs.table.selected_keys() == ["/runs/old/c"]  # the next one
    QTest.keyClick(runs.table, Qt.Key.Key_Z, Keys.ControlModifier)
    do(settled(window.studio))
    assert len(requests(script, RestoreRuns)) == 1
    assert shown(runs) == list(NAMES)
    assert not runs.note.isVisible()
    assert script.runs.trash == {}


def test_ctrl_z_belongs_to_the_form_in_design(runs: RunsPanel, window: MainWindow, script: Any, do: Do) -> None:
    select(runs, "a")
    trigger(runs, "delete")
    do(settled(window.studio))
    window.open_workspace("design")
    experiment = window.studio.experiment
    before = experiment.document
    experiment.amend("data", before | {"description": "changed"})
    QTest.keyClick(window, Qt.Key.Key_Z, Keys.ControlModifier)
    do(settled(window.studio))
    assert experiment.document.get("description") == before.get("description")
    assert not requests(script, RestoreRuns)
    runs.note.link.click()
    do(settled(window.studio))
    assert len(requests(script, RestoreRuns)) == 1


def test_runs_that_cannot_be_deleted_are_told_in_one_message(
    runs: RunsPanel, window: MainWindow, script: Any, do: Do
) -> None:
    told: list[ErrorInfo] = []
    window.studio.failed.connect(told.append)
    script.runs.failing["/runs/b"] = "the disk is read-only"
    select(runs, "a", "b", "d")
    trigger(runs, "delete")
    do(settled(window.studio))
    [error] = told
    assert error.title == "2 runs were not moved to the trash"
    assert error.cause.splitlines() == ["d: it is in training or queued; stop it first", "b: the disk is read-only"]
    assert sorted(shown(runs)) == ["b", "c", "d"]
    for box in window.findChildren(QDialog):
        box.reject()


def test_the_trash_lists_restores_and_is_emptied(runs: RunsPanel, window: MainWindow, script: Any, do: Do) -> None:
    select(runs, "a", "b")
    trigger(runs, "delete")
    do(settled(window.studio))
    trigger(runs, "trash")
    do(settled(window.studio))
    dialog: Any = window.findChild(TrashDialog)
    rows = child(dialog, QListWidget, "runs.trash.list")
    assert [rows.item(number).text().split()[0] for number in range(rows.count())] == ["b", "a"]
    rows.item(0).setSelected(True)
    click(dialog, QPushButton, "runs.trash.restore")
    do(settled(window.studio))
    assert rows.count() == 1
    assert "b" in shown(runs)
    assert runs.note.label.text() == "One run is in the trash"
    click(dialog, QPushButton, "runs.trash.empty")
    box: Any = window.findChild(QMessageBox, "runs.trash.ask")
    next(button for button in box.buttons() if button.text() == "Empty").click()
    do(settled(window.studio))
    assert script.runs.trash == {}
    assert rows.count() == 0
    assert not runs.note.isVisible()
    assert not child(runs, QAction, "runs.undo").isEnabled()
    dialog.reject()


# --- exports and the panels below -------------------------------------------------------------------------------------


def test_the_table_is_copied_as_markdown_with_the_columns_that_are_shown(runs: RunsPanel) -> None:
    runs._set_columns(["name", "student_test"])
    runs.toolbar.filter.field.setText("student.hidden < 70")
    action = next(action for action in runs.options() if action.objectName() == "runs.markdown")
    action.trigger()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[2:] == ["| a | 2.500 ± 0.010 |", "| b | 2.400 ± 0.010 |"]
    assert list(runs.numbers()["Runs"].header) == ["name", "student_test", "student_test deviation", "run"]


def test_the_inspector_gives_its_room_to_the_table(runs: RunsPanel, window: MainWindow) -> None:
    window.resize(1280, 800)
    QApplication.processEvents()
    runs.table.fit()
    before, button = runs.table.visible_order(), child(window, QToolButton, "runs.inspector")
    assert not button.isChecked()
    assert not window.compare.docks["selected"].isVisible()
    click(window, QToolButton, "runs.inspector")
    QApplication.processEvents()
    runs.table.fit()
    assert window.compare.docks["selected"].isVisible()
    assert len(runs.table.visible_order()) < len(before)
    click(window, QToolButton, "runs.inspector")
    assert not window.compare.docks["selected"].isVisible()


def test_columns_grow_with_what_arrives_and_a_filter_moves_none(
    runs: RunsPanel, script: Any, do: Do, qtbot: QtBot, window: MainWindow
) -> None:
    section = runs.model.columns.index("verdict")
    before = runs.table.columnWidth(section)
    names = [runs.model.groups[row].key for row in range(2)]

    async def worded(word: str) -> None:
        script.set_state(names[0], "finished", verdict=word, seeds=3, seeds_done=3)
        await settled(window.studio)

    do(worded("a verdict of many words"))
    qtbot.waitUntil(lambda: runs.table.columnWidth(section) > before)
    wide = runs.table.columnWidth(section)
    do(worded("better"))
    qtbot.wait(400)
    assert runs.table.columnWidth(section) == wide


def test_likelihoods_of_several_units_have_them_in_their_cells(
    runs: RunsPanel, script: Any, do: Do, window: MainWindow
) -> None:
    first, second = (group.key for group in runs.model.groups[:2])

    async def units() -> None:
        script.set_state(first, "finished", unit="nats", student_test=1.5)
        script.set_state(second, "finished", unit="bits/dim", student_test=2.5)
        await settled(window.studio)

    do(units())
    section = runs.model.columns.index("student_test")
    texts = [runs.model.data(runs.model.index_of(key).siblingAtColumn(section)) for key in (first, second)]
    assert texts[0].endswith("nats")
    assert texts[1].endswith("bits/dim")
    assert "nats" not in runs.model.headerData(section, Qt.Orientation.Horizontal)


def test_the_keyboard_is_in_the_table_when_compare_opens(runs: RunsPanel, window: MainWindow) -> None:
    window.open_workspace("design")
    QApplication.processEvents()
    window.open_workspace("compare")
    assert window.focusWidget() is runs.table


def test_a_sweep_is_continued_from_one_of_its_runs(runs: RunsPanel, window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/widths/hidden-8", DIGITS)
        script.set_state("/runs/widths/hidden-8", "stopped")
        await settled(window.studio)
        action = child(runs, QAction, "runs.continue_sweep")
        runs.table.select_key("/runs/a")
        assert not action.isEnabled()  # a run outside a folder of its own
        script.begin("/runs/widths/failed/hidden-16", DIGITS)
        script.set_state("/runs/widths/failed/hidden-16", "failed")
        await settled(window.studio)
        for run in ("/runs/widths/hidden-8", "/runs/widths/failed/hidden-16"):
            runs.table.select_key(run)
            assert action.isEnabled()
            assert runs.actions_.sweep_folder == "/runs/widths"
        action.trigger()
        await settled(window.studio)
        [request] = [request for request in script.asked if isinstance(request, ContinueSweep)]
        assert (request.folder, request.retry) == ("/runs/widths", True)

    do(scenario())


def test_the_tree_reads_as_one_table_for_screen_readers(runs: RunsPanel) -> None:
    table = child(runs, QTreeView, "runs.table")
    assert table.accessibleName() == "Runs"
    heads = [runs.model.headerData(section, Qt.Orientation.Horizontal) for section in range(3)]
    assert heads[0] == "Run"
    verdict = runs.model.index(0, runs.model.columns.index("verdict"))
    assert verdict.data(Qt.ItemDataRole.AccessibleTextRole) == "Better"
    for button in runs.head_buttons:
        assert button.accessibleName()
        assert button.toolTip()
