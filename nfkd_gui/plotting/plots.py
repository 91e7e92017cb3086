"""Base class of all plots: theme, fixed axis width, labels that fit."""

from __future__ import annotations

from typing import cast

import numpy as np
import pyqtgraph as pg
from pyqtgraph.GraphicsScene.mouseEvents import MouseClickEvent
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QGraphicsGridLayout, QGraphicsItem, QWidget

from nfkd.text import plain
from nfkd_gui.plotting.axes import ScaledAxis
from nfkd_gui.theme import font, plot_colours, scaled, tokens
from nfkd_gui.widgets.labels import escaped

AXIS_WIDTH = 64
"""Pixels at 100 %, as all of these."""
_LONGEST = 60
"""Characters of an axis label."""
_ABOVE = 7
"""Pixels above the plotted area: half the height of a tick's text."""
_REACH = 8
"""Pixels within which a click hits a point."""
_BELOW = 56
"""Pixels of a plot's height below the left axis."""


class Plot(pg.PlotWidget):
    """A plot in the theme's colours; a fixed axis width keeps plots aligned when numbers grow."""

    resized = Signal()
    least: tuple[int, int] = (96, 96)
    """The smallest width and height at 100 %."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self.left_axis = ScaledAxis("left")
        axes = {"left": self.left_axis, "bottom": ScaledAxis("bottom")}
        super().__init__(parent, axisItems=axes, enableMenu=False)  # pyqtgraph's menu takes a third of the time
        self._labels: dict[str, tuple[str, ...]] = {}
        self.canvas.hideButtons()
        for side in ("left", "bottom"):
            self.canvas.getAxis(side).enableAutoSIPrefix(False)
            # Axes with their grid take most of a repaint, and change far less often than the lines between them.
            self.canvas.getAxis(side).setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.restyle()

    @property
    def canvas(self) -> pg.PlotItem:
        """The widget's plot item."""
        return cast("pg.PlotItem", self.getPlotItem())

    def place_beside(self, item: pg.GraphicsWidget) -> None:
        """Place an item at the right of the plotted area, as high as that."""
        self._grid.addItem(item, 2, 3)

    @property
    def _grid(self) -> QGraphicsGridLayout:
        return cast("QGraphicsGridLayout", self.canvas.layout)  # pyqtgraph hides the method behind an attribute

    def point_at(self, click: MouseClickEvent, points: np.ndarray) -> int | None:
        """Return which of (n, 2) points was clicked: the number of the nearest one within reach."""
        if click.button() != Qt.MouseButton.LeftButton or not len(points):
            return None
        box = self.canvas.getViewBox()
        place, (width, height) = box.mapSceneToView(click.scenePos()), box.viewPixelSize()
        away = np.hypot((points[:, 0] - place.x()) / width, (points[:, 1] - place.y()) / height)
        nearest = int(np.nan_to_num(away, nan=np.inf).argmin())
        return nearest if away[nearest] <= scaled(_REACH) else None

    def put_grid_behind(self) -> None:
        """Draw the grid behind the lines, of which it would hide parts."""
        for side in ("left", "bottom"):
            self.canvas.getAxis(side).setZValue(-1)

    def label(self, side: str, text: str, unit: str = "", short: str = "") -> None:
        """Label an axis; `short` replaces the text in plots that are too low for it."""
        texts = [plain(each, _LONGEST) for each in ((text, short) if short else (text,))]
        unit = plain(unit, _LONGEST)
        labels = tuple(f"{text} ({unit})" if unit else text for text in texts) + ((texts[-1],) if unit else ())
        if self._labels.get(side) != labels:
            self._labels[side] = labels
            self._show_label(side)

    def _show_label(self, side: str) -> None:
        labels = self._labels[side]
        if side == "left":
            metrics = QFontMetrics(font("caption"))
            room = self.height() - scaled(_BELOW)
            fitting = (text for text in labels if metrics.horizontalAdvance(text) <= room)
            shown = next(fitting, labels[-1])
        else:
            shown = labels[0]
        axis = self.canvas.getAxis(side)
        style = {"color": tokens().muted, "font-size": f"{font('caption').pixelSize()}px"}
        markup = escaped(shown)  # pyqtgraph renders labels as HTML
        if (axis.labelText, axis.labelStyle) != (markup, style):
            self.canvas.setLabel(side, markup, **style)
            axis.resizeEvent()  # centre the new label

    def resizeEvent(self, ev: QResizeEvent | None) -> None:
        super().resizeEvent(ev)
        if hasattr(self, "_labels"):  # the base class resizes before __init__ is done
            if "left" in self._labels:
                self._show_label("left")
            self.resized.emit()

    def restyle(self) -> None:
        """Apply the current theme."""
        colours = plot_colours()
        self.setBackground(colours.background)
        self.setMinimumSize(*map(scaled, self.least))
        self.canvas.getAxis("left").setWidth(scaled(AXIS_WIDTH))
        self._grid.setContentsMargins(1, scaled(_ABOVE), 1, 1)
        self.canvas.showGrid(x=True, y=True, alpha=1.0)
        for side in ("left", "bottom"):
            axis = self.canvas.getAxis(side)
            axis.setStyle(tickAlpha=255, tickFont=font("caption"))
            axis.setTickPen(pg.mkPen(tokens().grid))
            axis.setPen(pg.mkPen(tokens().control))
            axis.setTextPen(pg.mkPen(tokens().muted))
        for side in self._labels:
            self._show_label(side)
