"""The plane: a density as an image, points over it, paths through it."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QWidget

from nfkd.protocol.events import DensityDrawn
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import is_dark

MAP = "cividis"
_LOWEST = 7.0
"""Nats below its peak at which a density is drawn as nothing."""


class Plane(Plot):
    """A density of two features with points over it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, aspect=True)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.image.setColorMap(pg.colormap.get(MAP))
        self.points = pg.ScatterPlotItem(size=3, pen=None, pxMode=True)
        self.paths: list[pg.PlotDataItem] = []
        self.addItem(self.image)
        self.addItem(self.points)
        self.label("bottom", "x₁")
        self.label("left", "x₂")

    def show_density(self, density: DensityDrawn | None) -> None:
        """Show exp(log p) as an image; None hides it."""
        self.image.setVisible(density is not None)
        if density is None:
            return
        x0, x1, y0, y1 = density.extent
        log_prob = np.nan_to_num(density.log_prob, nan=-np.inf)
        self.image.setImage(np.exp(np.minimum(log_prob, _LOWEST)), autoLevels=False, levels=self.levels(density))
        self.image.setRect(x0, y0, x1 - x0, y1 - y0)
        self.setRange(xRange=(x0, x1), yRange=(y0, y1), padding=0)

    @staticmethod
    def levels(density: DensityDrawn) -> tuple[float, float]:
        """Return the densities of the two ends of the map; a peak of a few points does not darken the rest."""
        finite = density.log_prob[np.isfinite(density.log_prob)]
        return 0.0, float(np.exp(np.quantile(finite, 0.995))) if len(finite) else 1.0

    def show_points(self, points: np.ndarray, colour: str) -> None:
        """Show (n, 2) points."""
        self.points.setData(x=points[:, 0], y=points[:, 1], brush=pg.mkBrush(f"{colour}B0"))

    def show_paths(self, paths: np.ndarray, colour: str) -> None:
        """Show paths, (pairs, steps, 2), as lines with a mark at each step."""
        while len(self.paths) < len(paths):
            self.paths.append(self.plot([], [], symbol="o", symbolSize=6))
        edge = "#202020" if not is_dark() else "#F0F0F0"
        for line, path in zip(self.paths, paths, strict=False):
            line.setData(path[:, 0], path[:, 1])
            line.setPen(pg.mkPen(colour, width=2))
            line.setSymbolBrush(pg.mkBrush(colour))
            line.setSymbolPen(pg.mkPen(edge, width=0.5))
        for line in self.paths[len(paths) :]:
            line.setData([], [])
