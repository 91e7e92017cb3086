"""Pair plot of a few columns: histograms on the diagonal, and points of two columns below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PySide6.QtCore import QEvent
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QWidget

from nfkd_gui.model.likelihoods import histograms, span
from nfkd_gui.plotting.line_set import Drawn, LineSet
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import role_colour, scaled, set_space

MOST = 5
"""Columns of a pair plot."""
_BINS = (40, 24)
"""Bins of a histogram alone, and of one among others."""
_LEFT, _BOTTOM, _EDGE = 64, 40, 4
"""Pixels of the outer axes, and of those inside."""
_ROOM = 60
"""Square pixels for each point: further ones are left out, so that the density shows through."""
_MARGIN = 0.04
_CELL = (88, 72)
"""Pixels that the plotted area of a cell should have."""


class PairGrid(QWidget):
    """Shows sets of rows; the first set is that of the data."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = name
        self.cells: dict[tuple[int, int], Plot] = {}
        """By row and column."""
        self.lines: dict[tuple[int, int], LineSet] = {}
        self._count = 0
        self._grid = QGridLayout(self)
        set_space(self._grid, 4)

    def most(self) -> int:
        """Return how many columns have room."""
        across, down = self.width() - scaled(_LEFT), self.height() - scaled(_BOTTOM)
        return min(MOST, max(1, across // scaled(_CELL[0])), max(1, down // scaled(_CELL[1])))

    def show_columns(
        self, sets: Mapping[str, np.ndarray], names: Sequence[str], points: Sequence[str], unit: str = "%"
    ) -> None:
        """Show sets of rows.

        Parameters
        ----------
        sets
            (n, columns) by flow or `DATA`, with at most `MOST` columns.
        names
            Of the columns.
        points
            The sets whose points are shown below the diagonal.
        unit
            Of the histograms.
        """
        self._make_cells(len(names))
        # The data decides on the range: single far samples of a flow would hide everything else.
        data = next(iter(sets.values()))
        ranges = [span({"data": data[:, column]}) for column in range(len(names))]
        ranges = [_wider(low, high) for low, high in ranges]
        for (row, column), plot in self.cells.items():
            last = row == len(names) - 1
            plot.label("bottom", names[column] if last else "")
            if row == column:
                self._draw_histogram(row, {name: rows[:, row] for name, rows in sets.items()}, ranges[row], unit)
            else:
                chosen = {name: sets[name][:, [column, row]] for name in points}
                self._draw_points(row, column, chosen, ranges)
                plot.label("left", names[row] if column == 0 else "")

    def _draw_histogram(self, row: int, sets: Mapping[str, np.ndarray], within: tuple[float, float], unit: str) -> None:
        alone = self._count == 1
        edges, shares = histograms(sets, _BINS[0] if alone else _BINS[1], within)
        first = next(iter(sets))
        self.lines[row, row].show(
            {name: Drawn(edges, heights, role_colour(name), filled=name == first) for name, heights in shares.items()}
        )
        plot = self.cells[row, row]
        highest = max(float(heights.max()) for heights in shares.values())
        plot.canvas.getViewBox().setRange(xRange=within, yRange=(0, 1.08 * highest or 1.0), padding=0)
        plot.label(
            "left", "Share of the rows" if row == 0 else "", unit if row == 0 else "", "Share" if row == 0 else ""
        )

    def _draw_points(
        self, row: int, column: int, sets: Mapping[str, np.ndarray], ranges: Sequence[tuple[float, float]]
    ) -> None:
        plot = self.cells[row, column]
        room = max(100, plot.width() * plot.height() // (_ROOM * len(sets)))
        most = min(room, *(len(values) for values in sets.values()))  # as many of each set
        lines = {}
        for name, values in sets.items():
            kept = values[np.isfinite(values).all(axis=1)][:most]
            lines[name] = Drawn(kept[:, 0], kept[:, 1], role_colour(name), points=4 if self._count < 4 else 3)
        self.lines[row, column].show(lines)
        plot.canvas.getViewBox().setRange(xRange=ranges[column], yRange=ranges[row], padding=0)

    def _make_cells(self, count: int) -> None:
        if count == self._count:
            return
        for plot in self.cells.values():
            self._grid.removeWidget(plot)
            plot.setParent(None)
            plot.close()
        self.cells, self.lines, self._count = {}, {}, count
        for row in range(count):
            for column in range(row + 1):
                plot = Plot(self)
                plot.setObjectName(f"{self._name}.{row}.{column}")
                plot.setMouseEnabled(x=False, y=False)
                plot.put_grid_behind()
                plot.least = (56, 48)
                self.cells[row, column], self.lines[row, column] = plot, LineSet(plot)
                self._grid.addWidget(plot, row, column)
        self.restyle()

    def restyle(self) -> None:
        """Apply the current theme; only the outer axes have numbers."""
        for (row, column), plot in self.cells.items():
            plot.restyle()
            for side, outer, size in (("left", column == 0, _LEFT), ("bottom", row == self._count - 1, _BOTTOM)):
                axis = plot.canvas.getAxis(side)
                axis.setStyle(showValues=outer)
                axis.showLabel(outer)
                set_size = axis.setWidth if side == "left" else axis.setHeight
                set_size(scaled(size if outer else _EDGE))
        self._share_room()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_room()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._share_room()

    def _share_room(self) -> None:
        """Make the plotted areas equal: cells with outer axes get more room."""
        if not self._count:
            return
        across, down = self.width() - scaled(_LEFT), self.height() - scaled(_BOTTOM)
        for number in range(MOST):
            shown = number < self._count
            first, last = number == 0, number == self._count - 1
            width = max(1, across // self._count) + scaled(_LEFT) * first
            height = max(1, down // self._count) + scaled(_BOTTOM) * last
            self._grid.setColumnStretch(number, width * shown)
            self._grid.setRowStretch(number, height * shown)


def _wider(low: float, high: float) -> tuple[float, float]:
    margin = _MARGIN * (high - low)
    return low - margin, high + margin
