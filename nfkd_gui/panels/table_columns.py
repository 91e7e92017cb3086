"""The list of columns in the table panel: KS statistic and C2ST of every flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from nfkd.protocol.inspection import ColumnTests, TableRows
from nfkd.protocol.roles import Role, role_label
from nfkd.text import plain
from nfkd_gui.numbers import format_measure
from nfkd_gui.theme import scaled, set_type
from nfkd_gui.widgets.labels import tip

_LONGEST = 60
_NAME, _MEASURE, _ROW = 110, 66, 26
_LEAST = 56, 62
"""Least widths of the names and of a measure."""
_VALUE = Qt.ItemDataRole.UserRole
_HELP = {
    "KS": "Largest distance between the distribution functions of samples and test rows; 0 is best.",
    "C2ST": "ROC AUC of a classifier that separates samples from test rows by this column; 0.5 is best.",
}
Index = QModelIndex | QPersistentModelIndex


class ColumnsModel(QAbstractTableModel):
    """A row for each column of the data: its name, and both measures of every flow."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._names: list[str] = []
        self._measures: list[tuple[str, Role]] = []
        self.values: dict[tuple[str, Role], np.ndarray] = {}
        """(columns,) by measure and flow; NaN where it is not known."""
        self._with_flows = True

    def show_rows(self, rows: TableRows | None) -> None:
        """Show the columns of a reply, or nothing; nothing is known of C2ST then."""
        self.beginResetModel()
        self._names = list(rows.columns) if rows is not None else []
        roles: list[Role] = list(rows.ks) if rows is not None else []
        self._measures = [(measure, role) for measure in _HELP for role in roles]
        self.values = {}
        for measure, role in self._measures:
            known = rows.ks[role] if rows is not None and measure == "KS" else np.full(len(self._names), np.nan)
            self.values[measure, role] = np.array(known)
        self.endResetModel()

    def add(self, tests: ColumnTests) -> None:
        """Add the C2ST of some columns."""
        for role, scores in tests.c2st.items():
            self.values["C2ST", role][tests.columns] = scores
        last = self.index(self.rowCount() - 1, self.columnCount() - 1)
        self.dataChanged.emit(self.index(0, 0), last)

    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._names)

    def columnCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else 1 + len(self._measures)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = index.row(), index.column()
        if column == 0:
            shown = {Qt.ItemDataRole.DisplayRole: plain(self._names[row], _LONGEST), _VALUE: row}
            shown[Qt.ItemDataRole.ToolTipRole] = tip(self._names[row])
            return shown.get(role)  # type: ignore[call-overload]
        value = float(self.values[self._measures[column - 1]][row])
        if role == Qt.ItemDataRole.DisplayRole:
            return format_measure(value)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == _VALUE:
            return -1.0 if np.isnan(value) else value  # unknown ones stand at the end
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        measure, flow = self._measures[section - 1] if section else ("", None)
        if role == Qt.ItemDataRole.DisplayRole:
            return "Column" if flow is None else f"{measure}\n{role_label(flow)}" if self._with_flows else measure
        if role == Qt.ItemDataRole.ToolTipRole:
            return "Click to sort." if flow is None else _HELP[measure]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if section else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def name_flows(self, shown: bool) -> None:
        """Name the flows in the heads, or the measures alone."""
        if shown != self._with_flows:
            self._with_flows = shown
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, self.columnCount() - 1)

    def sections_of(self, role: Role | None) -> list[int]:
        """Return the columns of the list with the measures of a flow; of all flows for None."""
        return [number for number, (_, flow) in enumerate(self._measures, start=1) if role in (None, flow)]


class ColumnsView(QTableView):
    """Lists the columns; those that are chosen are plotted."""

    chosen = Signal()
    seen = Signal()
    """Other rows are visible."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._role: Role | None = None
        self.shows_all = True
        """Whether there is room for the measures of all flows."""
        self.setObjectName("table.columns")
        self.setAccessibleName("Columns")
        self.setToolTip("Choose up to five columns to plot, with Ctrl or Shift. A click on a head sorts.")
        self.model_ = ColumnsModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.model_)
        self._sorted.setSortRole(_VALUE)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setMinimumSectionSize(1)
        header.setSortIndicatorShown(False)  # its arrow would need more room than the numbers
        set_type(header, "caption")
        self.restyle()
        self.selectionModel().selectionChanged.connect(self._emit_chosen)
        self.verticalScrollBar().valueChanged.connect(self.seen)
        self._sorted.layoutChanged.connect(self.seen)

    def restyle(self) -> None:
        """Apply the current scale."""
        self.verticalHeader().setDefaultSectionSize(scaled(_ROW))
        self._fit()

    def show_role(self, role: Role) -> None:
        """Choose the flow whose measures are shown where there is no room for those of all flows."""
        self._role = role
        self._fit()

    def _fit(self) -> None:
        """Let the list fit its width: with narrower columns, or else with the measures of one flow."""
        header, room = self.horizontalHeader(), self.viewport().width()
        name, least = map(scaled, _LEAST)
        every = self.model_.sections_of(None)
        self.shows_all = name + least * len(every) <= room
        shown = every if self.shows_all else self.model_.sections_of(self._role)
        self.model_.name_flows(self.shows_all)
        across = min((room - name) // max(len(shown), 1), scaled(_MEASURE))
        for section in every:
            header.setSectionHidden(section, section not in shown)
            header.resizeSection(section, across)
        header.resizeSection(0, max(name, min(room - across * len(shown), scaled(_NAME))))

    def wanted_width(self) -> int:
        """Return the width that shows all columns of the list."""
        measures = scaled(_MEASURE) * len(self.model_.sections_of(None))
        return scaled(_NAME) + measures + self.verticalScrollBar().sizeHint().width()

    def show_rows(self, rows: TableRows | None, choose: Sequence[int]) -> None:
        """Show the columns of a reply and choose some."""
        self.model_.show_rows(rows)
        if rows is None:
            return
        self.restyle()
        flags = QItemSelectionModel.SelectionFlag
        for column in choose:
            index = self._sorted.mapFromSource(self.model_.index(column, 0))
            self.selectionModel().select(index, flags.Select | flags.Rows)

    def chosen_columns(self) -> list[int]:
        """Return the chosen columns of the data, in its order."""
        rows = self.selectionModel().selectedRows()
        return sorted(self._sorted.mapToSource(index).row() for index in rows)

    def visible_columns(self) -> list[int]:
        """Return the columns of the data in the visible rows, from top to bottom."""
        first = self.rowAt(0)
        last = self.rowAt(self.viewport().height() - 1)
        last = self._sorted.rowCount() - 1 if last < 0 else last
        if first < 0:
            return []
        return [self._sorted.mapToSource(self._sorted.index(row, 0)).row() for row in range(first, last + 1)]

    def _emit_chosen(self) -> None:
        self.chosen.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()
        self.seen.emit()
