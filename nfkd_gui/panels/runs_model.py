"""Qt table model of the runs: one row per run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtGui import QFont

from nfkd.protocol.events import Progress, RunRow
from nfkd.text import plain
from nfkd_gui.model.headline import ENOUGH_SEEDS
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.studio import Studio
from nfkd_gui.numbers import format_duration, format_measure, format_percent
from nfkd_gui.theme import font
from nfkd_gui.widgets.chip import ChipTone, verdict_tone
from nfkd_gui.widgets.labels import tip

Index = QModelIndex | QPersistentModelIndex
SORT_ROLE = Qt.ItemDataRole.UserRole
RUN_ROLE = Qt.ItemDataRole.UserRole + 1
GAP_ROLE = Qt.ItemDataRole.UserRole + 2
"""The share of the gap that is closed; None where it is not known."""
CHIP_ROLE = Qt.ItemDataRole.UserRole + 3
"""Text and tone of a chip, in cells that have one."""
FIND_ROLE = Qt.ItemDataRole.UserRole + 4
"""The text of a run that the filter searches."""
_DAY = 24 * 3600
_LONGEST = 200
"""Characters of a cell."""


@dataclass(frozen=True)
class Column:
    """A column: its title, the text of a cell and the key it is sorted by; keys of None are always last."""

    title: str
    tip: str
    text: Callable[[RunRow], str]
    key: Callable[[RunRow], Any]
    numeric: bool = False


def _state_label(row: RunRow) -> str:
    state = f"{row.state} {100 * row.progress:.0f} %" if row.state in {"running", "paused"} else row.state
    return f"{state}, another process" if row.elsewhere else state


def _seeds_label(row: RunRow) -> str:
    return f"{row.seeds}" if row.seeds_done >= row.seeds else f"{row.seeds_done} of {row.seeds}"


def verdict_chip(row: RunRow) -> tuple[str, ChipTone] | None:
    """Return text and tone of a verdict's chip; below three seeds it says so in place of a verdict."""
    if not row.verdict:
        return None
    if row.seeds_done < ENOUGH_SEEDS:
        return f"{row.seeds_done} of {max(row.seeds, ENOUGH_SEEDS)} seeds", "neutral"
    return row.verdict.capitalize(), verdict_tone(row.verdict)


def format_time(created: float, now: float) -> str:
    """Return the time of day within the last 24 hours, else the date; empty if `created` is no valid time."""
    form = "%H:%M" if 0 <= now - created < _DAY else "%Y-%m-%d"
    try:
        return time.strftime(form, time.localtime(created))
    except (OverflowError, OSError, ValueError):
        return ""


def _test(title: str, about: str, value: Callable[[RunRow], float | None]) -> Column:
    tip_ = f"Test negative log-likelihood of {about}, mean over seeds; lower is better."
    return Column(title, tip_, lambda row: format_measure(value(row)), value, numeric=True)


GAP, VERDICT = 4, 3
"""The columns with a bar and with a chip."""
COLUMNS = (
    Column("Run", "Name of the run and its folder.", lambda row: row.name, lambda row: row.name.lower()),
    Column("State", "Queued, running, finished, interrupted …", _state_label, lambda row: row.state),
    Column("Seeds", "Seeds that have ended, and all seeds.", _seeds_label, lambda row: row.seeds, numeric=True),
    Column(
        "Verdict",
        "Whether the student is better than its baseline; needs three seeds.",
        lambda row: (verdict_chip(row) or ("",))[0],
        lambda row: (verdict_chip(row) or (None,))[0],
    ),
    Column(
        "Gap closed",
        "Share of the gap between baseline and teacher that the student closes.",
        lambda row: "" if row.gap_closed is None else format_percent(row.gap_closed),
        lambda row: row.gap_closed,
        numeric=True,
    ),
    _test("Student", "the distilled student", lambda row: row.student_test),
    _test("Baseline", "the same student trained without the teacher", lambda row: row.baseline_test),
    _test("Teacher", "the teacher", lambda row: row.teacher_test),
    Column("Unit", "Unit of the test figures.", lambda row: row.unit, lambda row: row.unit),
    Column("Data", "The data set.", lambda row: row.data, lambda row: row.data),
    Column(
        "Flows",
        "Teacher, assistants and student.",
        lambda row: f"{row.teacher} → {row.student}",
        lambda row: row.teacher,
    ),
    Column("Loss", "Terms of the student's loss, with weights.", lambda row: row.loss, lambda row: row.loss or None),
    Column(
        "Time",
        "Time of all finished stages.",
        lambda row: format_duration(row.seconds) if row.seconds else "",
        lambda row: row.seconds or None,
        numeric=True,
    ),
    Column(
        "Created",
        "When the run was created.",
        lambda row: format_time(row.created, time.time()),
        lambda row: row.created,
        numeric=True,
    ),
)
CREATED = len(COLUMNS) - 1


