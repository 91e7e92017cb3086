"""Plot of two features: a density as an image, with points, paths or a histogram."""

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
"""Nats; log densities are clipped here before exp."""
_BINS = 40
_MARGIN = 0.1
Extent = tuple[float, float, float, float]
"""Rectangle (x0, x1, y0, y1)."""


def colour_map(name: str) -> pg.ColorMap:
    """Return one of pyqtgraph's colour maps.

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    found = pg.colormap.get(name)
    if found is None:
        raise KeyError(name)
    return found


def high_density(densities: Iterable[DensityDrawn]) -> float:
    """Return the upper end of a colour scale shared by several densities; narrow peaks are clipped."""
    tops = []
    for density in densities:
        finite = density.log_prob[np.isfinite(density.log_prob)]
        tops += [float(np.exp(min(np.quantile(finite, 0.995), _HIGHEST)))] if len(finite) else []
    return max(tops, default=1.0)


def extent_of(points: np.ndarray) -> Extent:
    """Return a rectangle with a margin around 99.6 % of the (n, 2) points along each axis."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return -1.0, 1.0, -1.0, 1.0
    low, high = np.quantile(finite, (0.002, 0.998), axis=0)
    margin = np.where(high > low, _MARGIN * (high - low), 1.0)
    (x0, y0), (x1, y1) = low - margin, high + margin
    return float(x0), float(x1), float(y0), float(y1)


class ScaleBar(pg.GraphicsLayoutWidget):
    """Colour scale shared by several planes."""

    def __init__(self, label: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = pg.ColorBarItem(colorMap=colour_map(MAP), interactive=False, label=label, width=14)
        self.addItem(self.bar)
        self.setFixedWidth(80)
        self.restyle()

    def show_levels(self, highest: float) -> None:
        """Show the scale from 0 to `highest`."""
        if self.bar.levels() != (0.0, highest):
            self.bar.setLevels((0.0, highest))

    def restyle(self) -> None:
        """Apply the current theme."""
        self.setBackground(None)
        style_bar(self.bar)


def style_bar(bar: pg.ColorBarItem) -> None:
    """Apply the current theme to a colour scale."""
    colours = plot_colours()
    for axis in (bar.axis, bar.getAxis("left"), bar.getAxis("right")):
        axis.setPen(pg.mkPen(colours.grid))
        axis.setTextPen(pg.mkPen(colours.text))


class Plane(Plot):
    """Shows two features: a density with points or paths on top, or a histogram of one feature."""

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
        self.canvas.showGrid(x=False, y=False)  # grid lines would look like part of the image

    def name_axes(self, bottom: str, left: str) -> None:
        """Set the axis labels."""
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

    def frame(self, extent: Extent) -> None:
        """Set the visible range of both axes."""
        x0, x1, y0, y1 = extent
        self.canvas.getViewBox().setRange(xRange=(x0, x1), yRange=(y0, y1), padding=0)

    def show_points(self, points: np.ndarray, colour: str) -> None:
        """Show (n, 2) points."""
        self.bars.setVisible(False)
        faint = QColor(colour)
        faint.setAlpha(144)
        self.points.setData(x=points[:, 0], y=points[:, 1], brush=pg.mkBrush(faint))

    def show_histogram(self, values: np.ndarray, colour: str, extent: tuple[float, float]) -> None:
        """Show a density histogram of (n,) values between two ends."""
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
        """Show (pairs, steps, 2) paths as lines with a mark per step; a halo separates them from the image."""
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
