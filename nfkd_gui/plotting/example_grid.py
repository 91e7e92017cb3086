"""Examples as images, which the mouse and the keyboard choose from."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRect, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QWidget

from nfkd_gui.plotting.mosaic import Mosaic, best_columns
from nfkd_gui.theme import tokens

_FRAME = 2
_STEPS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
"""Columns and rows that a key moves the focus."""


class ExampleGrid(Mosaic):
    """Shows a few images as large as they fit."""

    picked = Signal(int)
    """The number of the image that was clicked, or chosen with Return."""

    def __init__(self, name: str, label: str, parent: QWidget | None = None) -> None:
        super().__init__(0, parent)
        self.setObjectName(name)
        self.setAccessibleName(label)
        self.setToolTip("Click an example to inspect it; with the keyboard, the arrow keys and Return.")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._examples = np.empty((0, 1, 1, 1))
        self._current, self._columns_shown = 0, 1

    def show_examples(self, images: np.ndarray) -> None:
        """Show (n, channels, height, width) images in [0, 1]."""
        self._examples = images
        self._current = min(self._current, max(0, len(images) - 1))
        self._fit()

    def _fit(self) -> None:
        if not len(self._examples):
            self.clear()
            return
        height, width = self._examples.shape[2:]
        self._columns_shown = best_columns(len(self._examples), (width, height), (self.width(), self.height()))
        self.show_images(self._examples, columns=self._columns_shown)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    @property
    def _count(self) -> int:
        return len(self._examples)

    def cell_rect(self, number: int) -> QRect:
        """Return the place of an image."""
        whole, columns = self.target(), self._columns_shown
        rows = -(-self._count // columns)
        row, column = divmod(number, columns)
        left, right = (round(edge * whole.width() / columns) for edge in (column, column + 1))
        top, bottom = (round(edge * whole.height() / rows) for edge in (row, row + 1))
        return QRect(whole.left() + left, whole.top() + top, right - left, bottom - top)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        for number in range(self._count):
            if self.cell_rect(number).contains(event.position().toPoint()):
                self._choose(number)
                self.picked.emit(number)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        match event.key():
            case key if key in _STEPS and self._count:
                across, down = _STEPS[Qt.Key(key)]
                wanted = self._current + across + down * self._columns_shown
                if 0 <= wanted < self._count:
                    self._choose(wanted)
            case Qt.Key.Key_Return | Qt.Key.Key_Enter | Qt.Key.Key_Space if self._count:
                self.picked.emit(self._current)
            case _:
                super().keyPressEvent(event)

    def _choose(self, number: int) -> None:
        self._current = number
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.hasFocus() or not self._count:
            return
        painter = QPainter(self)
        painter.setPen(QPen(QColor(tokens().accent), _FRAME))
        painter.drawRect(self.cell_rect(self._current).adjusted(1, 1, -1, -1))
        painter.end()
