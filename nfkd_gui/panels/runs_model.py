"""Qt tree model of the runs: a row for each group, and below it one for each seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from nfkd.config.run_filter import Value
from nfkd.protocol.run_rows import RunRow
from nfkd.text import plain
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.run_columns import (
    DEFAULT,
    ColumnFormat,
    describe_column,
    find_format,
    format_of,
    titles_of,
)
from nfkd_gui.model.run_states import LIVE
from nfkd_gui.model.slices import Steps, run_steps
from nfkd_gui.model.studio import Studio
from nfkd_gui.model.thumbnails import ThumbnailStore
from nfkd_gui.numbers import format_time
from nfkd_gui.panels.runs_texts import LONGEST, alignment, cell_tip, head_tip, state_label, verdict_chip
from nfkd_gui.widgets.chip import ChipTone
from nfkd_gui.widgets.labels import tip

Index = QModelIndex | QPersistentModelIndex
_UNIT_COLUMNS = {"test"}
_MANY, _FEW = 1000, 20
"""Groups from which formats are kept after a change, and changed groups up to which they are."""
_CELL = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
_CHECKABLE, _SEED = _CELL | Qt.ItemFlag.ItemIsUserCheckable, _CELL | Qt.ItemFlag.ItemNeverHasChildren
_SINGLE = _CHECKABLE | Qt.ItemFlag.ItemNeverHasChildren
"""Combined once: Qt asks very often."""


@dataclass(slots=True)
class Cell:
    """What is painted in a cell.

    Attributes
    ----------
    text, extra
        The value, and its deviation.
    child
        Whether it belongs to a seed.
    chips
        Texts with tones in place of the text.
    share, deviation
        The share of the gap that is closed, for a bar; None for none.
    colour
        Index of the run's colour; None if it is not chosen.
    muted
        Whether all rows have this value.
    """

    text: str = ""
    extra: str = ""
    child: bool = False
    chips: Sequence[tuple[str, ChipTone]] = ()
    share: float | None = None
    deviation: float | None = None
    colour: int | None = None
    muted: bool = False
    bold: bool = False
    expandable: bool = False
    picture: np.ndarray | None = field(default=None)


@dataclass(frozen=True)
class _Prepared:
    """What is computed of groups before they are shown, and the groups `before` them.

    Attributes
    ----------
    same
        Whether the rows stay, whatever is in them.
    rows
        The row of each run; None if it is not computed yet.
    units
        The units of the test figures; None if they are not known yet.
    """

    before: Sequence[RunGroup]
    groups: Sequence[RunGroup]
    same: bool
    formats: dict[str, ColumnFormat]
    rows: dict[str, int] | None
    units: set[str] | None


class RunsModel(QAbstractItemModel):
    """The groups of a `CompareModel` as rows with chosen columns; seeds are their children.

    Attributes
    ----------
    columns
        Names of the columns; the first is always ``name``.
    thumbnails
        The pictures; shown while `pictures` is set.
    """

    def __init__(self, studio: Studio, compare: CompareModel, parent: QObject) -> None:
        super().__init__(parent)
        self._studio, self._compare = studio, compare
        self.thumbnails = ThumbnailStore(studio, self)
        self.pictures = False
        self._sorted_by, self._arrow = "", ""
        self.columns: list[str] = list(DEFAULT)
        self._titles = titles_of(self.columns)
        self.groups: list[RunGroup] = compare.groups
        self._formats: dict[str, ColumnFormat] = {}
        self._prepared: _Prepared | None = None
        self._units: set[str] | None = None
        self._rows: dict[str, int] | None = None
        compare.preparations.append(self._prepare)
        compare.groups_changed.connect(self._take_groups)
        compare.chosen_changed.connect(self.redraw)
        studio.progressed.connect(self.redraw)
        studio.view_changed.connect(self.redraw)
        self.thumbnails.arrived.connect(self.redraw)

    # --- what Qt asks ---------------------------------------------------------------------------------------------

    def index(self, row: int, column: int, parent: Index = QModelIndex()) -> QModelIndex:  # noqa: B008 - Qt's signature
        if not parent.isValid():
            return self.createIndex(row, column, 0) if row < len(self.groups) else QModelIndex()
        return self.createIndex(row, column, parent.row() + 1)  # a seed: the id is that of its group plus one

    def parent(self, index: Index = QModelIndex()) -> Any:  # type: ignore[override] # noqa: B008 - Qt's signature
        number = index.internalId() if index.isValid() else 0
        return self.createIndex(number - 1, 0, 0) if number else QModelIndex()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        if not parent.isValid():
            return len(self.groups)
        return 0 if parent.internalId() or parent.column() else len(self.groups[parent.row()].children)

    def hasChildren(self, parent: Index = QModelIndex()) -> bool:  # noqa: B008 - Qt's signature
        if not parent.isValid():
            return bool(self.groups)
        return not parent.internalId() and self.groups[parent.row()].expandable

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        del parent
        return len(self.columns)

    def flags(self, index: Index) -> Qt.ItemFlag:
        if index.internalId():
            return _SEED
        if index.column():
            return _CELL
        return _CHECKABLE if self.groups[index.row()].expandable else _SINGLE

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.columns):
            return None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._head(section)
            case Qt.ItemDataRole.ToolTipRole:
                return tip(head_tip(describe_column(self.columns[section])))
            case Qt.ItemDataRole.TextAlignmentRole:
                return alignment(self.format(self.columns[section]))
            case _:
                return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        match role:
            case Qt.ItemDataRole.DisplayRole | Qt.ItemDataRole.AccessibleTextRole:
                cell = self.cell(index)
                return " ".join(text for text in (cell.text, cell.extra, *(chip for chip, _ in cell.chips)) if text)
            case Qt.ItemDataRole.TextAlignmentRole:
                return alignment(self.format(self.columns[index.column()]))
            case Qt.ItemDataRole.ToolTipRole:
                return cell_tip(self.row_of(index), self.data(index), self.columns[index.column()])
            case Qt.ItemDataRole.CheckStateRole if index.column() == 0 and not index.internalId():
                checked = self._compare.colour_of(self.groups[index.row()].key) is not None
                return Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked
            case _:
                return None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        del value
        if role != Qt.ItemDataRole.CheckStateRole or index.internalId():
            return False
        self._compare.toggle(self.groups[index.row()].key)
        return True

    def toggle_all(self, keys: Sequence[str]) -> None:
        """Choose groups for the comparison, or take all of them out if each is chosen."""
        chosen = self._compare.chosen
        every = all(key in chosen for key in keys)
        self._compare.choose([key for key in chosen if key not in keys] if every else [*chosen, *keys])

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if 0 <= column < len(self.columns):
            self._sorted_by = self.columns[column]
            self._arrow = "↓" if order == Qt.SortOrder.DescendingOrder else "↑"
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(self.columns) - 1)
            self._compare.sort_by(self.columns[column], descending=order == Qt.SortOrder.DescendingOrder)

    # --- rows and columns -----------------------------------------------------------------------------------------

    def set_columns(self, names: Sequence[str]) -> None:
        """Show these columns."""
        self.beginResetModel()
        self.columns = list(names)
        self._titles = titles_of(self.columns)
        self.endResetModel()

    def group_at(self, index: Index) -> RunGroup:
        """Return the group of a row, or of the seed in it."""
        return self.groups[index.internalId() - 1 if index.internalId() else index.row()]

    def row_of(self, index: Index) -> RunRow:
        """Return the run of a seed, or the newest run of a group."""
        group = self.group_at(index)
        return group.children[index.row()][0] if index.internalId() else group.rows[0]

    def rows_of(self, index: Index) -> Sequence[RunRow]:
        """Return the runs of a row: all of a group, or that of a seed."""
        return [self.row_of(index)] if index.internalId() else self.groups[index.row()].rows

    def index_of(self, key: str) -> QModelIndex:
        """Return the row of a group by the directory of one of its runs; invalid if it is not shown."""
        if self._rows is None:
            self._rows = {run: number for number, group in enumerate(self.groups) for run in group.runs}
        number = self._rows.get(key)
        return QModelIndex() if number is None else self.index(number, 0)

    def format(self, name: str) -> ColumnFormat:
        """Return how the values of a column become text."""
        if name not in self._formats:
            self._formats[name] = format_of(name, self.groups)
        return self._formats[name]

    def redraw(self) -> None:
        """Paint all visible cells anew."""
        if self.groups:
            last = self.index(len(self.groups) - 1, len(self.columns) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def _take_groups(self) -> None:
        groups, found = self._compare.groups, self._prepared
        if found is None or found.before is not self.groups or found.groups is not groups:
            same = run_steps(self._find_same(groups))
            found = _Prepared(self.groups, groups, same, self._formats_of(groups), None, None)
        self._prepared = None
        if not found.same:
            self.beginResetModel()
        self.groups, self._formats, self._rows, self._units = groups, found.formats, found.rows, found.units
        if found.same:
            self.redraw()
        else:
            self.endResetModel()

    def _prepare(self, groups: Sequence[RunGroup]) -> Steps[None]:
        """Find the formats, seeds and rows of groups before they are shown."""
        before, formats, rows, units = self.groups, self._formats_of(groups), dict[str, int](), set[str]()
        yield
        for number, group in enumerate(groups):
            units.add(group.rows[0].unit)
            rows.update(dict.fromkeys(group.runs, number))
            if number % _MANY == 0:
                yield
        same = yield from self._find_same(groups)
        for name in self._formats:
            if name not in formats:
                formats[name] = yield from find_format(name, groups)
        self._prepared = _Prepared(before, groups, same, formats, rows, units - {""})

    def _find_same(self, groups: Sequence[RunGroup]) -> Steps[bool]:
        """Find whether groups have the rows of those that are shown, whatever is in them."""
        if len(groups) != len(self.groups):
            return False
        for number, (new, old) in enumerate(zip(groups, self.groups, strict=True)):
            if new is not old and (new.key != old.key or len(new.children) != len(old.children)):
                return False
            if number % _MANY == 0:
                yield
        return True

    def _formats_of(self, groups: Sequence[RunGroup]) -> dict[str, ColumnFormat]:
        """Return the formats that are known for groups: those that a few changes among many leave as they are."""
        before = set(map(id, self.groups))
        new = [group for group in groups if id(group) not in before]
        gone = len(before) - (len(groups) - len(new))
        if not new and not gone:  # only their order has changed
            return self._formats
        few = len(groups) >= _MANY and max(len(new), gone) <= _FEW
        return {name: shown for name, shown in self._formats.items() if few and shown.fits(new)}

    def _head(self, section: int) -> str:
        column, title = describe_column(self.columns[section]), self._titles[section]
        units = {column.unit}
        if column.kind in _UNIT_COLUMNS:
            units = self._test_units()
        [unit] = units if len(units) == 1 else [""]
        text = f"{title}, {plain(unit, 12)}" if unit and unit not in title.casefold() else title
        return f"{text} {self._arrow}" if column.name == self._sorted_by else text

    def _test_units(self) -> set[str]:
        """Return the units of the test figures: those of several stand in the cells, one in the head."""
        if self._units is None:
            self._units = {group.rows[0].unit for group in self.groups} - {""}
        return self._units

    # --- cells ----------------------------------------------------------------------------------------------------

    def cell(self, index: Index) -> Cell:
        """Return what is painted at an index."""
        name = self.columns[index.column()]
        if index.internalId():
            return self._seed_cell(self.group_at(index), index.row(), name)
        group = self.groups[index.row()]
        shown = self.format(name)
        cell = Cell(muted=shown.equal)
        value = group.values.get(name)
        match shown.column.kind:
            case "name":
                self._fill_name(cell, group)
            case "seeds":
                done, count = (sum(getattr(row, part) for row in group.rows) for part in ("seeds_done", "seeds"))
                cell.text = f"{count}" if done >= count else f"{done} of {count}"
            case "verdict":
                chip = verdict_chip(group)
                cell.chips = [chip] if chip else []
            case "tags":
                cell.chips = [(plain(tag, LONGEST), "neutral") for tag in group.rows[0].tags]
            case "state":
                cell.text = self._state(group)
            case "time":
                cell.text = format_time(group.rows[0].created, time.time())
            case _:
                self._fill_value(cell, shown, value, group.deviations.get(name), group.rows[0].unit)
        return cell

    def _fill_name(self, cell: Cell, group: RunGroup) -> None:
        view = self._studio.view
        cell.text, cell.colour = plain(group.name, LONGEST), self._compare.colour_of(group.key)
        cell.expandable = group.expandable
        cell.bold = view is not None and view.row.run in group.runs
        if self.pictures:
            cell.picture = self.thumbnails.picture(group.key)

    def _fill_value(self, cell: Cell, shown: ColumnFormat, value: Value, deviation: float | None, unit: str) -> None:
        cell.text, cell.extra = shown.text(value), shown.deviation(deviation) if value is not None else ""
        if cell.text and shown.column.kind in _UNIT_COLUMNS and len(self._test_units()) > 1:
            cell.extra = f"{cell.extra} {plain(unit, 12)}".strip()
        if shown.column.kind == "gap" and isinstance(value, (int, float)):
            cell.share, cell.deviation = value, deviation

    def _seed_cell(self, group: RunGroup, number: int, name: str) -> Cell:
        row, seed = group.children[number]
        shown, cell = self.format(name), Cell(child=True)
        match shown.column.kind:
            case "name":
                run = f", {plain(row.name, LONGEST)}" if len(group.rows) > 1 else ""
                cell.text = f"seed {seed.seed}{run}" if seed is not None else plain(row.name, LONGEST)
            case "state" if seed is None:
                cell.text = state_label(row, self._progress(row))
            case _ if seed is not None and name in seed.values:
                self._fill_value(cell, shown, seed.values[name], None, row.unit)
        return cell

    def _state(self, group: RunGroup) -> str:
        row = next((row for row in group.rows if row.state in LIVE), group.rows[0])
        return state_label(row, self._progress(row))

    def _progress(self, row: RunRow) -> float:
        progress = self._studio.progress.get(row.run)
        return row.progress if progress is None else progress.fraction
