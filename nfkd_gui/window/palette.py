"""The command palette: type a few letters, choose with the arrow keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QStandardItem, QStandardItemModel, QTextCharFormat, QTextLayout
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from nfkd_gui.theme import font, scaled, set_space, set_type, tokens
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, tip
from nfkd_gui.window.palette_entries import FoundEntry, entries_of, search

if TYPE_CHECKING:
    from nfkd_gui.window.main_window import MainWindow

_WIDTH, _ROW, _ROWS, _TOP, _MOST = 560, 34, 10, 96, 100
_ENTRY = Qt.ItemDataRole.UserRole
_MOVES = {Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown}


class Palette(QFrame):
    """A popup at the top of the window that finds commands, fields, presets, runs, files and data sets."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window, Qt.WindowType.Popup)
        self._window = window
        self.setObjectName("palette")
        self.setAccessibleName("Command palette")
        self.line = QLineEdit(self)
        self.line.setObjectName("palette.line")
        self.line.setAccessibleName("Search")
        self.line.setPlaceholderText("Search commands, fields, presets, runs and data …")
        self.line.textChanged.connect(self._search)
        self.line.installEventFilter(self)
        self.list = QListView(self)
        self.list.setObjectName("palette.list")
        self.list.setAccessibleName("What was found")
        self._model = QStandardItemModel(self)
        self.list.setModel(self._model)
        self.list.setItemDelegate(_RowDelegate(self.list))
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setUniformItemSizes(True)
        self.list.setMouseTracking(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.clicked.connect(self._choose)
        self._empty = PlainLabel("No command, field, preset, run or file has this name.", self)
        self._foot = ToneLabel("↑ ↓ to move · Enter to choose · Escape to close", parent=self)
        set_type(self._foot, "caption")
        column = QVBoxLayout(self)
        set_space(column, 8, 8)
        for widget in (self.line, self.list, self._empty, self._foot):
            column.addWidget(widget)
        self._entries = entries_of(window)

    def open_over(self, window: QWidget) -> None:
        """Show the palette in the middle of a window, with an empty query."""
        self._search("")
        self.setFixedWidth(min(scaled(_WIDTH), window.width() - scaled(24)))
        self.adjustSize()
        self.move(window.mapToGlobal(QPoint((window.width() - self.width()) // 2, scaled(_TOP))))
        self.show()
        self.line.setFocus()

    @property
    def titles(self) -> list[str]:
        """The titles that are listed."""
        return [self._found(self._model.index(row, 0)).entry.title for row in range(self._model.rowCount())]

    def _found(self, index: QModelIndex) -> FoundEntry:
        return index.data(_ENTRY)

    def _search(self, query: str) -> None:
        found = search(query, self._entries, _MOST)
        self._model.clear()
        for each in found:
            item = QStandardItem(each.entry.title)
            item.setData(each, _ENTRY)
            item.setToolTip(tip(each.entry.more))
            item.setData(f"{each.entry.title}, {each.entry.kind}", Qt.ItemDataRole.AccessibleTextRole)
            self._model.appendRow(item)
        self.list.setCurrentIndex(self._model.index(0, 0))
        self.list.setVisible(bool(found))
        self._empty.setVisible(not found)
        self.list.setFixedHeight(scaled(_ROW) * min(max(len(found), 1), _ROWS))
        self.adjustSize()

    def _choose(self, index: QModelIndex) -> None:
        if index.isValid():
            found = self._found(index)
            self.close()
            found.entry.choose()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.line and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in _MOVES:
                self._move(event)
                return True
            if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
                self._choose(self.list.currentIndex())
                return True
        return False

    def _move(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -_ROWS, Qt.Key.Key_PageDown: _ROWS}
        count = self._model.rowCount()
        if count:
            row = self.list.currentIndex().row() + steps[Qt.Key(event.key())]
            self.list.setCurrentIndex(self._model.index(min(max(row, 0), count - 1), 0))


class _RowDelegate(QStyledItemDelegate):
    """Paints a title with the letters that match in bold, and at the right its detail and its kind."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:  # type: ignore[override]
        return QSize(scaled(200), scaled(_ROW))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:  # type: ignore[override]
        found: FoundEntry = index.data(_ENTRY)
        colours, shown = tokens(), option
        box, state = QRect(shown.rect), shown.state  # type: ignore[attr-defined]
        painter.save()
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(box, QColor(colours.soft))
            painter.fillRect(QRect(box.left(), box.top(), scaled(3), box.height()), QColor(colours.accent))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(box, QColor(colours.hover))
        inner = box.adjusted(scaled(12), 0, -scaled(12), 0)
        painter.setFont(font("caption"))
        painter.setPen(QColor(colours.muted))
        right = " · ".join(part for part in (found.entry.detail, found.entry.kind) if part)
        painter.drawText(inner, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), right)
        inner.setRight(inner.right() - painter.fontMetrics().horizontalAdvance(right) - scaled(12))
        self._paint_title(painter, inner, found)
        painter.restore()

    @staticmethod
    def _paint_title(painter: QPainter, box: QRect, found: FoundEntry) -> None:
        painter.setPen(QColor(tokens().text))
        layout = QTextLayout(found.entry.title, font("body"))
        bold = QTextCharFormat()
        bold.setFontWeight(700)
        ranges = []
        for letter in found.letters:
            part = QTextLayout.FormatRange()
            part.start, part.length, part.format = letter, 1, bold  # type: ignore[attr-defined]
            ranges.append(part)
        layout.setFormats(ranges)
        layout.beginLayout()
        line = layout.createLine()
        layout.endLayout()
        painter.setClipRect(box)
        layout.draw(painter, QPoint(box.left(), box.top() + round((box.height() - line.height()) / 2)).toPointF())
