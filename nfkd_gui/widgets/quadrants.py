"""Four parts of a panel with titles: two by two, or one below the other where the panel is narrow."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from nfkd_gui.theme import limit_size, scaled, set_space
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import TypeLabel

_NARROW = 560
"""Width in pixels at 100 % below which the parts stand one below the other."""
_LOWEST = 150


class Part(QWidget):
    """A title, a widget, and a caption that says what numbers it rests on."""

    def __init__(self, title: str, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = TypeLabel("strong", title, self)
        self.content = content
        self.caption = Caption(parent=self)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addWidget(self.title)
        column.addWidget(content, 1)
        column.addWidget(self.caption)
        limit_size(self, least=(0, _LOWEST))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())


class Quadrants(QWidget):
    """Lays parts out in two columns of equal width, or in one."""

    def __init__(self, parts: Mapping[str, Part], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.parts = dict(parts)
        self._columns = 0
        self._grid = QGridLayout(self)
        set_space(self._grid, 12)
        self._place(2)

    def _place(self, columns: int) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        for number, part in enumerate(self.parts.values()):
            self._grid.addWidget(part, number // columns, number % columns)
        for row in range(len(self.parts)):
            self._grid.setRowStretch(row, int(row * columns < len(self.parts)))
        for column in range(2):
            self._grid.setColumnStretch(column, int(column < columns))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place(2 if self.width() >= scaled(_NARROW) else 1)
