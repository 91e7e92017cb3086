"""The lines of a plot by name: each is made once, and then only gets new data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from nfkd_gui.plotting.plots import Plot

_FILL = 46
"""Opacity of 255 of the area below a line."""


@dataclass(frozen=True)
class Drawn:
    """A line, a histogram or points.

    Attributes
    ----------
    x, y
        (n,) each; of a histogram, `x` are the n + 1 edges of its bins.
    colour
        As ``#RRGGBB``.
    style
        Of the line.
    filled
        Whether the area below the line is tinted.
    points
        Diameter of the points in pixels, which replace the line; 0 for a line.
    """

    x: np.ndarray
    y: np.ndarray
    colour: str
    style: Qt.PenStyle = field(default=Qt.PenStyle.SolidLine)
    width: float = 1.5
    filled: bool = False
    points: int = 0


class LineSet:
    """The lines of a plot."""

    def __init__(self, plot: Plot) -> None:
        self._plot = plot
        self.items: dict[str, pg.PlotDataItem] = {}

    def show(self, lines: Mapping[str, Drawn]) -> None:
        """Show these lines and no others; the first is behind."""
        for name, item in self.items.items():
            if name not in lines:
                item.setData([], [], stepMode=None, fillLevel=None)
        for depth, (name, line) in enumerate(lines.items()):
            item = self.items.get(name)
            if item is None:
                item = self.items[name] = self._plot.plot([], [], connect="finite", antialias=True)
            item.setZValue(depth)
            _update(item, line)


def _update(item: pg.PlotDataItem, line: Drawn) -> None:
    pale = QColor(line.colour)
    pale.setAlpha(_FILL if not line.points else 110)
    item.setPen(None if line.points else pg.mkPen(line.colour, width=line.width, style=line.style))
    item.setFillBrush(pg.mkBrush(pale) if line.filled else None)
    item.setSymbol("o" if line.points else None)  # type: ignore[arg-type]
    item.setSymbolSize(line.points)
    item.setSymbolPen(None)
    item.setSymbolBrush(pg.mkBrush(pale))
    steps = "center" if len(line.x) == len(line.y) + 1 else None
    item.setData(line.x, line.y, stepMode=steps, fillLevel=0 if line.filled else None)
