"""Marks on the curves: names at the ends of lines, the best step, and where a stage stopped early."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt

from nfkd.protocol.events import StageSummary
from nfkd.protocol.roles import Role, role_label, role_name
from nfkd.protocol.view import Curve, RunView, StageView
from nfkd_gui.panels.quantities import LIKELIHOOD, Quantity
from nfkd_gui.theme import font, plot_colours, role_colour

if TYPE_CHECKING:
    from nfkd_gui.panels.curve_plot import CurvePlot

Key = tuple[int, Role, str]
"""Seed, flow and name of a curve."""
_APART = 14
"""Pixels between two names."""
_RING = 9


class CurveMarks:
    """Draws the marks of a plot; they are made anew when they change."""

    def __init__(self, plot: CurvePlot) -> None:
        self._plot = plot
        self._items: list[pg.GraphicsObject] = []
        self._names: dict[pg.TextItem, tuple[float, float]] = {}
        self._drawn: object = None
        plot.canvas.getViewBox().sigRangeChanged.connect(self._place_names)

    def clear(self) -> None:
        """Remove all marks."""
        for item in self._items:
            self._plot.canvas.removeItem(item)
        self._items.clear()
        self._names.clear()
        self._drawn = None

    def draw(self, view: RunView, keys: Collection[Key], quantity: Quantity) -> None:
        """Mark the bold lines among some curves of a run."""
        ends: dict[Role, tuple[float, float]] = {}
        stages: dict[Role, tuple[int, StageView, Curve]] = {}
        for seed, role, name in keys:
            stage = view.stages[seed, role]
            curve = stage.curves[name]
            if name == quantity.curves[-1] and np.isfinite(curve.values[-1]):
                ends[role] = float(curve.steps[-1]), float(curve.values[-1])
                stages[role] = seed, stage, curve
        colours = tuple(role_colour(role) for role in ends)
        summaries = {role: stage.summary for role, (_, stage, _) in stages.items()}
        state = ends, colours, {role: id(summary) for role, summary in summaries.items()}
        if state == self._drawn:
            return
        self.clear()
        self._drawn = state
        self._name(ends)
        if quantity.name != LIKELIHOOD:
            return
        for role, (seed, stage, curve) in stages.items():
            plan = view.plan(seed, role)
            if stage.summary is not None and plan is not None:
                self._mark_best(role, stage.summary, curve)
                if stage.summary.ended == "early":
                    self._mark_end(role, stage.summary.steps, plan.steps)

    def _name(self, ends: dict[Role, tuple[float, float]]) -> None:
        """Write the names beside the ends of the lines."""
        logarithmic = self._plot.canvas.getAxis("left").logMode
        for role, (x, y) in ends.items():
            if not logarithmic or y > 0:
                name = pg.TextItem(role_label(role), color=role_colour(role), anchor=(0, 0.5))
                self._names[name] = x, float(np.log10(y)) if logarithmic else y
                name.setFont(font("caption"))
                self._plot.canvas.addItem(name, ignoreBounds=True)
                self._items.append(name)
        self._place_names()

    def _place_names(self) -> None:
        """Move names apart where they would overlap in the visible range."""
        pixel = abs(float(self._plot.canvas.getViewBox().viewPixelSize()[1]))
        before: float | None = None
        for name, (x, y) in sorted(self._names.items(), key=lambda item: item[1][1]):
            before = y if before is None else max(y, before + _APART * pixel)
            name.setPos(x, before)

    def _mark_best(self, role: Role, summary: StageSummary, curve: Curve) -> None:
        """Draw a ring at the validation point whose weights were kept."""
        found = np.flatnonzero(curve.steps == summary.best_step)
        if not len(found):
            return
        value = float(curve.values[found[-1]])
        logarithmic = self._plot.canvas.getAxis("left").logMode
        ring = pg.ScatterPlotItem(
            [summary.best_step],
            [np.log10(value) if logarithmic and value > 0 else value],
            size=_RING,
            pen=pg.mkPen(role_colour(role), width=2),
            brush=pg.mkBrush(plot_colours().background),
        )
        ring.setZValue(2)
        ring.setToolTip(f"Best step of the {role_name(role)}: {summary.best_step:,}")
        self._plot.canvas.addItem(ring, ignoreBounds=True)
        self._items.append(ring)

    def _mark_end(self, role: Role, steps: int, planned: int) -> None:
        """Draw a dashed line where a stage ended before its budget."""
        pen = pg.mkPen(role_colour(role), width=1, style=Qt.PenStyle.DashLine)
        text = f"{role_name(role)} stopped early, {steps:,} of {planned:,}"
        options = {"position": 0.95, "color": role_colour(role), "anchors": [(1, 0), (1, 0)]}
        line = pg.InfiniteLine(steps, angle=90, pen=pen, label=text, labelOpts=options)
        line.label.setFont(font("caption"))
        self._plot.canvas.addItem(line, ignoreBounds=True)
        self._items.append(line)
