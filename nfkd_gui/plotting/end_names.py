"""Names at the right of a plot, beside the ends of its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from nfkd_gui.theme import font, scaled

_BESIDE = 6
"""Pixels between a line's end and its name."""


@dataclass(frozen=True, order=True)
class EndName:
    """A name beside the end of a line.

    Attributes
    ----------
    height
        The end of the line as a share of the plot's height, from the top.
    text, colour
        What is written, and how, as ``#RRGGBB``.
    """

    height: float
    text: str
    colour: str


class EndNames(pg.GraphicsWidget):
    """Names, each at the height of its line's end; names give way to each other.

    Parameters
    ----------
    widest
        Pixels at 100 %; longer names are cut. 0 for no limit.
    """

    def __init__(self, widest: int = 0) -> None:
        super().__init__()
        self._names: list[EndName] = []
        self._widest = widest
        self.fit([])

    def fit(self, texts: Sequence[str]) -> None:
        """Make room for names."""
        metrics = QFontMetrics(font("caption"))
        widest = max((metrics.horizontalAdvance(text) for text in texts), default=0)
        if self._widest:
            widest = min(widest, scaled(self._widest))
        self.setFixedWidth(widest + scaled(2 * _BESIDE) if widest else scaled(_BESIDE))

    def show_names(self, names: list[EndName]) -> None:
        """Show names."""
        if names != self._names:
            self._names = names
            self.update()

    def placed(self) -> list[tuple[float, EndName]]:
        """Return the vertical centres of the names that fit, in pixels, from top to bottom."""
        apart, room = QFontMetrics(font("caption")).height(), self.size().height()
        names = sorted(self._names)[: max(0, int(room // apart))]
        centres: list[float] = []
        for name in names:
            lowest = centres[-1] + apart if centres else apart / 2
            centres.append(max(name.height * room, lowest))
        limit = room - apart / 2
        for index in reversed(range(len(centres))):
            centres[index] = min(centres[index], limit)
            limit = centres[index] - apart
        return list(zip(centres, names, strict=True))

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        painter.setFont(font("caption"))
        metrics = painter.fontMetrics()
        width, height = self.size().width() - scaled(_BESIDE), metrics.height()
        for centre, name in self.placed():
            painter.setPen(QColor(name.colour))
            shown = metrics.elidedText(name.text, Qt.TextElideMode.ElideMiddle, int(width))
            place = QRectF(scaled(_BESIDE), centre - height / 2, width, height)
            painter.drawText(place, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
