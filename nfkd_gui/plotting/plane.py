"""Plot of two features: a density as an image, with points, paths or a histogram."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyqtgraph as pg
from pyqtgraph.GraphicsScene.mouseEvents import MouseClickEvent
from PySide6.QtCore import QRectF, Signal
from PySide6.QtGui import QBrush, QColor, QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QWidget

from nfkd.protocol.events import DensityDrawn
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import font, is_dark, plot_colours, role_colour, scaled, tokens

_HIGHEST = 80.0
"""Nats; log densities are clipped here before exp."""
_BINS = 40
_MARGIN = 0.1
_GAMMA = 0.6
"""Densities are drawn as a power of p, so that their tails can be seen."""
_ROOM = 60
"""Square pixels of the plot for each point; further points are left out, so that a density shows through."""
_ALPHA, _HUES = 150, 36
_FEW, _DOTS = 200, (5, 3)
"""Points below which they are few, and the diameter in pixels of few and of many."""
_LABELLED = 170, 170
_NUMBERED = 130, 88
"""Width and height in pixels from which a plane has names, and numbers, at its axes."""
_NUMBERS, _NAME, _TICK, _GAP = 30, 18, 22, 8
"""Least width of the left axis for its numbers, more of each axis for its name, height of the bottom axis for its
numbers, and space beside a number."""
Extent = tuple[float, float, float, float]
"""Rectangle (x0, x1, y0, y1)."""


def density_map(role: str) -> pg.ColorMap:
    """Return the colours of a flow's density: from the panel's over the flow's to one nearer to that of text."""
    colours, role_ = tokens(), QColor(role_colour(role))
    ground, end = QColor(colours.panel), QColor(colours.text)
    stops = [ground, _mix(ground, role_, 0.35), _mix(ground, role_, 0.7), role_, _mix(role_, end, 0.5)]
    return pg.ColorMap(np.linspace(0, 1, len(stops)), stops)


def _mix(first: QColor, second: QColor, share: float) -> QColor:
    pairs = ((first.red(), second.red()), (first.green(), second.green()), (first.blue(), second.blue()))
    return QColor(*(round((1 - share) * a + share * b) for a, b in pairs))


def has_numbers(width: float, height: float) -> bool:
    """Return whether a plane of this size has numbers at its axes."""
    return _fits(_NUMBERED, width, height)


def _fits(size: tuple[int, int], width: float, height: float) -> bool:
    return width >= scaled(size[0]) and height >= scaled(size[1])


def noise_colour(turn: float) -> QColor:
    """Return the colour of an angle of the noise, as a share of a full turn."""
    return QColor.fromHslF(turn % 1, 0.75, 0.64 if is_dark() else 0.46)


def noise_hues(noise: np.ndarray) -> np.ndarray:
    """Return the number of the hue of each point of (n, 2) noise, an index of `hue_brushes`: that of its angle."""
    angles = np.arctan2(noise[:, 1], noise[:, 0]) / (2 * np.pi) % 1
    return (angles * _HUES).astype(int) % _HUES


def hue_brushes() -> list[QBrush]:
    """Return the brush of each hue."""
    table = []
    for hue in range(_HUES):
        colour = noise_colour(hue / _HUES)
        colour.setAlpha(_ALPHA)
        table.append(QBrush(colour))
    return table


def noise_brushes(noise: np.ndarray) -> list[QBrush]:
    """Return the brush of each point of (n, 2) noise."""
    table = hue_brushes()
    return [table[hue] for hue in noise_hues(noise)]


def high_density(densities: Iterable[DensityDrawn]) -> float:
    """Return the upper end of a colour scale shared by several densities; narrow peaks are clipped."""
    return max((highest_of(density.log_prob) for density in densities), default=0.0) or 1.0


def highest_of(log_prob: np.ndarray) -> float:
    """Return the density that few cells exceed; zero if none is known."""
    finite = log_prob[np.isfinite(log_prob)]
    return float(np.exp(min(np.quantile(finite, 0.995), _HIGHEST))) if len(finite) else 0.0


