"""The strip of small states: one row for each flow, matched layers in one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd.protocol.roles import Role, role_label
from nfkd_gui.theme import font, role_colour, scaled, tokens

_ROW, _HIGHEST, _NAMES, _ARROW = 84, 140, 68, 5
_TOP, _TEXT = 4, 24
"""Room of a row above and below its pictures."""


@dataclass(frozen=True)
class StripRow:
    """A flow's states: their pictures, the columns that they stand in, and their names."""

    role: Role
    pictures: Sequence[QImage]
    columns: Sequence[int]
    names: Sequence[str]


class FlowStrip(QWidget):
    """Draws the rows, marks the present states, and tells which column was clicked."""

    chosen = Signal(int)
    """A column."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("flow.strip")
        self.setAccessibleName("Small pictures of the states after each layer")
        self.setToolTip("Click on a state to go to its layer.")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.rows: Sequence[StripRow] = ()
        self.marked: Sequence[int] = ()
        """The present state of each row."""

    def show_rows(self, rows: Sequence[StripRow]) -> None:
        """Show other states."""
        self.rows = rows
        self._measure()
        self.updateGeometry()
        self.update()

    def mark(self, states: Sequence[int]) -> None:
        """Mark a state of each row."""
        if list(states) != list(self.marked):
            self.marked = states
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(400), scaled(_ROW) * max(1, len(self.rows)))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(160), self.sizeHint().height())

    def _measure(self) -> None:
        """Leave the room that the pictures do not need to the planes."""
        highest = min(scaled(_HIGHEST), max(self._widest + scaled(_TOP) + scaled(_TEXT), scaled(_ROW)))
        self.setMaximumHeight(ceil(highest * max(1, len(self.rows))))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._measure()

    def picture_rect(self, row: int, state: int) -> QRectF:
        """Return where the picture of a state is."""
        side = min(self._largest, self._widest)
        left = scaled(_NAMES) + self.rows[row].columns[state] * (self._across - side) / self._last
        return QRectF(left, self._middle(row) - side / 2, side, side)

    @property
    def _last(self) -> int:
        """The last column."""
        return max((each.columns[-1] for each in self.rows if each.columns), default=0) or 1

    @property
    def _across(self) -> int:
        """The width of a row without its name."""
        return self.width() - scaled(_NAMES) - scaled(8)

    @property
    def _widest(self) -> float:
        """The side of a picture for which there is room in the width."""
        return 0.82 * self._across / (self._last + 1)

    @property
    def _row(self) -> float:
        """The height of a row."""
        return self.height() / max(1, len(self.rows))

    @property
    def _largest(self) -> float:
        """The side of a picture that fills its row."""
        return self._row - scaled(_TOP) - scaled(_TEXT)

    def _middle(self, row: int) -> float:
        return row * self._row + scaled(_TOP) + self._largest / 2

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        for number in range(len(self.rows)):
            self._draw_row(painter, number)
        painter.end()

    def _draw_row(self, painter: QPainter, number: int) -> None:
        row, colours = self.rows[number], tokens()
        role = QColor(role_colour(row.role))
        marked = self.marked[number] if number < len(self.marked) else -1
        painter.setFont(font("body"))
        painter.setPen(role)
        middle = self._middle(number)
        name = QRectF(0, middle - scaled(11), scaled(_NAMES), scaled(22))
        painter.drawText(name, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, role_label(row.role))
        painter.setFont(font("caption"))
        free = 0.0
        for state, (picture, text) in enumerate(zip(row.pictures, row.names, strict=True)):
            rect = self.picture_rect(number, state)
            if state:
                self._draw_arrow(painter, self.picture_rect(number, state - 1).right(), rect.left(), middle, role)
            present = state == marked
            painter.drawImage(rect, picture)
            painter.setPen(QPen(QColor(colours.accent if present else colours.border), 2 if present else 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect, scaled(3), scaled(3))
            painter.setPen(QColor(colours.accent if present else colours.muted))
            width = painter.fontMetrics().horizontalAdvance(text)
            left = rect.center().x() - width / 2
            if left >= free or present:
                painter.drawText(QPointF(left, rect.bottom() + scaled(15)), text)
                free = left + width + scaled(4)

    @staticmethod
    def _draw_arrow(painter: QPainter, start: float, end: float, y: float, colour: QColor) -> None:
        head = scaled(_ARROW)
        if end - start < 3 * head:
            return
        painter.setPen(QPen(colour, 1.2))
        start, end = start + scaled(3), end - scaled(2)
        painter.drawLine(QPointF(start, y), QPointF(end, y))
        for side in (-1, 1):
            painter.drawLine(QPointF(end, y), QPointF(end - head, y + side * 0.7 * head))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        row = int(at.y() // self._row)
        if not 0 <= row < len(self.rows):
            return
        for state, column in enumerate(self.rows[row].columns):
            rect = self.picture_rect(row, state)
            if rect.left() <= at.x() <= rect.right():
                self.chosen.emit(column)
                return
