"""Marks on the curves: names beside the ends of lines, the best step, and where a stage stopped early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role, role_label, role_name
from nfkd.protocol.view import Curve, RunView
from nfkd_gui.panels.curve_traces import Trace, XAxis
from nfkd_gui.panels.quantities import LIKELIHOOD
from nfkd_gui.plotting.end_names import EndName, EndNames
from nfkd_gui.theme import font, role_colour, tokens

if TYPE_CHECKING:
    from nfkd_gui.panels.curve_plot import CurvePlot

_RING, _GAP = 9, 4
"""Pixels: size of a ring, and distance of a text from the frame."""


class CurveMarks:
    """Draws the marks of a plot; they are made anew when they change, and placed again when the plot is zoomed."""

    def __init__(self, plot: CurvePlot) -> None:
        self._plot = plot
        self._items: list[pg.GraphicsObject] = []
        self._texts: list[tuple[pg.TextItem, float, float]] = []
        self._traces: list[Trace] = []
        self._axis: XAxis = "step"
        self._drawn: object = None
        self.names = EndNames()
        plot.place_beside(self.names)
        plot.canvas.getViewBox().sigRangeChanged.connect(self._place)
        plot.canvas.getViewBox().sigResized.connect(self._place)

    def clear(self) -> None:
        """Remove all marks."""
        for item in self._items:
            self._plot.canvas.removeItem(item)
        self._items.clear()
        self._texts.clear()
        self._traces = []
        self.names.show_names([])
        self._drawn = None

    def draw(self, view: RunView, traces: Sequence[Trace], axis: XAxis) -> None:
        """Mark the main lines among those of a run."""
        main = [trace for trace in traces if trace.weight == "bold"]
        marked = [trace for trace in main if isinstance(trace.curve, Curve)]
        summaries = {trace.key: view.stages[trace.key[0], trace.role].summary for trace in marked}
        state = axis, self._plot.value_scale, [(trace.key, id(summaries.get(trace.key))) for trace in main]
        if state != self._drawn:
            self.clear()
            self._drawn = state
            self.names.fit([role_label(trace.role) for trace in main])
            for trace in marked if self._plot.quantity.name == LIKELIHOOD else []:
                self._mark(view, trace, summaries[trace.key], axis)
        self._traces, self._axis = main, axis
        self._place()

    def _mark(self, view: RunView, trace: Trace, summary: StageSummary | None, axis: XAxis) -> None:
        plan = view.plan(trace.key[0], trace.role)
        if summary is None or plan is None:
            return
        early = summary.ended == "early"
        self._mark_best(trace, summary.best_step, axis, named=early)
        if early:
            self._mark_end(trace, summary.steps, plan.steps, axis)

    def _mark_best(self, trace: Trace, step: int, axis: XAxis, *, named: bool) -> None:
        """Draw a ring at the validation point whose weights were kept."""
        found = np.flatnonzero(trace.curve.steps == step)
        if not len(found):
            return
        index = int(found[-1])
        x = float(trace.x(axis)[index]) / trace.unit(axis)
        y = float(self._plot.value_scale.apply(trace.curve.values[index : index + 1])[0])
        if not math.isfinite(y):
            return
        ring = pg.ScatterPlotItem(
            [x], [y], size=_RING, pen=pg.mkPen(role_colour(trace.role), width=2), brush=pg.mkBrush(tokens().panel)
        )
        ring.setZValue(3)
        ring.setToolTip(f"Best step of the {role_name(trace.role)}: {step:,}")
        self._add(ring)
        if named:
            self._write(f"best, step {step:,}", trace.role, x, y)

    def _mark_end(self, trace: Trace, steps: int, planned: int, axis: XAxis) -> None:
        """Draw a dashed line where a stage ended before its budget."""
        at = float(trace.x("time")[-1]) if axis == "time" else steps / trace.unit(axis)
        pen = pg.mkPen(role_colour(trace.role), width=1, style=Qt.PenStyle.DashLine)
        self._add(pg.InfiniteLine(at, angle=90, pen=pen))
        self._write(f"{role_name(trace.role)} stopped early, {steps:,} of {planned:,}", trace.role, at, math.inf)

    def _write(self, text: str, role: Role, x: float, y: float) -> None:
        """Write a text below a point, or beside a vertical line for an infinite y."""
        ground = QColor(tokens().panel)
        ground.setAlpha(200)
        item = pg.TextItem(text, color=role_colour(role), fill=pg.mkBrush(ground))
        item.setFont(font("caption"))
        item.setZValue(2.5)
        self._add(item)
        self._texts.append((item, x, y))

    def _add(self, item: pg.GraphicsObject) -> None:
        self._plot.canvas.addItem(item, ignoreBounds=True)
        self._items.append(item)

    # --- places ---------------------------------------------------------------------------------------------------

    def _place(self, *_range: object) -> None:
        """Place names and texts in the visible part."""
        box = self._plot.canvas.getViewBox()
        (left, right), (low, high) = box.viewRange()
        names = []
        for trace in self._traces:
            y = self._plot.position_before(trace, right)
            if y is not None and low <= y <= high:
                height = (high - y) / (high - low)
                names.append(EndName(height, role_label(trace.role), role_colour(trace.role)))
        self.names.show_names(names)
        across, up = (float(size) for size in box.viewPixelSize())
        for item, x, y in self._texts:
            width, height = item.boundingRect().width(), item.boundingRect().height()
            if math.isinf(y):
                beside = x - left > (width + _GAP) * across
                item.setAnchor((1, 0) if beside else (0, 0))
                item.setPos(x, high - _GAP * up)
                item.setVisible(left <= x <= right)
            else:
                below = y - low > (height + _RING) * up
                item.setAnchor((0.5, 0) if below else (0.5, 1))
                item.setPos(x, y - _RING * up if below else y + _RING * up)
                item.setVisible(left <= x <= right and low <= y <= high)
