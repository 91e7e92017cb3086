"""The table of *What differs*: a column for each run, the labels of the rows at the left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from nfkd.text import plain
from nfkd_gui.panels.compare_rows import Cell, Row
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.caption import fitting, in_lines
from nfkd_gui.widgets.chip import chip_size, chip_text, paint_chip, verdict_tone
from nfkd_gui.widgets.labels import tip

Index = QModelIndex | QPersistentModelIndex
_HEIGHTS = {"section": 26, "plain": 25, "metric": 38, "verdict": 32}
_LABELS, _LEAST_LABELS, _NARROWEST, _WIDEST = 0.3, 0.2, 64, 240
"""Shares of the labels in the width, at most and where the numbers need the room; least and largest width of a column
without its numbers."""
_HEAD, _MARGIN, _INDENT, _DOT, _GAP, _CHIP = 38, 4, 12, 8, 6, 3
"""Height of the names, margins of cells and labels, size of a dot, its distance from the name, and least margin of the
word in a chip."""
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_UPPER = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LONGEST = 60


class DifferenceModel(QAbstractTableModel):
    """The rows of a comparison; a column for each run, with its name and colour."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self._names: list[str] = []
        self._colours: list[str | None] = []

    def show_rows(self, rows: list[Row], names: Sequence[str], colours: Sequence[str | None]) -> None:
        """Show rows, and the runs with their colours as ``#RRGGBB``."""
        self.beginResetModel()
        self.rows, self._names, self._colours = rows, list(names), list(colours)
        self.endResetModel()

    def rowCount(self, parent: Index | None = None) -> int:
        del parent
        return len(self.rows)

    def columnCount(self, parent: Index | None = None) -> int:
        del parent
        return len(self._names)

    def cell(self, index: Index) -> Cell | None:
        """Return a cell; None in the row of a section."""
        cells = self.rows[index.row()].cells
        return cells[index.column()] if index.column() < len(cells) else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        cell = self.cell(index)
        if cell is None:
            return None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return "\n".join([cell.text, *cell.details[:1]])
            case Qt.ItemDataRole.ToolTipRole:
                return tip(cell.help or cell.text)
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        return Qt.ItemFlag.ItemIsEnabled if self.cell(index) is not None else Qt.ItemFlag.NoItemFlags

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Vertical:
            return self._label(self.rows[section], role)
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return plain(self._names[section], _LONGEST)
            case Qt.ItemDataRole.ToolTipRole:
                reference = "\nThe others are compared with this one." if section == 0 else ""
                return tip(self._names[section] + reference)
        return None

    def colour(self, column: int) -> str:
        """Return the colour of a run."""
        return self._colours[column] or tokens().control

    @staticmethod
    def _label(row: Row, role: int) -> Any:
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return plain(row.label, _LONGEST)
            case Qt.ItemDataRole.ToolTipRole:
                return tip("\n".join(text for text in (row.label, row.help) if text))
        return None


def _verdict_text(verdict: str) -> str:
    return chip_text(verdict[:1].upper() + verdict[1:], verdict_tone(verdict))


class RunHeader(QHeaderView):
    """The names of the runs, each with a dot of its colour."""

    def __init__(self, model: DifferenceModel, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._model = model

    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics, dot = QFontMetrics(font("caption")), scaled(_DOT)
        place = QRectF(rect).adjusted(scaled(_MARGIN), 0, -scaled(_MARGIN), 0)
        name = self._model.headerData(logicalIndex, Qt.Orientation.Horizontal)
        lines = in_lines(name, metrics, int(place.width()) - dot - scaled(_GAP))
        left = place.right() - max(map(metrics.horizontalAdvance, lines)) - dot - scaled(_GAP)
        top = place.center().y() - len(lines) * metrics.height() / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._model.colour(logicalIndex)))
        painter.drawEllipse(QRectF(left, top + (metrics.height() - dot) / 2, dot, dot))
        painter.setFont(font("caption"))
        painter.setPen(QColor(tokens().text))
        painter.drawText(QRectF(place.left(), top, place.width(), 2 * metrics.height()), int(_UPPER), "\n".join(lines))
        painter.setPen(QColor(tokens().border))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        painter.restore()

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), scaled(_HEAD))


class RowHeader(QHeaderView):
    """The labels of the rows, with units below them."""

    def __init__(self, model: DifferenceModel, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self._model = model

    def paintSection(self, painter: QPainter, rect: QRect, logicalIndex: int) -> None:
        row = self._model.rows[logicalIndex]
        kind = "caption" if row.kind == "section" else "body"
        metrics, small = QFontMetrics(font(kind)), QFontMetrics(font("caption"))
        place = QRectF(rect).adjusted(scaled(_INDENT), 0, -scaled(_MARGIN), 0)
        lines = [(text, kind, metrics) for text in self._label(row, metrics, int(place.width()))]
        lines += [(row.unit, "caption", small)] if row.unit else []
        top = place.center().y() - sum(measured.height() for _, _, measured in lines) / 2
        painter.save()
        painter.setPen(QColor(tokens().border))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        painter.setPen(QColor(tokens().muted))
        for text, face, measured in lines:
            painter.setFont(font(face))
            painter.drawText(QRectF(place.left(), top, place.width(), measured.height()), int(_LEFT), text)
            top += measured.height()
        painter.restore()

    @staticmethod
    def _label(row: Row, metrics: QFontMetrics, width: int) -> list[str]:
        """Return the label in the lines that its row has room for."""
        text = plain(row.label, _LONGEST)
        if row.kind == "metric" and not row.unit:
            return in_lines(text, metrics, width)
        return [metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, width)]