class RunsModel(QAbstractTableModel):
    """The studio's runs as rows."""

    def __init__(self, studio: Studio, parent: QObject) -> None:
        super().__init__(parent)
        self._studio = studio
        self._runs: list[str] = list(studio.rows)
        studio.rows_changed.connect(self._reset)
        studio.row_changed.connect(self._row_changed)
        studio.progressed.connect(self._on_progress)
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
                return self._font(row) if index.column() == 0 else None
            case _:
                return _own_data(row, column, role)

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
        return font("strong") if shown is not None and shown.row.run == row.run else None

    def _reset(self) -> None:
        self.beginResetModel()
        self._runs = list(self._studio.rows)
        self.endResetModel()

    def _on_progress(self, progress: Progress) -> None:
        self._row_changed(progress.run)

    def _row_changed(self, run: str) -> None:
        if run in self._runs:
            row = self._runs.index(run)
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def _redraw(self) -> None:
        if self._runs:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._runs) - 1, len(COLUMNS) - 1))


class SortedRuns(QSortFilterProxyModel):
    """The runs in the order of a column, those without a value last; only those that contain every word of a text."""

    def __init__(self, model: RunsModel) -> None:
        super().__init__(model)
        self._words: list[str] = []
        self.setSourceModel(model)
        self.setSortRole(SORT_ROLE)

    def find(self, text: str) -> None:
        """Keep runs whose name, data, flows, loss, state or verdict contain every word of a text."""
        self._words = text.casefold().split()
        self.invalidate()

    def filterAcceptsRow(self, source_row: int, source_parent: Index) -> bool:
        text = self.sourceModel().index(source_row, 0, source_parent).data(FIND_ROLE)
        return text is not None and all(word in text for word in self._words)

    def lessThan(self, source_left: Index, source_right: Index) -> bool:
        left, right = source_left.data(SORT_ROLE), source_right.data(SORT_ROLE)
        if left is None or right is None:
            last = left is None if self.sortOrder() == Qt.SortOrder.DescendingOrder else right is None
            return last and (left is None) != (right is None)
        return left < right


def _own_data(row: RunRow, column: Column, role: int) -> Any:
    match role:
        case _ if role == SORT_ROLE:
            return column.key(row)
        case _ if role == RUN_ROLE:
            return row.run
        case _ if role == GAP_ROLE:
            return row.gap_closed
        case _ if role == CHIP_ROLE:
            return verdict_chip(row)
        case _ if role == FIND_ROLE:
            texts = (row.name, row.data, row.teacher, row.student, row.loss, _state_label(row), row.verdict)
            return " ".join(texts).casefold()
        case _:
            return None


def _alignment(column: Column) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column.numeric else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


def _tip(row: RunRow) -> str:
    seeds = f"{row.seeds_done} of {row.seeds} seeds" if row.seeds > 1 else "one seed"
    lines = [f"{row.data} · {row.teacher} → {row.student} · {seeds}", row.device, row.cause, row.verdict, row.run]
    return tip("\n".join(line for line in lines if line))
