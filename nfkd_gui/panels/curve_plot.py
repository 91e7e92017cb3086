"""A plot of the curves panel: one quantity, with a line for every role and seed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtWidgets import QWidget

from nfkd.protocol.records import StagePlan
from nfkd.protocol.roles import TEACHERS, Role
from nfkd.protocol.view import Curve, RunView
from nfkd_gui.panels.curve_marks import CurveMarks, Key
from nfkd_gui.panels.quantities import Quantity
from nfkd_gui.plotting.lines import Smoother, decimate
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import role_colour

_FAINT, _OTHER_SEED = 70, 60
_FEW, _MARK = 2, 6
"""A line of at most this many points is too short to see: it gets marks of this size in pixels."""
_WITH_LABELS = 1.12
"""The step axis is longer than the curves by this factor: their names stand at their ends."""


@dataclass(frozen=True)
class CurveSettings:
    """How curves are drawn.

    Attributes
    ----------
    smoothing
        Weight of the moving average, in [0, 1); the raw line stays visible behind it.
    by_time
        Whether the x axis shows seconds instead of steps.
    logarithmic
        Whether the y axis is logarithmic.
    roles
        Roles whose curves are shown.
    """

    smoothing: float = 0.0
    by_time: bool = False
    logarithmic: bool = False
    roles: frozenset[Role] = frozenset()


class CurvePlot(Plot):
    """Draws one quantity. A line is created once and then only gets new data."""

    pointed = Signal(float)
    """The x value under the pointer; NaN when it left the plot."""
    reframed = Signal()
    """The user asked for the whole curves."""

    def __init__(self, quantity: Quantity, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.quantity = quantity
        self.incomplete = False
        """Whether the log axis hides values at or below zero."""
        self.lines: dict[Key, pg.PlotDataItem] = {}
        self.raw: dict[Key, pg.PlotDataItem] = {}
        self._smoothers: dict[Key, Smoother] = {}
        self._drawn: dict[Key, tuple[object, ...]] = {}
        self._framed: tuple[object, ...] | None = None
        self._out_of_log: set[Key] = set()
        self.setObjectName(f"curves.plot.{quantity.name}")
        self.label("left", quantity.label, quantity.unit, quantity.short)
        self._marks = CurveMarks(self)
        self._pointer = pg.InfiniteLine(angle=90, movable=False)
        self._pointer.hide()
        self.canvas.addItem(self._pointer, ignoreBounds=True)
        self.canvas.scene().sigMouseMoved.connect(self._moved)

    def forget(self) -> None:
        """Remove all lines."""
        for line in (*self.lines.values(), *self.raw.values()):
            self.removeItem(line)
        self.lines.clear()
        self.raw.clear()
        self._smoothers.clear()
        self._drawn.clear()
        self._marks.clear()
        self.show_everything()

    def show_everything(self) -> None:
        """Forget the user's zoom: the next drawing shows the whole curves."""
        self._framed = None
        self.canvas.getViewBox().enableAutoRange(axis="y")

    def mouseDoubleClickEvent(self, ev: QMouseEvent) -> None:
        super().mouseDoubleClickEvent(ev)
        self.show_everything()
        self.reframed.emit()

    def restart(self) -> None:
        """Redraw every line from its first point: a resumed stage may replace points."""
        self._smoothers.clear()
        self._drawn.clear()

    def draw(self, view: RunView, seed: int, settings: CurveSettings) -> None:
        """Draw the curves of a run."""
        self._frame(view, settings)
        shown: set[Key] = set()
        for (stage_seed, role), stage in view.stages.items():
            for name in self.quantity.curves:
                curve = stage.curves.get(name)
                if curve is not None and len(curve) and role in settings.roles:
                    shown.add((stage_seed, role, name))
                    self._draw_line((stage_seed, role, name), curve, seed, settings)
        self._hide(shown)
        marked = set() if settings.by_time else shown
        self._marks.draw(view, {key for key in marked if key[0] == seed or key[1] in TEACHERS}, self.quantity)
        self.incomplete = settings.logarithmic and not shown.isdisjoint(self._out_of_log)

    def _frame(self, view: RunView, settings: CurveSettings) -> None:
        """Set up the axes if the settings changed; the step axis spans all steps that are planned or were made."""
        plans = ((started.seed, plan) for started in view.seeds.values() for plan in started.stages)
        steps = max((_length(view, seed, plan) for seed, plan in plans), default=1)
        frame = (settings.by_time, settings.logarithmic, steps)
        if frame == self._framed:
            return
        self._framed = frame
        self._drawn.clear()
        self.label("bottom", "Time" if settings.by_time else "Step", "s" if settings.by_time else "")
        self.canvas.setLogMode(y=settings.logarithmic)
        if settings.by_time:
            self.canvas.getViewBox().enableAutoRange(axis="x")
        else:
            self.canvas.getViewBox().setXRange(0, steps * _WITH_LABELS, padding=0.02)

    def _draw_line(self, key: Key, curve: Curve, seed: int, settings: CurveSettings) -> None:
        stage_seed, role, name = key
        x = curve.times if settings.by_time else curve.steps.astype(np.float64)
        bold = name == self.quantity.curves[-1]
        thin = len(self.quantity.curves) > 1 and not bold
        current = stage_seed == seed or role in TEACHERS
        drawn = (len(curve), current, settings, role_colour(role))
        if self._drawn.get(key) == drawn:
            return
        self._drawn[key] = drawn
        (self._out_of_log.add if np.nanmin(curve.values, initial=1) <= 0 else self._out_of_log.discard)(key)
        colour = QColor(role_colour(role))
        weight = 0.0 if name.startswith("validation/") else settings.smoothing  # few points, each a measurement
        smooth = self._smoothers.setdefault(key, Smoother())(curve.values, weight)
        if weight and current:
            self._set(self.raw, key, x, curve.values, colour, _FAINT, 1.0)
        elif key in self.raw:
            self.raw[key].setData([], [])
        strength = 255 if current and not thin else _FAINT + 60 if current else _OTHER_SEED
        self._set(self.lines, key, x, smooth, colour, strength, 1.0 if thin or not current else 2.0)

    def _set(
        self,
        lines: dict[Key, pg.PlotDataItem],
        key: Key,
        x: np.ndarray,
        y: np.ndarray,
        colour: QColor,
        strength: int,
        width: float,
    ) -> None:
        line = lines.get(key)
        if line is None:
            line = lines[key] = self.plot([], [], connect="finite")
            line.setZValue(1 if lines is self.lines else 0)
            line.setLogMode(False, self.canvas.getAxis("left").logMode)
        faded = QColor(colour)
        faded.setAlpha(strength)
        pen = pg.mkPen(faded, width=width)
        if line.opts["pen"] != pen:
            line.setPen(pen)
        mark = "o" if len(y) <= _FEW else None
        if line.opts["symbol"] != mark:
            line.setSymbol(mark)  # type: ignore[arg-type] - None means no marks
            line.setSymbolSize(_MARK)
            line.setSymbolPen(None)
        if mark:
            line.setSymbolBrush(pg.mkBrush(faded))
        line.setData(*decimate(x, y))

    def _hide(self, shown: Collection[Key]) -> None:
        for lines in (self.lines, self.raw):
            for key, line in lines.items():
                if key not in shown:
                    line.setData([], [])
                    self._drawn.pop(key, None)

    def point(self, x: float) -> None:
        """Mark an x value; NaN removes the mark."""
        self._pointer.setVisible(bool(np.isfinite(x)))
        if np.isfinite(x):
            self._pointer.setValue(x)

    def _moved(self, position: object) -> None:
        box = self.canvas.getViewBox()
        inside = box.sceneBoundingRect().contains(position)  # type: ignore[arg-type]
        self.pointed.emit(box.mapSceneToView(position).x() if inside else float("nan"))

    def leaveEvent(self, ev: QEvent) -> None:
        super().leaveEvent(ev)
        self.pointed.emit(float("nan"))


def _length(view: RunView, seed: int, plan: StagePlan) -> int:
    """Return the steps that a stage made, if it has ended, or will make."""
    stage = view.stages.get((seed, plan.stage))
    ended = stage.summary if stage is not None else None
    return plan.steps if ended is None else max(ended.steps, 1)
