"""Qt table model of the runs: one row per run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QFont

from nfkd.protocol.events import RunRow
from nfkd.text import plain
from nfkd_gui.model.studio import LIVE, Studio
from nfkd_gui.numbers import format_measure
from nfkd_gui.widgets.labels import tip

Index = QModelIndex | QPersistentModelIndex
SORT_ROLE = Qt.ItemDataRole.UserRole
RUN_ROLE = Qt.ItemDataRole.UserRole + 1
_DAY = 24 * 3600
_LONGEST = 200
"""Characters of a cell."""


@dataclass(frozen=True)
class Column:
    """A column: its title, the text of a cell and the key it is sorted by."""

    title: str
    tip: str
    text: Callable[[RunRow], str]
    key: Callable[[RunRow], Any]
    numeric: bool = False


def _state_label(row: RunRow) -> str:
    state = f"{row.state} {100 * row.progress:.0f} %" if row.state in {"running", "paused"} else row.state
    return f"{state}, another process" if row.elsewhere else state


def format_time(created: float, now: float) -> str:
    """Return the time of day within the last 24 hours, else the date; empty if `created` is no valid time."""
    form = "%H:%M" if 0 <= now - created < _DAY else "%Y-%m-%d"
    try:
        return time.strftime(form, time.localtime(created))
    except (OverflowError, OSError, ValueError):
        return ""


def _measure(value: float | None) -> float:
    return float("inf") if value is None else value


COLUMNS = (
    Column("Name", "Name of the run and its folder.", lambda row: row.name, lambda row: row.name.lower()),
    Column("State", "Queued, running, finished, interrupted …", _state_label, lambda row: row.state),
    Column("Data", "The data set.", lambda row: row.data, lambda row: row.data),
    Column(
        "Flows",
        "Teacher, assistants and student.",
        lambda row: f"{row.teacher} → {row.student}",
        lambda row: row.teacher,
    ),
    Column(
        "Student",
        "Test negative log-likelihood of the distilled student; lower is better.",
        lambda row: format_measure(row.student_test),
        lambda row: _measure(row.student_test),
        numeric=True,
    ),
    Column(
        "Baseline",
        "Test negative log-likelihood of the same student trained without the teacher.",
        lambda row: format_measure(row.baseline_test),
        lambda row: _measure(row.baseline_test),
        numeric=True,
    ),
    Column("Unit", "Unit of both values.", lambda row: row.unit, lambda row: row.unit),
    Column(
        "Created",
        "When the run was created.",
        lambda row: format_time(row.created, time.time()),
        lambda row: row.created,
        numeric=True,
    ),
)


class RunsModel(QAbstractTableModel):
    """The studio's runs as rows."""

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        self._studio = studio
        self._runs: list[str] = list(studio.rows)
        studio.rows_changed.connect(self._reset)
        studio.row_changed.connect(self._row_changed)
        studio.progressed.connect(lambda progress: self._row_changed(progress.run))
        studio.view_changed.connect(self._redraw)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._runs)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = COLUMNS[section]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return column.title
            case Qt.ItemDataRole.ToolTipRole:
                return column.tip
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(column)
            case _:
                return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self._studio.rows.get(self._runs[index.row()])
        if row is None:
            return None
        column = COLUMNS[index.column()]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return plain(column.text(self._live(row)), _LONGEST)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(column)
            case Qt.ItemDataRole.ToolTipRole:
                return _tip(row)
            case Qt.ItemDataRole.FontRole:
                return self._font(row)
            case _:
                return {SORT_ROLE: column.key(row), RUN_ROLE: row.run}.get(role)

    def index_of(self, run: str) -> QModelIndex:
        """Return the first cell of a run; invalid if there is no such run."""
        return self.index(self._runs.index(run), 0) if run in self._runs else QModelIndex()

    def _live(self, row: RunRow) -> RunRow:
        progress = self._studio.progress.get(row.run)
        if progress is None or row.state not in LIVE:
            return row
        return msgspec.structs.replace(row, progress=progress.fraction)

    def _font(self, row: RunRow) -> QFont | None:
        shown = self._studio.view
        if shown is None or shown.row.run != row.run:
            return None
        font = QFont()
        font.setBold(True)
        return font

    def _reset(self) -> None:
        self.beginResetModel()
        self._runs = list(self._studio.rows)
        self.endResetModel()

    def _row_changed(self, run: str) -> None:
        if run in self._runs:
            row = self._runs.index(run)
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def _redraw(self) -> None:
        if self._runs:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._runs) - 1, len(COLUMNS) - 1))


def _alignment(column: Column) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column.numeric else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


def _tip(row: RunRow) -> str:
    seeds = f"{row.seeds_done} of {row.seeds} seeds" if row.seeds > 1 else "one seed"
    lines = [f"{row.data} · {row.teacher} → {row.student} · {seeds}", row.device, row.cause, row.verdict, row.run]
    return tip("\n".join(line for line in lines if line))