class DifferenceCell(QStyledItemDelegate):
    """Paints a value, bold if it is the best, with its difference below, or a verdict as a chip."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model: Any = index.model()
        cell, kind = model.cell(index), model.rows[index.row()].kind
        rect: Any = option.rect  # type: ignore[attr-defined] - PySide's stubs lack the field
        place = QRectF(rect)
        painter.save()
        painter.setPen(QColor(tokens().border))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        inner = place.adjusted(scaled(_MARGIN), 0, -scaled(_MARGIN), 0)
        if cell is not None and kind == "verdict":
            self._paint_chip(painter, inner, cell)
        elif cell is not None:
            self._paint_value(painter, inner, cell)
        painter.restore()

    @staticmethod
    def _paint_chip(painter: QPainter, place: QRectF, cell: Cell) -> None:
        if not cell.text:
            return
        text = _verdict_text(cell.text)
        size = chip_size(text)
        width = min(size.width(), place.width())
        box = QRectF(place.right() - width, place.center().y() - size.height() / 2, width, size.height())
        paint_chip(painter, box, text, verdict_tone(cell.text))

    @staticmethod
    def _paint_value(painter: QPainter, place: QRectF, cell: Cell) -> None:
        value = font("strong" if cell.best else "body")
        metrics, small = QFontMetrics(value), QFontMetrics(font("caption"))
        height = metrics.height() + (small.height() if cell.details else 0)
        top = place.center().y() - height / 2
        painter.setFont(value)
        painter.setPen(QColor(tokens().text))
        shown = metrics.elidedText(cell.text, Qt.TextElideMode.ElideMiddle, int(place.width()))
        painter.drawText(QRectF(place.left(), top, place.width(), metrics.height()), int(_RIGHT), shown)
        if cell.details:
            painter.setFont(font("caption"))
            tones = {"better": tokens().good, "worse": tokens().error}
            painter.setPen(QColor(tones.get(cell.outcome, tokens().muted)))
            below = QRectF(place.left(), top + metrics.height(), place.width(), small.height())
            painter.drawText(below, int(_RIGHT), fitting(cell.details, small, int(place.width())))


class DifferenceView(QTableView):
    """Shows a `DifferenceModel`; columns share the width, and scroll where there are too many."""

    def __init__(self, model: DifferenceModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.setHorizontalHeader(RunHeader(model, self))
        self.setVerticalHeader(RowHeader(model, self))
        self.setModel(model)
        self.setItemDelegate(DifferenceCell(self))
        self.setAccessibleName("What differs between the chosen runs")
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setCornerButtonEnabled(False)
        for header in (self.horizontalHeader(), self.verticalHeader()):
            header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            header.setHighlightSections(False)
            header.setSectionsClickable(False)
            header.setMinimumSectionSize(scaled(20))
        self.verticalHeader().setProperty("labels", True)
        model.modelReset.connect(self.fit)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Set the sizes of rows, columns and labels."""
        rows, header = self._model.rows, self.verticalHeader()
        metrics = QFontMetrics(font("body"))
        widest = max((metrics.horizontalAdvance(plain(row.label, _LONGEST)) for row in rows), default=0)
        count, needed = max(self._model.columnCount(), 1), self._needed()
        room = header.width() + self.viewport().width()
        labels = max(min(int(_LABELS * self.width()), room - count * needed), int(_LEAST_LABELS * self.width()), 1)
        header.setFixedWidth(min(widest + scaled(_INDENT + _MARGIN + 2), labels))
        for number, row in enumerate(rows):
            header.resizeSection(number, scaled(_HEIGHTS[row.kind]))
        self.updateGeometries()  # the viewport gives way to the labels
        width = max(min(self.viewport().width() // count, scaled(_WIDEST)), needed)
        for column in range(self._model.columnCount()):
            self.horizontalHeader().resizeSection(column, width)

    def _needed(self) -> int:
        """Return the width of a column that cuts neither a number nor a verdict."""
        value, small = QFontMetrics(font("strong")), QFontMetrics(font("caption"))
        widths = [scaled(_NARROWEST)]
        for row in self._model.rows:
            if row.kind == "verdict":
                texts = [_verdict_text(cell.text) for cell in row.cells if cell.text]
                widths += [small.horizontalAdvance(text) + scaled(2 * _CHIP) for text in texts]
                continue
            widths += [value.horizontalAdvance(cell.text) for cell in row.cells if cell.is_number]
            widths += [small.horizontalAdvance(cell.shortest) for cell in row.cells]
        return max(widths) + scaled(2 * _MARGIN)

    def fit_all(self, width: int) -> None:
        """Take so much room that every row and column is shown, at least `width` pixels wide."""
        bars = Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.setHorizontalScrollBarPolicy(bars)
        self.setVerticalScrollBarPolicy(bars)
        self.resize(width, 100)
        self.fit()
        across = self.verticalHeader().width() + self.horizontalHeader().length()
        self.resize(max(width, across), self.horizontalHeader().height() + self.verticalHeader().length())
        self.fit()
