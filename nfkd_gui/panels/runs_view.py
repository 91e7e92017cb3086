"""The view of the table of runs: choosing, unfolding, widths of columns, and what is kept when rows change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from PySide6.QtCore import (
    QItemSelectionModel,
    QModelIndex,
    QRect,
    QSignalBlocker,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QColor, QGuiApplication, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStyleOptionViewItem, QTreeView, QWidget

from nfkd.protocol.run_rows import RunRow
from nfkd_gui.model.run_columns import DEFAULT, FIRST
from nfkd_gui.model.slices import SlicedWork, Steps, run_steps
from nfkd_gui.panels.runs_addresses import Address, address_of, find_rows, selection_of
from nfkd_gui.panels.runs_cells import ROW, RunCell, arrow_rect, check_rect, picture_side
from nfkd_gui.panels.runs_model import Index, RunsModel
from nfkd_gui.theme import scaled, set_type, tokens
from nfkd_gui.widgets.banded_update import BandedUpdate

_NAME, _WIDEST, _NARROWEST = 200, 260, 48
_MEASURED = 60
"""Rows by which the width of a column is measured."""
_HEAD, _ARROW, _GROW, _BAND = 28, 10, 300, 3
"""Height of the head, room for the arrow of the order, milliseconds in which changed values gather, and rows that are
painted in one turn of the event loop where all are."""
_CREATED = "created"


class RunsTree(QTreeView):
    """Shows a `RunsModel`.

    Attributes
    ----------
    adapts
        Whether columns that have no room are left out, as long as the user has not chosen the columns.
    hide_equal
        Whether columns are hidden in which all rows are equal.
    """

    opened = Signal()
    """Return, or a double click."""
    moved = Signal()
    """The user has moved a column."""

    def __init__(self, model: RunsModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("runs.table")
        self.setAccessibleName("Runs")
        self._model = model
        self.adapts, self.hide_equal = True, False
        self._widths: dict[str, int] = {}
        self._unfolded: set[str] = set()
        self._place = 0
        self._kept: tuple[set[Address], Address | None] = (set(), None)
        self._cell = RunCell(self)
        self._bands = BandedUpdate(self.viewport())
        self._measuring = SlicedWork(self)
        self._fitting = QTimer(self, interval=0, singleShot=True)
        self._fitting.timeout.connect(lambda: self._measuring.start(self._measure(), self._set_widths))
        self._growing = QTimer(self, interval=_GROW, singleShot=True)
        self._growing.timeout.connect(self._grow)
        self._fitted: dict[str, int] = {}
        self.setItemDelegate(self._cell)
        self._set_up()
        self._set_up_header()
        self.setModel(model)  # after all that would lay out its rows again
        self.header().setSortIndicator(model.columns.index(_CREATED), Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        model.modelAboutToBeReset.connect(self._keep)
        model.modelReset.connect(self._restore)
        self.expanded.connect(self._note_unfolded)
        self.collapsed.connect(self._note_folded)

    def _set_up(self) -> None:
        self.setUniformRowHeights(True)
        self.setRootIsDecorated(False)
        self.setIndentation(0)
        self.setItemsExpandable(True)
        self.setExpandsOnDoubleClick(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setMouseTracking(True)

    def _set_up_header(self) -> None:
        header = self.header()
        header.setProperty("arrows", "text")  # the model writes them
        header.setSectionsMovable(True)
        set_type(header, "caption")
        header.setFirstSectionMovable(False)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setTextElideMode(Qt.TextElideMode.ElideRight)
        header.setSortIndicatorShown(True)
        header.setSectionsClickable(True)
        header.sectionResized.connect(self._note_width)
        header.sectionHandleDoubleClicked.connect(self._fit_one)
        header.sectionMoved.connect(self.moved)
        header.setAccessibleName("Columns of the table of runs")

    # --- columns --------------------------------------------------------------------------------------------------

    def order(self) -> list[str]:
        """Return the names of all columns, from left to right."""
        header = self.header()
        return [self._model.columns[header.logicalIndex(place)] for place in range(header.count())]

    def visible_order(self) -> list[str]:
        """Return the columns that are shown, from left to right."""
        names = self._model.columns
        return [name for name in self.order() if not self.isColumnHidden(names.index(name))]

    def chosen_order(self) -> list[str]:
        """Return the columns that are shown, and those that are hidden because all rows are equal."""
        shown = set(self.visible_order())
        equal = {name for name in self._model.columns if self.hide_equal and self._model.format(name).equal}
        return [name for name in self.order() if name in shown | equal]

    def show_columns(self, names: Sequence[str]) -> None:
        """Show columns in this order; for none, the default ones that have room."""
        sorted_by, order = self.sorted_by(), self.header().sortIndicatorOrder()
        self.adapts = not names
        header = self.header()
        with QSignalBlocker(header):
            self._model.set_columns([*dict.fromkeys(("name", *(names or DEFAULT)))])
            for place in range(header.count()):
                header.moveSection(header.visualIndex(place), place)
            if sorted_by in self._model.columns:
                header.setSortIndicator(self._model.columns.index(sorted_by), order)
        self.fit()

    def sorted_by(self) -> str:
        """Return the column that the rows are sorted by; empty for one that is no longer shown."""
        section = self.header().sortIndicatorSection()
        return self._model.columns[section] if 0 <= section < len(self._model.columns) else ""

    def fit_later(self) -> None:
        """Fit the columns once the present event is over."""
        self._fitting.start()

    def grow_later(self) -> None:
        """Widen columns whose content has become wider, soon; none becomes narrower, so that filters move nothing."""
        if not self._growing.isActive():
            self._growing.start()

    def fit(self) -> None:
        """Give columns the width of their contents, and the rest to the names."""
        self._measuring.cancel()
        self._set_widths(run_steps(self._measure()))

    def _measure(self) -> Steps[dict[str, int]]:
        """Find the widths that the contents of the columns want."""
        wanted = dict[str, int]()
        for section, name in enumerate(self._model.columns):
            wanted[name] = self._wanted(section)
            yield
        return wanted

    def _grow(self) -> None:
        if not self._measuring.active:
            self._measuring.start(self._measure(), self._widen)

    def _widen(self, wanted: dict[str, int]) -> None:
        if any(width > self._fitted.get(name, 0) for name, width in wanted.items() if name != "name"):
            self._set_widths({name: max(width, self._fitted.get(name, 0)) for name, width in wanted.items()})

    def _set_widths(self, wanted: dict[str, int]) -> None:
        room, names = self.viewport().width(), list(wanted)
        self._fitted = wanted
        widths = {name: self._widths.get(name) or wanted[name] for name in names}
        shown = self._shown(widths, room)
        rest = room - sum(width for name, width in widths.items() if name in shown and name != "name")
        if "name" not in self._widths:
            widths["name"] = max(rest, scaled(_NAME))
        header = self.header()
        before = [(header.isSectionHidden(section), header.sectionSize(section)) for section in range(len(names))]
        with QSignalBlocker(header):
            for section, name in enumerate(names):
                self.setColumnHidden(section, name not in shown)
                self.setColumnWidth(section, widths[name])
        if before != [(header.isSectionHidden(section), header.sectionSize(section)) for section in range(len(names))]:
            if self.isVisible():
                self.updateGeometries()
            else:
                self.scheduleDelayedItemsLayout()  # once it is shown, as Qt looks at each row
            header.viewport().update()
            self._paint_soon()

    def _shown(self, widths: dict[str, int], room: int) -> set[str]:
        """Return the columns that are shown: those that fit, or those that the user chose."""
        names = list(widths)
        if self.hide_equal:
            names = [name for name in names if not self._model.format(name).equal]
        if not self.adapts:
            return set(names)
        used, shown = 0, set[str]()
        for name in sorted(names, key=FIRST.index):
            used += scaled(_NAME) if name == "name" else widths[name]
            if used > room and shown:
                break
            shown.add(name)
        return shown

    def _wanted(self, section: int) -> int:
        head = self.header().sectionSizeFromContents(section).width() + scaled(_ARROW)
        count = min(len(self._model.groups), _MEASURED)
        cells = [self._cell.width(self._model, self._model.index(row, section)) for row in range(count)]
        return min(max([head, scaled(_NARROWEST), *cells]), scaled(_WIDEST))

    def _fit_one(self, section: int) -> None:
        """Give a column the width of its content again."""
        self._widths.pop(self._model.columns[section], None)
        self.fit()

    def _note_width(self, section: int, _old: int, new: int) -> None:
        if QGuiApplication.mouseButtons() & Qt.MouseButton.LeftButton:  # the user drags its edge
            self._widths[self._model.columns[section]] = new

    # --- what is kept when rows change ----------------------------------------------------------------------------

    def selected_rows(self) -> list[RunRow]:
        """Return the runs of the selected rows, each once, from top to bottom."""
        indexes = self._selected_indexes()
        return list({row.run: row for index in indexes for row in self._model.rows_of(index)}.values())

    def selected_keys(self) -> list[str]:
        """Return the keys of the groups of the selected rows, from top to bottom."""
        return list(dict.fromkeys(self._model.group_at(index).key for index in self._selected_indexes()))

    def _selected_indexes(self) -> list[QModelIndex]:
        """Return the first cell of each selected row, from top to bottom; `selectedRows` is slow for many."""
        found: dict[tuple[int, int], QModelIndex] = {}
        selection = self.selectionModel().selection()
        for part in map(selection.at, range(selection.count())):
            parent = part.parent()
            for row in range(part.top(), part.bottom() + 1):
                place = (parent.row(), row) if parent.isValid() else (row, -1)
                found[place] = self._model.index(row, 0, parent)
        return [found[place] for place in sorted(found)]

    def selected_count(self) -> int:
        """Return the number of selected rows."""
        return len(self._selected_indexes())

    def select_key(self, key: str) -> bool:
        """Select only the group of a run, and scroll to it; return whether it is shown."""
        index = self._model.index_of(key)
        if index.isValid():
            self.setCurrentIndex(index)
            self.scrollTo(index)
        return index.isValid()

    def _keep(self) -> None:
        indexes = self._selected_indexes()
        selected = {address_of(self._model, index) for index in indexes}
        current = self.currentIndex()
        self._kept = (selected, address_of(self._model, current) if current.isValid() else None)
        self._place = next((index.row() for index in indexes if not index.parent().isValid()), 0)

    def _restore(self) -> None:
        selected, current = self._kept
        with QSignalBlocker(self):
            for key in self._unfolded:
                self.setExpanded(self._model.index_of(key), True)
        chosen = selection_of(self._model, selected)
        flags = QItemSelectionModel.SelectionFlag
        with QSignalBlocker(self.selectionModel()):
            self.selectionModel().select(chosen, flags.ClearAndSelect | flags.Rows)
            for index in find_rows(self._model, [current] if current else []):
                self.selectionModel().setCurrentIndex(index, flags.NoUpdate)
        if selected and chosen.isEmpty() and self._model.groups:  # deleted, moved or filtered: the next one
            self.setCurrentIndex(self._model.index(min(self._place, len(self._model.groups) - 1), 0))

    def _note_unfolded(self, index: QModelIndex) -> None:
        self._unfolded.add(self._model.group_at(index).key)

    def _note_folded(self, index: QModelIndex) -> None:
        self._unfolded.discard(self._model.group_at(index).key)

    # --- mouse and keys -------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if not self._on_mark(event, act=True):
            super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if self._on_mark(event, act=True):
            return
        super().mouseDoubleClickEvent(event)
        if self.indexAt(event.position().toPoint()).isValid() and event.button() == Qt.MouseButton.LeftButton:
            self.opened.emit()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if not self._on_mark(event, act=False):  # else the press was not Qt's either
            super().mouseReleaseEvent(event)

    def _on_mark(self, event: QMouseEvent, *, act: bool) -> bool:
        """Return whether the pointer is at a check box or an arrow; toggle it if wanted."""
        point = event.position().toPoint()
        index = self.indexAt(point)
        if event.button() != Qt.MouseButton.LeftButton or index.column() != 0 or index.parent().isValid():
            return False
        row = self.visualRect(index)
        margin = scaled(4)
        if check_rect(row).adjusted(-margin, -margin, margin // 2, margin).contains(point):
            if act:
                self._model.setData(index, None, Qt.ItemDataRole.CheckStateRole)
            return True
        if arrow_rect(row).contains(point) and self._model.hasChildren(index):
            if act:
                self.setExpanded(index, not self.isExpanded(index))
            return True
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            self._model.toggle_all(self.selected_keys())
            return
        if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.opened.emit()
            return
        super().keyPressEvent(event)

    # --- painting -------------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        """Follow another theme, scale or height of the rows."""
        self._cell.forget_pictures()
        self._model.thumbnails.set_size(picture_side())
        self.header().setFixedHeight(scaled(_HEAD))
        self.scheduleDelayedItemsLayout()
        self._fitted.clear()  # measured again once the fonts have changed
        self.fit_later()
        self.grow_later()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit_later()

    def drawRow(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        painter.save()
        super().drawRow(painter, option, index)
        row: QRect = cast(Any, option).rect
        painter.setPen(QColor(tokens().border))
        painter.drawLine(row.left(), row.bottom(), self.header().length() - self.header().offset() - 1, row.bottom())
        current = self.currentIndex()
        if self.hasFocus() and current.row() == index.row() and current.parent() == index.parent():
            painter.setPen(QPen(QColor(tokens().accent), 2))
            painter.drawRect(row.adjusted(1, 1, -1, -2))
        painter.restore()

    def dataChanged(self, topLeft: Index, bottomRight: Index, roles: Sequence[int] = ()) -> None:
        """Paint again: Qt would first look for each of the rows, which takes 25 ms for 10,000."""
        if topLeft.row() == bottomRight.row():
            super().dataChanged(topLeft, bottomRight, roles)
        else:
            self._paint_soon()

    def _paint_soon(self) -> None:
        self._bands.start(scaled(_BAND * ROW))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self._model.pictures:
            self._model.thumbnails.want(self.visible_keys())

    def visible_keys(self) -> list[str]:
        """Return the keys of the groups that are in sight."""
        first = self.indexAt(self.viewport().rect().topLeft())
        keys, index, bottom = list[str](), first, self.viewport().height()
        while index.isValid() and self.visualRect(index).top() < bottom:
            if not index.parent().isValid():
                keys.append(self._model.groups[index.row()].key)
            index = self.indexBelow(index)
        return keys
