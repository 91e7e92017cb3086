"""Lines of many runs with bands, and their names beside the ends of the lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtWidgets import QWidget

from nfkd_gui.plotting.axes import Scale
from nfkd_gui.plotting.end_names import EndName, EndNames
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import scaled

_BAND = 51
"""Opacity of a band, 20 % of 255."""
_WIDEST = 110
"""Pixels of a name at 100 %."""
_USUAL = 0.95
"""Share of the values of a line that are shown at first: a curve begins far above its end."""
_MARGIN = 0.05
_WIDE, BANDS = 8, 16
"""So many lines are drawn wide, and have bands: more would hide each other, and Qt draws them slowly."""


@dataclass(frozen=True)
class BandedLine:
    """A line of a group of runs.

    Attributes
    ----------
    key, name, colour
        Of the group; the colour as ``#RRGGBB``.
    x, mean, low, high
        (n,) each; the band is between `low` and `high`.
    """

    key: str
    name: str
    colour: str
    x: np.ndarray = field(repr=False)
    mean: np.ndarray = field(repr=False)
    low: np.ndarray = field(repr=False)
    high: np.ndarray = field(repr=False)


class _Items:
    """What is drawn for a line; it is made once and then only gets new data."""

    def __init__(self, plot: Plot) -> None:
        self.band = pg.PlotCurveItem(pen=None, fillLevel="enclosed")
        self.line = pg.PlotDataItem([], [], connect="finite", antialias=True)
        for item in (self.band, self.line):
            plot.addItem(item)

    def clear(self) -> None:
        self.band.setData([], [])
        self.line.setData([], [])


class BandedPlot(Plot):
    """Shows lines with bands; a double click shows all of them after zooming.

    Parameters
    ----------
    marks
        Whether points are marked.
    """

    def __init__(self, parent: QWidget | None = None, *, marks: bool = False) -> None:
        super().__init__(parent)
        self._marks = marks
        self._items: list[_Items] = []
        self.lines: list[BandedLine] = []
        self.scale_ = Scale()
        self.put_grid_behind()
        self.names = EndNames(_WIDEST)
        self.place_beside(self.names)
        box = self.canvas.getViewBox()
        box.setDefaultPadding(0)
        box.disableAutoRange()
        box.sigRangeChanged.connect(self._place_names)
        box.sigResized.connect(self._place_names)

    def show_lines(self, lines: Sequence[BandedLine], scale: Scale, *, frame: bool) -> None:
        """Show lines, the first on top; `frame` shows all of them, otherwise the visible part stays."""
        self.lines, self.scale_ = list(lines), scale
        self.left_axis.show_scale(scale)
        while len(self._items) < len(lines):
            self._items.append(_Items(self))
        for items in self._items[len(lines) :]:
            items.clear()
        for depth, (items, line) in enumerate(zip(self._items, lines, strict=False)):
            self._draw(items, line)
            items.band.setZValue(-depth - len(lines))
            items.line.setZValue(len(lines) - depth)
        self.names.fit([line.name for line in lines])
        if frame:
            self.show_all()
        self._place_names()

    def _draw(self, items: _Items, line: BandedLine) -> None:
        mean, low, high = (self.scale_.apply(values) for values in (line.mean, line.low, line.high))
        known = np.isfinite(low) & np.isfinite(high)
        wide = bool((high[known] > low[known]).any())
        x = line.x[known]
        pale = QColor(line.colour)
        pale.setAlpha(_BAND)
        items.band.setBrush(pg.mkBrush(pale))
        border = np.concatenate([x, x[::-1]]), np.concatenate([low[known], high[known][::-1]])
        items.band.setData(*(border if wide and len(self.lines) <= BANDS else ([], [])))
        thick = len(self.lines) <= _WIDE
        items.line.setPen(pg.mkPen(line.colour, width=2 if thick else 1))
        items.line.curve.setSegmentedLineMode("on" if thick else "auto")
        marked = self._marks and bool(np.isfinite(mean).any())  # pyqtgraph fails on marks that are all NaN
        items.line.setSymbol("o" if marked else None)  # type: ignore[arg-type]
        items.line.setSymbolSize(scaled(6))
        items.line.setSymbolPen(None)
        items.line.setSymbolBrush(pg.mkBrush(line.colour))
        items.line.setData(line.x, mean)

    def show_all(self) -> None:
        """Show all lines, but not the highest values at the start of curves."""
        extents = [extent for line in self.lines if (extent := self._extent(line)) is not None]
        if not extents:
            return
        left, right, lowest, highest = zip(*extents, strict=True)
        x0, x1, y0, y1 = min(left), max(right), min(lowest), max(highest)
        margin = _MARGIN * (y1 - y0) or 0.05 * abs(y1) or 1.0
        across = 0.5 if self._marks or x0 == x1 else 0.0  # marks stand at whole numbers, in the middle of their names
        box = self.canvas.getViewBox()
        box.setRange(xRange=(x0 - across, x1 + across), yRange=(y0 - margin, y1 + margin), padding=0)

    def _extent(self, line: BandedLine) -> tuple[float, float, float, float] | None:
        """Return the first and last x and the lowest and highest usual y of a line with its band."""
        values, band = self.scale_.apply(line.mean), self.scale_.apply(np.stack([line.low, line.high]))
        known = np.isfinite(values)
        if not known.any():
            return None
        most = float(np.quantile(values[known], 1.0 if self._marks else _USUAL))
        usual = known & (values <= most)
        shown = np.concatenate([values[usual], band[:, usual].ravel()])
        high = float(np.nanmax(shown)) if self._marks else max(most, float(values[known][-1]))
        return float(line.x.min()), float(line.x.max()), float(np.nanmin(shown)), high

    def _place_names(self, *_range: object) -> None:
        """Write the names beside the ends of the lines that are visible."""
        (left, right), (low, high) = self.canvas.getViewBox().viewRange()
        names = []
        for line in self.lines:
            shown = self.scale_.apply(line.mean[line.x <= right])
            known = shown[np.isfinite(shown)]
            if len(known) and low <= known[-1] <= high and line.x.min() <= right and left <= line.x.max():
                names.append(EndName(float((high - known[-1]) / (high - low)), line.name, line.colour))
        self.names.show_names(names)

    def mouseDoubleClickEvent(self, ev: QMouseEvent) -> None:
        super().mouseDoubleClickEvent(ev)
        self.show_all()

    def sizeHint(self) -> QSize:
        return QSize(scaled(480), scaled(320))
