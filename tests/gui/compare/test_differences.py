"""What differs: settings, results, differences and verdicts of the chosen runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QLabel

from nfkd.protocol.comparing import ComparedDifference, ComparedMean, ComparedMetric, CompareRuns, RunsCompared
from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.chosen_runs import ChosenRuns
from nfkd_gui.model.compare import CompareModel
from nfkd_gui.panels.compare_differences import DifferencesPanel
from nfkd_gui.panels.compare_rows import Row, difference_rows, table_rows
from nfkd_gui.theme import font, tokens
from nfkd_gui.widgets.caption import in_lines
from nfkd_gui.widgets.figure import draw_image
from tests.gui.compare.compare_driver import key
from tests.gui.compare_script import CompareScript
from tests.gui.pixels import count_of

NAN = math.nan
ACTION = "Choose runs of the same data."


def mean(value: float, half: float = NAN, seeds: int = 1) -> ComparedMean:
    return ComparedMean(value=value, half=half, seeds=seeds)


def compared() -> RunsCompared:
    """Return a comparison of two runs, the second better with three seeds in one metric and with two in another."""
    nll = ComparedMetric(
        name="test likelihood", unit="nats", form=".4f", means=[mean(2.5, 0.1, 3), mean(2.25, 0.05, 3)],
        differences=[None, ComparedDifference(mean=mean(-0.25, 0.0625, 3), outcome="better")], best=1,
    )  # fmt: skip
    precision = ComparedMetric(
        name="precision", unit="", form=".3f", means=[mean(0.5), mean(NAN, seeds=0)],
        differences=[None, ComparedDifference(mean=mean(0.125, 0.5, 2), outcome="")],
    )  # fmt: skip
    return RunsCompared(
        names=["first", "second"], unit="nats",
        settings={"student.hidden": [32.0, 64.0], "distillation.inherit": [None, "blocks"]},
        same=46, sizes={"parameters": [12_345.0, 40_000.0], "multiply_adds": [5e6, 5e6]}, gaps=[NAN, 0.71],
        verdicts=["better", ""], metrics=[nll, precision],
    )  # fmt: skip


def row_of(rows: list[Row], label: str) -> Row:
    return next(row for row in rows if row.label == label)


def test_rows_have_settings_then_results_with_intervals_and_outcomes() -> None:
    rows = difference_rows(compared())
    assert [row.label for row in rows] == [
        "Settings", "Hidden channels", "Inherit", "Results", "Test likelihood", "Precision", "Gap closed", "Parameters",
        "Multiply-adds", "Verdict",
    ]  # fmt: skip
    assert [cell.text for cell in row_of(rows, "Hidden channels").cells] == ["32", "64"]
    assert [cell.text for cell in row_of(rows, "Inherit").cells] == ["–", "blocks"]
    first, second = row_of(rows, "Test likelihood").cells
    assert (first.text, first.best, first.details) == ("2.5000", False, ())
    assert (second.text, second.best, second.outcome) == ("2.2500", True, "better")
    assert second.details == ("−0.2500 ± 0.0625, better", "−0.2500, better", "✓ −0.2500", "✓")


def test_few_seeds_have_no_outcome_but_their_number() -> None:
    rows = difference_rows(compared())
    first, second = row_of(rows, "Precision").cells
    assert first.help == "0.500, 1 seed"
    assert (second.text, second.outcome, second.details[0]) == ("–", "", "+0.125 ± 0.500, 2 seeds")


def test_the_smallest_is_the_best_unless_all_are_equal() -> None:
    rows = difference_rows(compared())
    assert [cell.best for cell in row_of(rows, "Parameters").cells] == [True, False]
    assert [cell.best for cell in row_of(rows, "Multiply-adds").cells] == [False, False]
    assert [(cell.text, cell.best) for cell in row_of(rows, "Gap closed").cells] == [("–", False), ("71 %", True)]


def test_the_table_for_files_has_all_digits() -> None:
    rows = list(table_rows(compared()))
    assert ["student.hidden", "second", 64.0, "", "", "", "", ""] in rows
    assert ["test likelihood", "second", 2.25, 0.05, 3, -0.25, 0.0625, "better"] in rows
    assert ["parameters", "first", 12_345.0, "", "", "", "", ""] in rows


def test_tiny_values_have_an_exponent() -> None:
    reply = compared()
    mmd = ComparedMetric(
        name="MMD", unit="", form=".5f", means=[mean(0.000083), mean(0.00408)], differences=[None, None]
    )  # fmt: skip
    rows = difference_rows(msgspec.structs.replace(reply, metrics=[mmd]))
    assert [cell.text for cell in row_of(rows, "MMD").cells] == ["8.3e−5", "0.00408"]


@pytest.mark.parametrize("width", [260, 488])
def test_columns_are_as_wide_as_their_numbers(show: Callable[..., Any], width: int) -> None:
    panel: DifferencesPanel = show(DifferencesPanel, (width, 400))
    reply = compared()
    names = ["hidden-16_steps-3, with a long name", "hidden-16_steps-2, with a long name"]
    panel.rows.show_rows(difference_rows(reply), names, [None, None])
    metrics = QFontMetrics(font("strong"))
    header = panel.table.horizontalHeader()
    for row in panel.rows.rows:
        for column, cell in enumerate(row.cells):
            if cell.is_number:
                assert header.sectionSize(column) > metrics.horizontalAdvance(cell.text), (row.label, cell.text)
    assert header.sectionSize(0) < metrics.horizontalAdvance(names[0])  # the name is cut, not the numbers


def test_names_are_broken_where_they_have_marks() -> None:
    metrics = QFontMetrics(font("caption"))
    for text, lines in (
        ("hidden-16_steps-3", ["hidden-16_", "steps-3"]),
        ("Steps per level", ["Steps", "per level"]),
        ("Samples/s", None),
    ):  # fmt: skip
        width = 1000 if lines is None else 2 + max(map(metrics.horizontalAdvance, lines))
        assert in_lines(text, metrics, width) == (lines or [text])
    assert len(in_lines("Samples/s", metrics, metrics.horizontalAdvance("Samples/"))) == 1  # no line of one letter


@pytest.fixture
def panel(show: Callable[..., Any]) -> DifferencesPanel:
    return show(DifferencesPanel, (488, 400))


def sentence(panel: DifferencesPanel) -> str:
    label = panel.findChild(QLabel, "compare.differences.sentence")
    assert isinstance(label, QLabel)
    return label.text() if label.isVisible() else ""


def test_the_panel_says_what_to_choose(panel: DifferencesPanel, model: CompareModel, script: CompareScript) -> None:
    assert sentence(panel).startswith("Choose runs in the table")
    model.choose([key("pool")])
    panel.refresh()
    assert sentence(panel) == "Choose another run in the table to compare it with pool."
    assert panel.figure() is None
    assert not any(isinstance(request, CompareRuns) for request in script.asked)


def test_the_chosen_runs_are_compared_with_the_first(
    panel: DifferencesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    remarks: list[str] = []
    panel.remarked.connect(remarks.append)
    model.choose([key("pool"), key("K = 4, blocks + pool")])
    answered(panel, chosen.compared)
    (request,) = [request for request in script.asked if isinstance(request, CompareRuns)]
    assert request.runs == [key("pool"), key("K = 4, blocks + pool")]
    assert remarks[-1] == "46 settings are the same"
    header = [panel.rows.headerData(column, Qt.Orientation.Horizontal) for column in range(2)]
    assert header == ["pool", "K = 4, blocks + pool"]
    picture = panel.table.grab().toImage()
    for colour in (*tokens().run[:2], tokens().good):
        assert count_of(picture, colour) > 3, colour
    assert panel.note.text().startswith("Differences to pool, paired by seed")


def test_a_picture_has_all_rows(
    panel: DifferencesPanel, model: CompareModel, chosen: ChosenRuns, answered: Any
) -> None:
    panel.resize(300, 160)
    model.choose([key("pool"), key("SKD at 1"), key("pool, h 32")])
    answered(panel, chosen.compared)
    figure = panel.figure()
    assert figure is not None
    table = panel.table
    assert figure.height() >= table.horizontalHeader().height() + table.verticalHeader().length() > table.height()
    assert draw_image(figure).height() > 2 * figure.height()


def test_other_data_are_refused_in_the_panel(
    panel: DifferencesPanel, model: CompareModel, chosen: ChosenRuns, script: CompareScript, answered: Any
) -> None:
    cause = "pool has data.kind = 'digits', other has 'mnist': their figures cannot be compared"
    script.refused["CompareRuns"] = ErrorInfo(title="Different data", cause=cause, action=ACTION)
    model.choose([key("pool"), key("SKD at 1")])
    answered(panel, chosen.compared)
    assert sentence(panel) == f"Different data. {cause}. {ACTION}"
    del script.refused["CompareRuns"]
    model.choose([key("pool"), key("mixing only")])
    answered(panel, chosen.compared)
    assert sentence(panel) == ""
