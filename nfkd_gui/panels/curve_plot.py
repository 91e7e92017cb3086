"""A plot of the curves panel: one quantity, with a line for every flow, and the band over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtWidgets import QWidget

from nfkd.protocol.view import RunView
from nfkd_gui.panels.curve_marks import CurveMarks
from nfkd_gui.panels.curve_readout import Reading, ReadOut, heading_at, read_lines
from nfkd_gui.panels.curve_traces import CurveSettings, Key, MeanCurve, Trace, Traces
from nfkd_gui.panels.quantities import Quantity
from nfkd_gui.plotting.axes import Scale, round_step, symlog_threshold
from nfkd_gui.plotting.lines import Line, position
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import role_colour, tokens

_ALPHA = {"bold": 255, "live": 255, "thin": 90, "smooth": 190, "faint": 110, "raw": 60, "band": 51}
"""Opacity of 255; the band has 20 %. *smooth* is a training line with its raw line behind."""
_HEIGHT = {"bold": 2.0, "live": 1.5, "thin": 1.0, "smooth": 1.0, "faint": 0.5, "raw": 0.7}
"""Lines with a larger value are above others."""
_WIDTH = {"bold": 2.0}
_FEW, _MARK = 2, 6
"""A line of at most this many points is too short to see: it gets marks of this size in pixels."""
_SMOOTH_BELOW = 400
"""Lines of fewer points are antialiased; longer ones would slow the repaint."""
_SAMPLE = 2000
"""Values of a line that percentiles are computed of."""
_PAD, _SLACK = 0.02, 0.7
"""Room above and below the lines; the y range shrinks when they need less than this part of it."""
_BEYOND = 1.02
"""The x axis ends a little after the lines: a mark on the last point is whole."""
_ROUND = 10
"""The ends of the y range are rounded to about this part of it."""
_TITLES = {"step": ("Step", ""), "epoch": ("Epoch", ""), "time": ("Time", "s")}


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
        self.lines: dict[Key, pg.PlotCurveItem] = {}
        self.raw: dict[Key, pg.PlotCurveItem] = {}
        self.bands: dict[Key, pg.PlotCurveItem] = {}
        self.traces: list[Trace] = []
        self.value_scale = Scale()
        self.zoomed = False
        """Whether the user has chosen the visible part."""
        self._data: dict[tuple[str, Key], Line] = {}
        self._sources: dict[tuple[str, Key], object] = {}
        self._drawn: dict[tuple[str, Key], object] = {}
        self._settings = CurveSettings()
        self._lister = Traces(quantity)
        self._points_at_scale = 0
        self._framed: object = None
        self.setObjectName(f"curves.plot.{quantity.name}")
        self.label("left", quantity.label, quantity.unit, quantity.short)
        box = self.canvas.getViewBox()
        box.disableAutoRange()
        box.sigRangeChangedManually.connect(self._keep_zoom)
        box.sigXRangeChanged.connect(self._redraw_lines)
        box.sigResized.connect(self._redraw_lines)
        self._dots = pg.ScatterPlotItem(size=_MARK, pen=None)
        self.canvas.addItem(self._dots, ignoreBounds=True)
        self.marks = CurveMarks(self)
        self._pointer = pg.InfiniteLine(angle=90, movable=False)
        self._pointer.hide()
        self._rings = pg.ScatterPlotItem(size=_MARK + 2)
        self._rings.setZValue(3)
        for item in (self._pointer, self._rings):
            self.canvas.addItem(item, ignoreBounds=True)
        self.readout = ReadOut(self)
        self.canvas.scene().sigMouseMoved.connect(self._moved)
        self.restyle()

    # --- the visible part -----------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Remove all lines."""
        for line in (*self.lines.values(), *self.raw.values(), *self.bands.values()):
            self.canvas.removeItem(line)
        for known in (self.lines, self.raw, self.bands, self.traces, self._data, self._sources, self._drawn):
            known.clear()
        self._lister = Traces(self.quantity)
        self._dots.setData([], [])
        self.marks.clear()
        self.point(math.nan)
        self._points_at_scale = 0
        self.show_everything()

    def show_everything(self) -> None:
        """Forget the user's zoom: the next drawing shows the whole curves."""
        self._framed = None
        self.zoomed = False

    def _keep_zoom(self, _axes: object) -> None:
        self.zoomed = True

    def mouseDoubleClickEvent(self, ev: QMouseEvent) -> None:
        super().mouseDoubleClickEvent(ev)
        self.show_everything()
        self.reframed.emit()

    def restart(self) -> None:
        """Redraw every line from its first point: a resumed stage may replace points."""
        self._sources.clear()
        self._drawn.clear()

    def restyle(self) -> None:
        super().restyle()
        if hasattr(self, "marks"):  # the base class calls this before __init__ is done
            self._drawn.clear()
            self.marks.clear()
            self._pointer.setPen(pg.mkPen(tokens().muted, width=1))
            self.readout.update()

    # --- drawing --------------------------------------------------------------------------------------------------

    def draw(self, view: RunView, seed: int, settings: CurveSettings) -> None:
        """Draw the curves of a run."""
        if (settings.axis, settings.values) != (self._settings.axis, self._settings.values):
            self.show_everything()
        self._settings = settings
        self.traces = self._lister.list(view, seed, settings)
        self._choose_scale()
        for trace in self.traces:
            self._update(trace)
        self.incomplete = settings.values == "log" and any(_has_no_log(trace) for trace in self.traces)
        self._frame(view)
        self._redraw_lines()
        self._hide()
        self._draw_dots()
        self.marks.draw(view, self.traces, settings.axis)

    def _choose_scale(self) -> None:
        """Set the scale of the values; the threshold of symlog is chosen again when the points have doubled."""
        kind, count = self._settings.values, sum(len(trace.curve) for trace in self.traces)
        if kind == self.value_scale.kind and (kind != "symlog" or count <= 2 * self._points_at_scale):
            return
        self._points_at_scale = count
        samples = [_sample(trace.curve.values) for trace in self.traces]
        threshold = symlog_threshold(np.concatenate([*samples, np.empty(0)])) if kind == "symlog" else 1.0
        self.value_scale = Scale(kind, threshold)
        self.left_axis.show_scale(self.value_scale)

    def _update(self, trace: Trace) -> None:
        """Take the new points of a line."""
        values = [("line", trace.curve.values, trace.smoothing)]
        if _has_raw(trace):
            values.append(("raw", trace.curve.values, 0.0))
        if isinstance(trace.curve, MeanCurve):
            values += [("low", trace.curve.low, 0.0), ("high", trace.curve.high, 0.0)]
        for part, points, weight in values:
            place = part, trace.key
            if self._sources.get(place) is not trace.curve:
                self._sources[place], self._data[place] = trace.curve, Line()
            self._data[place].update(points, weight, self.value_scale)

    def _layers(self) -> list[tuple[str, Trace, Line]]:
        wanted = (("line", trace) for trace in self.traces)
        raw = (("raw", trace) for trace in self.traces if _has_raw(trace))
        band = (
            (part, trace) for trace in self.traces if isinstance(trace.curve, MeanCurve) for part in ("low", "high")
        )
        return [(part, trace, self._data[part, trace.key]) for part, trace in (*wanted, *raw, *band)]

    # --- the axes -------------------------------------------------------------------------------------------------

    def _frame(self, view: RunView) -> None:
        """Show the whole lines, unless the user has zoomed."""
        self.label("bottom", *_TITLES[self._settings.axis])
        if self.zoomed or not self.traces:
            return
        box = self.canvas.getViewBox()
        end = self._end(view)
        low, high = self._extent()
        wanted = end, *self._with_slack(low, high)
        if wanted != self._framed:
            self._framed = wanted
            box.setRange(xRange=(0, end * _BEYOND), yRange=wanted[1:], padding=0, disableAutoRange=False)

    def _end(self, view: RunView) -> float:
        """Return the end of the x axis: the planned end of the longest stage, or what it has made if it has ended."""
        axis, ends = self._settings.axis, [1.0]
        for trace in self.traces:
            x = trace.x(axis)
            ends.append(float(x[-1]) / trace.unit(axis))
        if axis == "time":
            before = self._framed[0] if isinstance(self._framed, tuple) else 0.0
            live = any(stage.summary is None for stage in view.stages.values())
            return max(ends) if not live else before if max(ends) <= before else 1.25 * max(ends)
        for started in view.seeds.values():
            for plan in started.stages:
                stage = view.stages.get((started.seed, plan.stage))
                ended = stage.summary if stage is not None else None
                steps = plan.steps if ended is None else max(ended.steps, 1)
                if plan.stage in self._settings.roles:
                    ends.append(steps / plan.epoch if axis == "epoch" and plan.epoch else steps)
        return max(ends)

    def _extent(self) -> tuple[float, float]:
        """Return the lowest and the highest position that the y axis should show."""
        shown = [line for _part, _trace, line in self._layers()]
        if self._settings.ignore_outliers:
            values = np.concatenate([_sample(line.y) for line in shown])
            values = values[np.isfinite(values)]
            if len(values):
                low, high = np.percentile(values, [5, 95])
                return float(low), float(high)
        return min((line.low for line in shown), default=0.0), max((line.high for line in shown), default=1.0)

    def _with_slack(self, low: float, high: float) -> tuple[float, float]:
        """Return the y range, of round numbers: the former one while the lines fill most of it.

        The axes with their grid take most of a repaint, so the range must not follow every point.
        """
        if not low <= high:
            low, high = 0.0, 1.0
        before = self._framed[1:] if isinstance(self._framed, tuple) else None
        if before and before[0] <= low and high <= before[1] and high - low >= _SLACK * (before[1] - before[0]):
            return before
        pad = _PAD * (high - low) or max(abs(high), 1.0) * _PAD
        step = round_step((high - low + 2 * pad) / _ROUND)
        return math.floor((low - pad) / step) * step, math.ceil((high + pad) / step) * step

    # --- lines ----------------------------------------------------------------------------------------------------

    def _redraw_lines(self, *_range: object) -> None:
        """Draw the visible part of every line that has changed."""
        box = self.canvas.getViewBox()
        (low, high), width = box.viewRange()[0], max(int(box.width()), 50)
        bands: dict[Key, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for part, trace, line in self._layers():
            unit, axis = trace.unit(self._settings.axis), self._settings.axis
            state = len(line.y), low, high, width, axis, unit, self.value_scale, trace.weight, trace.smoothing, id(line)
            if part != "high" and self._drawn.get((part, trace.key)) == state:
                continue
            x, y = line.part(trace.x(axis), low * unit, high * unit, width)
            if part in {"low", "high"}:
                bands.setdefault(trace.key, {})[part] = x / unit, y
            else:
                self._set(self.raw if part == "raw" else self.lines, trace, x / unit, y)
            self._drawn[part, trace.key] = state
        for key, edges in bands.items():
            if len(edges) == 2:
                self._set_band(key, *edges["low"], *edges["high"])

    def _set(self, lines: dict[Key, pg.PlotCurveItem], trace: Trace, x: np.ndarray, y: np.ndarray) -> None:
        line = lines.get(trace.key)
        if line is None:
            line = lines[trace.key] = pg.PlotCurveItem()
            self.canvas.addItem(line, ignoreBounds=True)
        weight = "raw" if lines is self.raw else trace.weight
        weight = "smooth" if weight == "thin" and trace.smoothing else weight
        line.setZValue(_HEIGHT[weight])
        colour = QColor(role_colour(trace.role))
        colour.setAlpha(_ALPHA[weight])
        pen = pg.mkPen(colour, width=_WIDTH.get(weight, 1.0))
        if line.opts["pen"] != pen:
            line.setPen(pen)
        gaps = bool(np.isnan(y).any())
        line.setData(
            np.asarray(x, np.float64), y, connect="finite" if gaps else "all", skipFiniteCheck=not gaps,
            antialias=len(x) < _SMOOTH_BELOW,
        )  # fmt: skip

    def _set_band(self, key: Key, x: np.ndarray, low: np.ndarray, x_high: np.ndarray, high: np.ndarray) -> None:
        band = self.bands.get(key)
        if band is None:
            band = self.bands[key] = pg.PlotCurveItem(pen=None, fillLevel="enclosed")
            self.canvas.addItem(band, ignoreBounds=True)
        colour = QColor(role_colour(key[1]))
        colour.setAlpha(_ALPHA["band"])
        under, over = np.isfinite(low), np.isfinite(high)
        outline = np.concatenate([x[under], x_high[over][::-1]]), np.concatenate([low[under], high[over][::-1]])
        band.setData(*(np.asarray(each, np.float64) for each in outline), brush=pg.mkBrush(colour), antialias=True)

    def _hide(self) -> None:
        """Empty the lines that are not shown now."""
        shown = {(part, trace.key) for part, trace, _line in self._layers()}
        for part, lines in (("line", self.lines), ("raw", self.raw), ("low", self.bands)):
            for key, line in lines.items():
                if (part, key) not in shown and self._drawn.pop((part, key), None) is not None:
                    line.setData(np.empty(0), np.empty(0))

    def _draw_dots(self) -> None:
        """Mark the points of lines that are too short to be seen."""
        spots = []
        for trace in self.traces:
            y = self._data["line", trace.key].y
            if len(y) <= _FEW:
                x = trace.x(self._settings.axis)[: len(y)] / trace.unit(self._settings.axis)
                brush = pg.mkBrush(role_colour(trace.role))
                spots += [{"pos": point, "brush": brush} for point in zip(x, y, strict=True) if np.isfinite(point[1])]
        if spots or len(self._dots.getData()[0]):
            self._dots.setData(spots)

    # --- the pointer ----------------------------------------------------------------------------------------------

    def point(self, x: float) -> None:
        """Mark an x value and read the lines there; NaN removes the mark."""
        found = math.isfinite(x)
        self._pointer.setVisible(found)
        readings, spots = self._read(x) if found else ([], [])
        self._rings.setData(spots)
        if found:
            self._pointer.setValue(x)
        low, high = self.canvas.getViewBox().viewRange()[0]
        self.readout.show_readings(
            heading_at(x, self._settings.axis) if found else "", readings, left=x > (low + high) / 2
        )

    def _read(self, x: float) -> tuple[list[Reading], list[dict[str, object]]]:
        """Return the values of all lines at an x, and marks on the main lines."""
        lines = [(trace, self._data["line", trace.key].y) for trace in self.traces if trace.weight != "faint"]
        found = read_lines(lines, x, self._settings.axis, self.value_scale)
        pen = pg.mkPen(tokens().panel, width=1.5)
        spots = [
            {"pos": (reading.x, reading.y), "brush": pg.mkBrush(role_colour(reading.role)), "pen": pen}
            for reading in found
            if reading.main
        ]
        return found, spots

    def position_before(self, trace: Trace, x: float) -> float | None:
        """Return the position of a line at its last point before an x; None if it has none or starts later."""
        line = self._data.get(("line", trace.key))
        if line is None:
            return None
        axis = self._settings.axis
        count = position(trace.x(axis)[: len(line.y)], x * trace.unit(axis), "right")
        return float(line.y[count - 1]) if count else None

    def _moved(self, position: object) -> None:
        box = self.canvas.getViewBox()
        inside = box.sceneBoundingRect().contains(position)  # type: ignore[arg-type]
        self.pointed.emit(box.mapSceneToView(position).x() if inside else math.nan)

    def leaveEvent(self, ev: QEvent) -> None:
        super().leaveEvent(ev)
        self.pointed.emit(math.nan)


def _sample(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return at most `_SAMPLE` of the values, evenly spaced."""
    return np.asarray(values)[:: max(1, -(-len(values) // _SAMPLE))]


def _has_raw(trace: Trace) -> bool:
    """Return whether the raw line is drawn behind a line."""
    return trace.smoothing > 0 and trace.weight in {"bold", "thin"}


def _has_no_log(trace: Trace) -> bool:
    return bool((trace.curve.values <= 0).any())