def extent_of(points: np.ndarray) -> Extent:
    """Return a rectangle with a margin around 99.6 % of the (n, 2) points along each axis."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return -1.0, 1.0, -1.0, 1.0
    low, high = np.quantile(finite, (0.002, 0.998), axis=0)
    margin = np.where(high > low, _MARGIN * (high - low), 1.0)
    (x0, y0), (x1, y1) = low - margin, high + margin
    return float(x0), float(x1), float(y0), float(y1)


def style_bar(bar: pg.ColorBarItem) -> None:
    """Apply the current theme to a colour scale."""
    colours = plot_colours()
    for axis in (bar.axis, bar.getAxis("left"), bar.getAxis("right")):
        axis.setStyle(tickFont=font("caption"))
        axis.setPen(pg.mkPen(colours.grid))
        axis.setTextPen(pg.mkPen(colours.text))


class Plane(Plot):
    """Shows two features: a density with points or paths on top, or a histogram of one feature."""

    least = (72, 56)
    picked = Signal(int)
    """The number of the point, or of the step of the path, nearest to where the plane was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.points = pg.ScatterPlotItem(size=3, pen=None, pxMode=True)
        self.bars = pg.PlotDataItem(stepMode="center", fillLevel=0)
        self.paths: list[pg.PlotDataItem] = []
        self.marks = pg.ScatterPlotItem(size=13, brush=None)
        self.marks.setZValue(2)
        self._points, self._brushes, self._marked = np.empty((0, 2)), [QBrush()], np.empty((0, 0, 2))
        self._names = ("x₁", "x₂")
        for item in (self.image, self.points, self.bars, self.marks):
            self.addItem(item)
        self.name_axes(*self._names)
        self.canvas.scene().sigMouseClicked.connect(self._pick)

    def restyle(self) -> None:
        super().restyle()
        self.canvas.showGrid(x=False, y=False)  # grid lines would look like part of the image
        if hasattr(self, "_names"):
            self._fit_axes()

    def keep_aspect(self, keep: bool) -> None:
        """Draw both axes in the same scale, or stretch them to the room."""
        self.canvas.getViewBox().setAspectLocked(keep)

    def name_axes(self, bottom: str, left: str) -> None:
        """Set the axis labels."""
        self._names = bottom, left
        self._fit_axes()

    def _fit_axes(self) -> None:
        """Leave out the names, and then the numbers, of axes that would take most of a small plane."""
        labelled, numbered = _fits(_LABELLED, self.width(), self.height()), has_numbers(self.width(), self.height())
        for side, name in zip(("bottom", "left"), self._names, strict=True):
            axis = self.canvas.getAxis(side)
            axis.setStyle(showValues=numbered)
            self.label(side, name)
            axis.showLabel(labelled)
        names = scaled(_NAME) * labelled
        self.canvas.getAxis("bottom").setHeight(max(scaled(_TICK) * numbered + names, 4))
        self.canvas.getAxis("left").setWidth(max(self._numbers_width() * numbered + names, 4))

    def _numbers_width(self) -> int:
        """Return the width of the widest number at the left axis."""
        low, high = self.canvas.getViewBox().viewRange()[1]
        length = max(self.height() - scaled(_NUMBERED[1]), 1)
        metrics = QFontMetrics(font("caption"))
        widths = [scaled(_NUMBERS)]
        for _, values in self.left_axis.tickValues(low, high, length):
            texts = self.left_axis.tickStrings(values, 1.0, 0.0)
            widths += [metrics.horizontalAdvance(text) + scaled(_GAP) for text in texts]
        return max(widths)

    def resizeEvent(self, ev: QResizeEvent | None) -> None:
        super().resizeEvent(ev)
        if hasattr(self, "_brushes"):  # the base class resizes before __init__ is done
            self._fit_axes()
            self._show_those_with_room()

    def show_density(self, density: DensityDrawn | None, role: str = "", highest: float | None = None) -> None:
        """Show a density in a flow's colours, full at `highest`; None hides it."""
        self.image.setVisible(density is not None)
        if density is None:
            return
        self.draw_density(density.log_prob, density.extent, role, highest or high_density([density]))
        self.frame(density.extent)

    def draw_density(self, log_prob: np.ndarray, extent: Extent, role: str, highest: float) -> None:
        """Draw log p on (rows, columns) cells, lowest y first, in a flow's colours; full at the density `highest`."""
        x0, x1, y0, y1 = extent
        values = np.exp(np.minimum(np.nan_to_num(log_prob, nan=-np.inf), _HIGHEST))
        self.image.setColorMap(density_map(role))
        self.image.setImage(np.minimum(values / highest, 1.0) ** _GAMMA, autoLevels=False, levels=(0.0, 1.0))
        self.image.setRect(QRectF(x0, y0, x1 - x0, y1 - y0))

    def frame(self, extent: Extent) -> None:
        """Set the visible range of both axes; with the aspect kept, one of them may be longer."""
        x0, x1, y0, y1 = extent
        self.canvas.getViewBox().setRange(xRange=(x0, x1), yRange=(y0, y1), padding=0)
        self._fit_axes()

    def show_points(self, points: np.ndarray, colour: str, noise: np.ndarray | None = None) -> None:
        """Show (n, 2) points, in one colour or in that of the (n, 2) noise that they come from."""
        self.bars.setVisible(False)
        faint = QColor(colour)
        faint.setAlpha(_ALPHA)
        self._points = points
        self._brushes = [QBrush(faint)] if noise is None else noise_brushes(noise)
        self._show_those_with_room()

    def _show_those_with_room(self) -> None:
        shown = self._points[: max(1, self.width() * self.height() // _ROOM)]
        brushes = self._brushes[: len(shown)] if len(self._brushes) > 1 else self._brushes[0]
        size = scaled(_DOTS[len(shown) >= _FEW])
        self.points.setData(x=shown[:, 0], y=shown[:, 1], brush=brushes, size=size)

    def show_histogram(self, values: np.ndarray, colour: str, extent: tuple[float, float]) -> None:
        """Show a density histogram of (n,) values between two ends."""
        self._points = np.empty((0, 2))
        self._show_those_with_room()
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
        self._marked = paths
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

    def _pick(self, click: MouseClickEvent) -> None:
        """Report the point or the step that was clicked, if one is near."""
        points = self._points if len(self._points) else self._marked.reshape(-1, 2)
        if (number := self.point_at(click, points)) is not None:
            self.picked.emit(number)

    def mark(self, step: int) -> None:
        """Draw a ring around a step of every path."""
        points = self._marked[:, step] if step < self._marked.shape[1] else np.empty((0, 2))
        self.marks.setPen(pg.mkPen(tokens().accent, width=2))
        self.marks.setData(x=points[:, 0], y=points[:, 1])
