"""The table panel: its list of columns, the C2ST of those that are visible, and the pair plot of the chosen ones."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QLabel, QPushButton, QTableView
from scipy import stats

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.inspection import (
    MAX_COLUMNS_TESTED,
    CancelInspection,
    ColumnTests,
    CompareColumns,
    ReadTable,
    TableRows,
)
from nfkd.protocol.roles import DATA, Role
from nfkd_gui.model.csv_files import write_csv
from nfkd_gui.panels.table import TablePanel
from nfkd_gui.theme import role_colour
from tests.gui.panels.conftest import RUN

ROLES: tuple[Role, ...] = ("teacher", "student", "baseline")


def rows(features: int = 43) -> TableRows:
    """Return rows whose samples differ the more, the larger the number of the column; in mixed units."""
    numbers, scale = np.random.default_rng(3), np.linspace(1, 1000, features)
    data = numbers.normal(size=(400, features)) * scale
    samples: dict[Role, np.ndarray] = {
        role: (numbers.normal(size=(500, features)) + shift * np.linspace(0, 1, features)) * scale
        for role, shift in zip(ROLES, (0.1, 0.5, 1.5), strict=True)
    }
    samples["student"][4, 0] = np.inf
    tests: dict[Role, list[Any]] = {
        role: [stats.ks_2samp(data[:, n], values[np.isfinite(values[:, n]), n]) for n in range(features)]
        for role, values in samples.items()
    }
    ks: dict[Role, np.ndarray] = {role: np.array([test[0] for test in found]) for role, found in tests.items()}
    ks_p: dict[Role, np.ndarray] = {role: np.array([test[1] for test in found]) for role, found in tests.items()}
    return TableRows(
        RUN, seed=1, columns=[f"field {number}" for number in range(features)], data=data, samples=samples,
        ks=ks, ks_p=ks_p, dropped={role: (~np.isfinite(values)).sum(axis=0) for role, values in samples.items()},
    )  # fmt: skip


def make(fake_run: Any, shape: tuple[int, ...] = (43,)) -> Any:
    run = fake_run(shape=shape)
    for role in ROLES:
        run.begin(role)
        run.finish(role, steps=10, best_step=10)
    return run


def asked(studio: Any, kind: type) -> list[Any]:
    return [request for request, *_ in studio.asked if isinstance(request, kind)]


def answer(panel: Any, studio: Any, kind: type, reply: Any) -> None:
    _, on_reply, on_error, _ = next(each for each in reversed(studio.asked) if isinstance(each[0], kind))
    (on_error if isinstance(reply, ErrorInfo) else on_reply)(reply)
    panel.refresh()


def scores_of(request: CompareColumns) -> ColumnTests:
    scores = 0.5 + np.array(request.columns) / 100
    return ColumnTests(RUN, seed=1, columns=request.columns, c2st=dict.fromkeys(ROLES, scores))


@pytest.fixture
def filled(show: Any, fake_run: Any, fake_studio: Any) -> Any:
    """The panel with the rows of 43 columns."""
    panel = show(TablePanel, make(fake_run), (1000, 600))
    answer(panel, fake_studio, ReadTable, rows())
    return panel


def cell(panel: Any, row: int, column: int) -> str:
    return panel.columns.model().index(row, column).data()


def press(panel: Any, row: int, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    view: QTableView = panel.columns
    index = view.model().index(row, 0)
    view.scrollTo(index)
    place = view.visualRect(index).center()
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, modifier, place)
    panel.refresh()


def test_images_have_no_table(show: Any, fake_run: Any, fake_studio: Any) -> None:
    panel = show(TablePanel, make(fake_run, (1, 8, 8)))
    assert "images" in panel._placeholder.text()
    assert not asked(fake_studio, ReadTable)


def test_ks_is_listed_and_sorted_by_a_click_on_its_head(filled: Any, tmp_path: Path) -> None:
    made = rows()
    assert cell(filled, 0, 0) == "field 0"
    assert filled.columns.model().rowCount() == 43
    assert cell(filled, 5, 2) == f"{made.ks['student'][5]:.3f}"
    header = filled.columns.horizontalHeader()
    place = header.sectionViewportPosition(3) + 10
    for _ in range(2):
        QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place, 10))
    shown = [float(cell(filled, row, 3)) for row in range(43)]
    assert shown in (sorted(shown), sorted(shown, reverse=True))
    assert {shown[0], shown[-1]} == {
        round(float(end), 3) for end in (made.ks["baseline"].min(), made.ks["baseline"].max())
    }
    write_csv(tmp_path / "columns.csv", filled.numbers()["Columns"])
    found = list(csv.DictReader((tmp_path / "columns.csv").read_text().splitlines()))
    line = next(row for row in found if (row["column"], row["flow"]) == ("field 9", "teacher"))
    expected = stats.ks_2samp(made.data[:, 9], made.samples["teacher"][:, 9])
    assert (float(line["KS"]), float(line["p value of KS"])) == pytest.approx((expected[0], expected[1]))
    assert line["C2ST (AUC)"] in ("", "nan")


def test_c2st_is_asked_for_visible_rows_in_batches_and_after_scrolling(filled: Any, fake_studio: Any) -> None:
    first = asked(fake_studio, CompareColumns)
    assert [each.columns for each in first] == [list(range(MAX_COLUMNS_TESTED))]
    answer(filled, fake_studio, CompareColumns, scores_of(first[0]))
    assert [cell(filled, row, 5) for row in (0, 7)] == ["0.500", "0.570"]
    filled.columns.scrollToBottom()
    filled.refresh()
    pending = asked(fake_studio, CompareColumns)[-1]
    answer(filled, fake_studio, CompareColumns, scores_of(pending))
    visible = filled.columns.visible_columns()
    assert visible[-1] == 42
    assert asked(fake_studio, CompareColumns)[-1].columns == visible[:MAX_COLUMNS_TESTED]
    for _ in range(9):
        if filled._tests.busy:
            answer(filled, fake_studio, CompareColumns, scores_of(asked(fake_studio, CompareColumns)[-1]))
    requested = [column for each in asked(fake_studio, CompareColumns) for column in each.columns]
    assert len(requested) == len(set(requested)), "none is computed twice"
    assert set(visible) <= set(requested)
    assert len(requested) < 43, "rows that nobody has seen wait"


def test_c2st_is_cancelled_and_asked_for_again(filled: Any, fake_studio: Any) -> None:
    cancel = filled.findChild(QPushButton, "table.tests.cancel")
    assert cancel.isVisible()
    QTest.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert isinstance(fake_studio.asked[-1][0], CancelInspection)
    filled.columns.scrollToBottom()
    filled.refresh()
    assert len(asked(fake_studio, CompareColumns)) == 1, "the user wants none"
    filled.columns.scrollToTop()
    QTest.mouseClick(filled.findChild(QPushButton, "table.tests.again"), Qt.MouseButton.LeftButton)
    filled.refresh()
    assert asked(fake_studio, CompareColumns)[-1].columns == list(range(MAX_COLUMNS_TESTED))
    refusal = ErrorInfo(title="There are no samples", cause="No flow of the run can sample.")
    answer(filled, fake_studio, CompareColumns, refusal)
    assert filled.findChild(QLabel, "table.tests.message").text() == f"{refusal.title}. {refusal.cause}"
    filled.refresh()
    assert len(asked(fake_studio, CompareColumns)) == 2


def test_one_column_has_step_histograms_of_the_same_bins(filled: Any) -> None:
    made = rows()
    press(filled, 20)
    assert list(filled.pairs.cells) == [(0, 0)]
    lines = filled.pairs.lines[0, 0].items
    assert list(lines) == [DATA, *ROLES]
    edges, heights = lines[DATA].getData()
    for name, values in {DATA: made.data, **made.samples}.items():
        x, shares = lines[name].getData()
        np.testing.assert_array_equal(x, edges)
        np.testing.assert_allclose(shares, 100 * np.histogram(values[:, 20], edges)[0] / len(values))
        assert lines[name].opts["pen"].color() == QColor(role_colour(name))
    assert heights.sum() == pytest.approx(100, abs=2)
    low, high = filled.pairs.cells[0, 0].canvas.getViewBox().viewRange()[0]
    scale = np.linspace(1, 1000, 43)[20]
    assert 4 * scale < high - low < 8 * scale, "in the units of the data"


def test_up_to_five_chosen_columns_make_a_pair_plot(filled: Any) -> None:
    made = rows()
    press(filled, 2)
    for row in (4, 6):
        press(filled, row, Qt.KeyboardModifier.ControlModifier)
    assert sorted(filled.pairs.cells) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    x, y = filled.pairs.lines[2, 1].items["student"].getData()
    np.testing.assert_array_equal((x, y), made.samples["student"][: len(x), [4, 6]].T)
    x, _ = filled.pairs.lines[2, 1].items[DATA].getData()
    np.testing.assert_array_equal(x, made.data[: len(x), 4])
    box = filled.findChild(QComboBox, "table.role")
    box.setFocus()
    QTest.keyClick(box, Qt.Key.Key_Up)
    filled.refresh()
    assert box.currentText() == "Teacher"
    x, _ = filled.pairs.lines[2, 1].items["teacher"].getData()
    np.testing.assert_array_equal(x, made.samples["teacher"][: len(x), 4])
    press(filled, 9, Qt.KeyboardModifier.ShiftModifier)
    assert len(filled.columns.chosen_columns()) > 5
    assert len(filled.pairs.cells) == 15
    assert filled.findChild(QLabel, "table.caption").text().startswith("The first 5 of")


@pytest.mark.parametrize(("width", "shown"), [(1500, 7), (1000, 7), (440, 3)])
def test_the_list_needs_no_scroll_bar_and_shows_one_flow_where_it_is_narrow(
    filled: Any, qtbot: Any, width: int, shown: int
) -> None:
    columns, box = filled.columns, filled.findChild(QComboBox, "table.role")
    filled.resize(width, 330)
    qtbot.waitUntil(lambda: filled.width() == width and columns.isVisible())
    for number in range(box.count()):
        box.setCurrentIndex(number)
        box.activated.emit(number)
        filled.refresh()
        header = columns.horizontalHeader()
        sections = [section for section in range(header.count()) if not header.isSectionHidden(section)]
        heads = {columns.model().headerData(section, Qt.Orientation.Horizontal) for section in sections}
        assert len(sections) == shown
        flow = f"\n{box.currentText()}" if shown > 3 else ""
        assert {"Column", f"KS{flow}", f"C2ST{flow}"} <= heads
        assert columns.horizontalScrollBar().maximum() == 0
    assert box.isEnabled()


def test_the_keyboard_chooses_columns(filled: Any) -> None:
    press(filled, 0)
    filled.columns.setFocus()
    QTest.keyClick(filled.columns, Qt.Key.Key_Down)
    filled.refresh()
    assert filled.columns.chosen_columns() == [1]


def test_plots_stand_beside_the_list_or_below_it(filled: Any, qtbot: Any) -> None:
    def left(widget: Any) -> int:
        return widget.mapTo(filled, widget.rect().topLeft()).x()

    qtbot.waitUntil(lambda: left(filled.pairs) > left(filled.columns) + 100)
    filled.resize(500, 900)
    qtbot.waitUntil(lambda: left(filled.pairs) == left(filled.columns))
    areas = [plot.canvas.getViewBox().width() for plot in filled.pairs.cells.values()]
    assert max(areas) - min(areas) < 12, "the plotted areas are equal"
