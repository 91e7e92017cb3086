"""The table of runs, the inspector of a selected run, and the log, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QPlainTextEdit, QPushButton, QTreeView

from nfkd.config import ExperimentConfig
from nfkd.protocol import events
from nfkd.protocol.gap import likelihood_gap
from nfkd.protocol.records import StageSummary, Verdict
from nfkd.protocol.requests import OpenRun, ReadFigures
from nfkd_gui.model.run_report import mean_figures, repeat_command
from nfkd_gui.model.studio import Studio
from nfkd_gui.theme import role_colour, scaled, tokens
from nfkd_gui.window.main_window import MainWindow
from tests.gui.pixels import colour_names
from tests.gui.scripted_engine import summary_of

Do = Callable[[Any], Any]
DIGITS = ExperimentConfig.load("digits").to_toml()
TESTS = {"teacher": [2.4, 2.4, 2.4], "student": [2.45, 2.46, 2.47], "baseline": [2.6, 2.64, 2.66]}


async def settled(studio: Studio) -> None:
    await studio.clients[-1].settled()  # type: ignore[attr-defined]


def text(window: MainWindow, name: str) -> str:
    label = window.findChild(QLabel, name)
    assert isinstance(label, QLabel), name
    return label.text()


def finished_run(script: Any, run: str, **changes: Any) -> None:
    """Make a finished run of three seeds."""
    script.begin(run, DIGITS, seeds=3)
    for seed in (1, 2, 3):
        if seed > 1:
            script.begin_seed(run, seed)
        for role, tests in TESTS.items():
            summary = summary_of(role, seed, tests[seed - 1])
            script.emit(events.StageFinished(run=run, seed=seed, stage=role, summary=summary))  # type: ignore[arg-type]
    verdict = Verdict(
        verdict="better", metric="test likelihood", unit="bits/dim", difference=0.1733, low=0.15, high=0.2,
        seeds=[1, 2, 3], differences=[0.15, 0.18, 0.19], summary="Better: 0.173 bits/dim lower.", advice="Publish.",
    )  # fmt: skip
    script.emit(events.RunFinished(run=run, state="finished", verdict=verdict))
    row = {"student_test": 2.46, "baseline_test": 2.633, "teacher_test": 2.4, "gap_closed": 0.743, "seeds_done": 3}
    script.set_state(run, "finished", progress=1.0, verdict="better", **(row | changes))
    script.active = ""


@pytest.fixture
def runs(window: MainWindow, script: Any, do: Do) -> QTreeView:
    """The table in Compare, with one run that is opened and one that is not."""

    async def prepare() -> None:
        finished_run(script, "/runs/first")
        finished_run(script, "/runs/second", loss="NLL 0.9 + LKD 0.05", data="pinwheel", gap_closed=None)
        await settled(window.studio)
        window.studio.open_run("/runs/first")
        await settled(window.studio)

    do(prepare())
    window.open_workspace("compare")
    table = window.findChild(QTreeView, "runs.table")
    assert isinstance(table, QTreeView)
    return table


def names(table: QTreeView) -> list[str]:
    model = table.model()
    return [model.index(row, 0).data() for row in range(model.rowCount(QModelIndex()))]


def heads(table: QTreeView) -> list[str]:
    model = table.model()
    titles = [model.headerData(column, Qt.Orientation.Horizontal) for column in range(model.columnCount())]
    return [title.rstrip(" ↑↓") for title in titles]


def test_the_selected_run_is_inspected_without_being_opened(
    window: MainWindow, script: Any, runs: QTreeView, do: Do
) -> None:
    async def scenario() -> None:
        assert text(window, "selected.figure") == "74 %"  # the opened run is selected first
        opened = [request for request in script.asked if isinstance(request, OpenRun)]
        runs.setCurrentIndex(runs.model().index(names(runs).index("second"), 0))
        await settled(window.studio)
        assert [request.run for request in script.asked if isinstance(request, ReadFigures)] == ["/runs/second"]
        assert [request for request in script.asked if isinstance(request, OpenRun)] == opened
        assert window.compare.selected.view is not None
        assert window.compare.selected.view.row.name == "second"
        assert window.studio.view is not None
        assert window.studio.view.row.name == "first"
        row = msgspec.structs.replace(script.views["/runs/second"].row, cause="changed")
        script.emit(events.RunChanged(run="/runs/second", row=row))
        await settled(window.studio)
        assert window.compare.selected.view.row.cause == "changed"
        runs.setFocus()
        QTest.keyClick(runs, Qt.Key.Key_Return)
        await settled(window.studio)
        assert window.workspace == "train"
        assert window.studio.view.row.name == "second"

    do(scenario())


def test_the_inspector_shows_means_over_seeds_with_interval_verdict_and_how_to_repeat(
    window: MainWindow, runs: QTreeView
) -> None:
    del runs
    window.open_workspace("train")
    QApplication.processEvents()
    means = {role: sum(values) / 3 for role, values in TESTS.items()}
    gap = means["baseline"] - means["teacher"]
    closed = (means["baseline"] - means["student"]) / gap
    assert text(window, "inspector.figure") == f"{100 * closed:.0f} %"
    assert text(window, "inspector.caption").startswith("of the gap closed, 95\u00a0% interval")
    shown = window.train.inspector.gap.figures
    assert (shown.low, shown.high) == (pytest.approx(0.15 / gap), pytest.approx(0.2 / gap))
    assert text(window, "inspector.verdict") == "✓ Better: 0.173 bits/dim lower."
    assert text(window, "inspector.advice") == "Advice: Publish."
    assert text(window, "inspector.student.test") == "2.460"
    assert text(window, "inspector.student.± over seeds") == "0.010"
    assert text(window, "inspector.loss") == "NLL 0.9 + LKD 0.05 + ILKD 0.05 + pool 0.3"
    command = window.train.inspector.findChild(QLineEdit, "inspector.command")
    assert isinstance(command, QLineEdit)
    assert command.text() == "nfkd run /runs/first/experiment.toml"
    window.open_workspace("train")
    copy = window.train.inspector.findChild(QPushButton, "inspector.copy")
    assert isinstance(copy, QPushButton)
    copy.click()
    assert QApplication.clipboard().text() == command.text()


def test_a_path_with_spaces_is_quoted_in_the_command(script: Any) -> None:
    script.begin("/runs/two words", DIGITS)
    assert repeat_command(script.views["/runs/two words"]) == "nfkd run '/runs/two words/experiment.toml'"


def test_figures_of_two_seeds_leave_out_values_that_are_not_finite() -> None:
    first, second = summary_of("student", 1, 3.0), summary_of("student", 2, 4.0)
    second = msgspec.structs.replace(second, sw=float("nan"))
    assert isinstance(first, StageSummary)
    found = mean_figures([first, second])["student"]
    assert (found["test"], found["sw"], found["over_seeds"]) == (3.5, 0.03, pytest.approx(0.5**0.5))


def test_no_share_of_the_gap_without_a_baseline(script: Any) -> None:
    script.roles = ("teacher", "student")
    script.begin("/runs/a", DIGITS)
    script.finish("/runs/a")
    assert likelihood_gap(script.views["/runs/a"].summaries()) is None


@pytest.mark.parametrize(
    ("words", "found"), [("pinwheel", ["second"]), ("LKD finished", ["second"]), ("first", ["first"]), ("nothing", [])]
)
def test_the_filter_searches_name_data_loss_and_state(
    window: MainWindow, runs: QTreeView, words: str, found: list[str]
) -> None:
    field = window.findChild(QLineEdit, "runs.filter")
    assert isinstance(field, QLineEdit)
    QTest.keyClicks(field, words)
    assert names(runs) == found
    assert text(window, "runs.count") == f"{len(found)} of 2 groups"
    clear = window.findChild(QPushButton, "runs.clear")
    assert isinstance(clear, QPushButton)
    assert clear.isVisible() == (not found)
    if not found:
        clear.click()
        assert sorted(names(runs)) == ["first", "second"]


def test_gap_and_verdict_are_drawn_and_runs_without_a_gap_are_last_in_both_orders(
    window: MainWindow, runs: QTreeView
) -> None:
    window.resize(1600, 900)
    gap_column, verdict_column = heads(runs).index("Gap closed"), heads(runs).index("Verdict")
    for order in Qt.SortOrder:
        runs.sortByColumn(gap_column, order)
        assert names(runs) == ["first", "second"]
    QApplication.processEvents()
    window.runs.table.fit()
    image = runs.viewport().grab().toImage()

    def colours(row: int, column: int) -> set[str]:
        place = runs.visualRect(runs.model().index(row, column)).adjusted(0, 0, -1, -1)
        return colour_names(image.copy(place.intersected(image.rect())))

    assert QColor(role_colour("student")).name() in colours(0, gap_column)
    assert QColor(role_colour("student")).name() not in colours(1, gap_column)
    assert QColor(tokens().good_soft).name() in colours(0, verdict_column)
    assert runs.visualRect(runs.model().index(0, 0)).height() == scaled(34)


# --- the log ----------------------------------------------------------------------------------------------------------


def test_the_log_is_filtered_by_level_and_words_and_copied(window: MainWindow, studio: Studio) -> None:
    lines = [
        events.LogLine(run="/runs/a", level="info", text="started", time=1.0),
        events.LogLine(run="/runs/a", level="warning", text="few seeds", time=2.0, seed=1, stage="student"),
        events.LogLine(run="", level="error", text="disk full", time=3.0),
    ]
    for line in lines:
        studio.log_added.emit(line)
    log = window.train.log
    shown, level, find = (log.findChild(kind) for kind in (QPlainTextEdit, QComboBox, QLineEdit))
    assert isinstance(shown, QPlainTextEdit)
    assert isinstance(level, QComboBox)
    assert isinstance(find, QLineEdit)

    def texts() -> list[str]:
        return [line.split("  ", 1)[1] for line in shown.toPlainText().splitlines()]

    assert texts() == ["a  started", "a  student 1  warning: few seeds", "engine  error: disk full"]
    level.setCurrentText("Warnings and errors")
    assert len(texts()) == 2
    QTest.keyClicks(find, "SEEDS student")
    assert texts() == ["a  student 1  warning: few seeds"]
    copy = log.findChild(QPushButton, "log.copy")
    assert isinstance(copy, QPushButton)
    copy.click()
    assert QApplication.clipboard().text() == shown.toPlainText()
    find.clear()
    level.setCurrentText("Errors")
    assert texts() == ["engine  error: disk full"]


def test_the_log_follows_its_end_and_stays_where_the_user_scrolled_to(window: MainWindow, studio: Studio) -> None:
    window.open_workspace("train")
    window.train.show_log()
    QApplication.processEvents()
    shown = window.train.log.findChild(QPlainTextEdit)
    assert isinstance(shown, QPlainTextEdit)
    bar = shown.verticalScrollBar()

    def add(count: int) -> None:
        for number in range(count):
            studio.log_added.emit(events.LogLine(run="", level="info", text=f"line {number}", time=float(number)))
        QApplication.processEvents()

    add(60)
    assert bar.value() == bar.maximum() > 0
    bar.setValue(7)
    add(5)
    assert bar.value() == 7
    studio.theme_changed.emit()
    QApplication.processEvents()
    assert bar.value() == 7
    bar.setValue(bar.maximum())
    add(5)
    assert bar.value() == bar.maximum()


def test_events_stand_in_the_inspector_and_lead_to_the_log(window: MainWindow, script: Any, do: Do) -> None:
    async def scenario() -> None:
        script.begin("/runs/a", DIGITS)
        window.studio.open_run("/runs/a")
        await settled(window.studio)
        window.open_workspace("train")
        script.emit(
            events.LogLine(run="/runs/a", level="info", text="Seed 1: the teacher stopped", time=1.0, stage="teacher")
        )
        await settled(window.studio)
        assert text(window, "inspector.event.0") == "The teacher stopped"
        link = window.train.inspector.findChild(QPushButton, "inspector.log")
        assert isinstance(link, QPushButton)
        assert not window.train.docks["log"].isVisible()
        link.click()
        assert window.train.docks["log"].isVisible()

    do(scenario())
