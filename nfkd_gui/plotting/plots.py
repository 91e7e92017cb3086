"""Plots in the studio's manner."""

from __future__ import annotations

from typing import cast

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget

from nfkd_gui.theme import plot_colours

AXIS_WIDTH = 64
_FONT_POINTS = 9


class Plot(pg.PlotWidget):
    """A plot with fixed axis widths, so that a growing number moves nothing, in the colours of the theme."""

    def __init__(self, parent: QWidget | None = None, *, aspect: bool = False) -> None:
        super().__init__(parent)
        self._labels: dict[str, tuple[str, str]] = {}
        self.canvas.setMenuEnabled(False)
        self.canvas.hideButtons()
        self.canvas.getAxis("left").setWidth(AXIS_WIDTH)
        for side in ("left", "bottom"):
            self.canvas.getAxis(side).enableAutoSIPrefix(False)
            # The finest of pyqtgraph's three levels of grid lines takes three quarters of a repaint.
            self.canvas.getAxis(side).setStyle(maxTickLevel=1)
        self.setAspectLocked(aspect)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setMinimumSize(96, 96)
        self.restyle()

    @property
    def canvas(self) -> pg.PlotItem:
        """The plot inside of the widget."""
        return cast("pg.PlotItem", self.getPlotItem())

    def label(self, side: str, text: str, unit: str = "") -> None:
        """Name an axis, with its unit."""
        if self._labels.get(side) != (text, unit):
            self._labels[side] = (text, unit)
            self._show_label(side)

    def _show_label(self, side: str) -> None:
        text, unit = self._labels[side]
        words = f"{text} ({unit})" if unit else text
        style = {"color": plot_colours().text, "font-size": f"{_FONT_POINTS}pt"}
        self.canvas.setLabel(side, words, **style)

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
