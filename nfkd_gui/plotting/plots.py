"""Plots in the studio's manner."""

from __future__ import annotations

from typing import cast

import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont, QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QGraphicsItem, QWidget

from nfkd.text import plain
from nfkd_gui.theme import plot_colours
from nfkd_gui.widgets.labels import escaped

AXIS_WIDTH = 64
_FONT_POINTS = 9
_LONGEST = 60
"""Characters of an axis' name."""
_BELOW = 56
"""Pixels of a plot's height that its lower axis and borders take."""


class Plot(pg.PlotWidget):
    """A plot with fixed axis widths, so that a growing number moves nothing, in the colours of the theme."""

    resized = Signal()

    def __init__(self, parent: QWidget | None = None, *, aspect: bool = False) -> None:
        super().__init__(parent)
        self._labels: dict[str, tuple[str, ...]] = {}
        self.canvas.setMenuEnabled(False)
        self.canvas.hideButtons()
        self.canvas.getAxis("left").setWidth(AXIS_WIDTH)
        for side in ("left", "bottom"):
            self.canvas.getAxis(side).enableAutoSIPrefix(False)
            # The finest of pyqtgraph's three levels of grid lines takes three quarters of a repaint.
            self.canvas.getAxis(side).setStyle(maxTickLevel=1)
            # Axes with their grid take most of a repaint, and change far less often than the lines between them.
            self.canvas.getAxis(side).setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.setAspectLocked(aspect)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setMinimumSize(96, 96)
        self.restyle()

    @property
    def canvas(self) -> pg.PlotItem:
        """The plot inside of the widget."""
        return cast("pg.PlotItem", self.getPlotItem())

    def label(self, side: str, text: str, unit: str = "", short: str = "") -> None:
        """Name an axis, with its unit; `short` is for plots too low for the whole name."""
        texts = [plain(part, _LONGEST) for part in ((text, short) if short else (text,))]
        unit = plain(unit, _LONGEST)
        words = tuple(f"{part} ({unit})" if unit else part for part in texts) + ((texts[-1],) if unit else ())
        if self._labels.get(side) != words:
            self._labels[side] = words
            self._show_label(side)

    def _show_label(self, side: str) -> None:
        words = self._labels[side]
        if side == "left":
            metrics = QFontMetrics(QFont(self.font().family(), _FONT_POINTS))
            room = self.height() - _BELOW
            fitting = (text for text in words if metrics.horizontalAdvance(text) <= room)
            shown = next(fitting, words[-1])
        else:
            shown = words[0]
        axis = self.canvas.getAxis(side)
        style = {"color": plot_colours().text, "font-size": f"{_FONT_POINTS}pt"}
        markup = escaped(shown)  # pyqtgraph takes a label for HTML
        if (axis.labelText, axis.labelStyle) != (markup, style):
            self.canvas.setLabel(side, markup, **style)
            axis.resizeEvent()  # else a new name stays where the old one was in the middle

    def resizeEvent(self, ev: QResizeEvent | None) -> None:
        super().resizeEvent(ev)
        if hasattr(self, "_labels"):  # the base class is resized while it is made
            if "left" in self._labels:
                self._show_label("left")
            self.resized.emit()

    def restyle(self) -> None:
        """Take the colours of the present theme."""
        colours = plot_colours()
        self.setBackground(colours.background)
        self.canvas.showGrid(x=False, y=True, alpha=0.15)
        for side in ("left", "bottom"):
            axis = self.canvas.getAxis(side)
            axis.setPen(pg.mkPen(colours.grid))
            axis.setTextPen(pg.mkPen(colours.text))
        for side in self._labels:
            self._show_label(side)
