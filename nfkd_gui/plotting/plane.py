"""The plane: a density as an image, points over it, paths through it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from nfkd.protocol.events import DensityDrawn
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import is_dark, plot_colours

MAP = "cividis"
_HIGHEST = 80.0
"""Nats; beyond it a density is no number that can be drawn."""
_BINS = 40
_MARGIN = 0.1


def colour_map(name: str) -> pg.ColorMap:
    """Return a map that pyqtgraph ships.

    Raises
    ------
    KeyError
        When it ships none of that name.
    """
    found = pg.colormap.get(name)
    if found is None:
        raise KeyError(name)
    return found


def high_density(densities: Iterable[DensityDrawn]) -> float:
    """Return the density at the bright end of a map that several share; a peak of a few places darkens nothing."""
    tops = []
    for density in densities:
        finite = density.log_prob[np.isfinite(density.log_prob)]
        tops += [float(np.exp(min(np.quantile(finite, 0.995), _HIGHEST)))] if len(finite) else []
    return max(tops, default=1.0)


def extent_of(points: np.ndarray) -> tuple[float, float, float, float]:
    """Return the rectangle (x0, x1, y0, y1) that holds nearly all of some (n, 2) points, with a margin."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return -1.0, 1.0, -1.0, 1.0
    low, high = np.quantile(finite, (0.002, 0.998), axis=0)
    margin = np.where(high > low, _MARGIN * (high - low), 1.0)
    (x0, y0), (x1, y1) = low - margin, high + margin
    return float(x0), float(x1), float(y0), float(y1)


class ScaleBar(pg.GraphicsLayoutWidget):
    """The scale of a map that several planes share."""

    def __init__(self, label: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = pg.ColorBarItem(colorMap=colour_map(MAP), interactive=False, label=label, width=14)
        self.addItem(self.bar)
        self.setFixedWidth(80)
        self.restyle()

    def show_levels(self, highest: float) -> None:
        """Show a scale from 0."""
        if self.bar.levels() != (0.0, highest):
            self.bar.setLevels((0.0, highest))

    def restyle(self) -> None:
        """Take the colours of the present theme."""
        self.setBackground(None)
        style_bar(self.bar)


def style_bar(bar: pg.ColorBarItem) -> None:
    """Give a scale bar the colours of the present theme."""
    colours = plot_colours()
    for axis in (bar.axis, bar.getAxis("left"), bar.getAxis("right")):
        axis.setPen(pg.mkPen(colours.grid))
        axis.setTextPen(pg.mkPen(colours.text))


class Plane(Plot):
    """A density of two features with points over it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.image.setColorMap(colour_map(MAP))
        self.points = pg.ScatterPlotItem(size=2.5, pen=None, pxMode=True)
        self.bars = pg.PlotDataItem(stepMode="center", fillLevel=0)
        self.paths: list[pg.PlotDataItem] = []
        for item in (self.image, self.points, self.bars):
            self.addItem(item)
        self.name_axes("x₁", "x₂")

    def restyle(self) -> None:
        super().restyle()
        self.canvas.showGrid(x=False, y=False)  # lines over a map read as part of it

    def name_axes(self, bottom: str, left: str) -> None:
        """Name the two features."""
        self.label("bottom", bottom)
        self.label("left", left)

    def show_density(self, density: DensityDrawn | None, highest: float | None = None) -> None:
        """Show a density as an image, from 0 to `highest`; None hides it."""
        self.image.setVisible(density is not None)
        if density is None:
            return
        x0, x1, y0, y1 = density.extent
        values = np.exp(np.minimum(np.nan_to_num(density.log_prob, nan=-np.inf), _HIGHEST))
        self.image.setImage(values, autoLevels=False, levels=(0.0, highest or high_density([density])))
        self.image.setRect(QRectF(x0, y0, x1 - x0, y1 - y0))
        self.frame(density.extent)

    def frame(self, extent: tuple[float, float, float, float]) -> None:
        """Show this part of the plane, (x0, x1, y0, y1)."""
        x0, x1, y0, y1 = extent
        self.canvas.getViewBox().setRange(xRange=(x0, x1), yRange=(y0, y1), padding=0)

    def show_points(self, points: np.ndarray, colour: str) -> None:
        """Show (n, 2) points."""
        self.bars.setVisible(False)
        faint = QColor(colour)
        faint.setAlpha(144)
        self.points.setData(x=points[:, 0], y=points[:, 1], brush=pg.mkBrush(faint))

    def show_histogram(self, values: np.ndarray, colour: str, extent: tuple[float, float]) -> None:
        """Show how (n,) numbers are spread between two ends, as a density."""
        self.points.setData([], [])
        self.bars.setVisible(True)
        heights, edges = np.histogram(values, bins=_BINS, range=extent, density=True)
        faint = QColor(colour)
        faint.setAlpha(96)
        self.bars.setData(edges, heights)
        self.bars.setPen(pg.mkPen(colour, width=2))
        self.bars.setFillBrush(pg.mkBrush(faint))
        self.frame((*extent, 0.0, 1.1 * max(float(np.nan_to_num(heights).max()), 1e-12)))

    def show_paths(self, paths: np.ndarray, colour: str) -> None:
        """Show paths, (pairs, steps, 2), as lines with a mark at each step; a halo parts them from the map."""
        while len(self.paths) < len(paths):
            self.paths.append(self.plot([], [], symbol="o", symbolSize=7))
        halo = "#202020" if is_dark() else "#FFFFFF"
        for line, path in zip(self.paths, paths, strict=False):
            line.setData(path[:, 0], path[:, 1])
            line.setPen(pg.mkPen(colour, width=2))
            line.setShadowPen(pg.mkPen(halo, width=5))
            line.setSymbolBrush(pg.mkBrush(colour))
            line.setSymbolPen(pg.mkPen(halo, width=1))
        for line in self.paths[len(paths) :]:
            line.setData([], [])
