"""Quality against cost of many flows: points with bars, a Pareto front, and points chosen with the mouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QRubberBand, QToolTip, QWidget

from nfkd.text import plain
from nfkd_gui.model.pareto import front_line, pareto_front
from nfkd_gui.plotting.axes import Scale
from nfkd_gui.plotting.label_places import Box, PointLabel, place_labels
from nfkd_gui.plotting.parallel_axes import spans_decade
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import font, role_colour, scaled, tokens
from nfkd_gui.widgets.labels import tip

Kind = Literal["run", "baseline", "teacher"]
_SYMBOLS = {"run": "o", "baseline": "s", "teacher": "star"}
_SIZES = {"run": 7, "chosen": 9, "baseline": 8, "teacher": 15}
"""Pixels at 100 %."""
_MARGIN, _LOG_FROM = 0.08, 5.0
"""Room around the points as a share of their range; factor between costs from which their axis is logarithmic."""
_REACH, _CLICK, _LONGEST, _GAP = 10, 4, 32, 7
"""Pixels within which the pointer hits a point, and of a drag that is a click; characters of a label; pixels between a
point and its label."""


@dataclass(frozen=True)
class TradePoint:
    """A flow.

    Attributes
    ----------
    key, name
        Of its group; the name is in the tooltip.
    label
        Beside the point; empty for none.
    x, y, spread
        Cost, quality, and half the height of its bar; NaN for no bar.
    kind
        A student, or what it is compared with.
    colour
        Of a chosen group, as ``#RRGGBB``; empty otherwise.
    """

    key: str
    name: str
    x: float
    y: float
    spread: float = float("nan")
    kind: Kind = "run"
    colour: str = ""
    label: str = ""


_FRONT, _LABELS = "Pareto front", 14


class TradeOffPlot(Plot):
    """Shows flows as points. A rectangle that is dragged chooses runs, a click adds or removes one."""

    chosen = Signal(list)
    """The keys of the runs in the rectangle."""
    toggled = Signal(str)
    """The key of the run that was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseEnabled(x=False, y=False)
        self.setMouseTracking(True)
        self.put_grid_behind()
        self._shown: list[TradePoint] = []
        self._scale, self._larger = Scale(), (False, False)
        self._corners = np.empty((0, 2))
        self.front = pg.PlotCurveItem(antialias=True)
        self.bars: dict[str, pg.PlotCurveItem] = {}
        self.points = pg.ScatterPlotItem(pxMode=True)
        self.front.setZValue(1)
        self.points.setZValue(3)
        self.addItem(self.front)
        self.addItem(self.points)
        self.labels: list[pg.TextItem] = []
        self._spare: list[pg.TextItem] = []
        """Labels that are hidden; making one takes long."""
        self._band = QRubberBand(QRubberBand.Shape.Rectangle, self)
        self._pressed: QPointF | None = None

    # --- what is shown --------------------------------------------------------------------------------------------

    def show_points(self, points: Sequence[TradePoint], *, larger_x: bool, larger_y: bool, front: bool = True) -> None:
        """Show flows; the last are on top.

        Parameters
        ----------
        larger_x, larger_y
            Whether larger is better; otherwise smaller is.
        front
            Whether to show the Pareto front of the students.
        """
        self._shown = [point for point in points if np.isfinite(point.x) and np.isfinite(point.y)]
        self._larger = larger_x, larger_y
        costs = np.array([point.x for point in self._shown])
        self._scale = Scale("log" if spans_decade(costs, _LOG_FROM) else "linear")
        axis = self.canvas.getAxis("bottom")
        axis.show_scale(self._scale)  # type: ignore[attr-defined] - a `ScaledAxis`
        self._frame()
        self._draw_points()
        self._draw_bars()
        self._draw_front(front)
        self._write()

    def positions(self) -> np.ndarray:
        """Return the points on the axes, (points, 2)."""
        x = self._scale.apply(np.array([point.x for point in self._shown], np.float64))
        return np.stack([x, np.array([point.y for point in self._shown], np.float64)], axis=1)

    def _frame(self) -> None:
        """Show all points with their bars, and some room around them."""
        if not self._shown:
            return
        where = self.positions()
        spread = np.nan_to_num([point.spread for point in self._shown])
        low = np.array([where[:, 0].min(), (where[:, 1] - spread).min()])
        high = np.array([where[:, 0].max(), (where[:, 1] + spread).max()])
        margin = np.where(high > low, _MARGIN * (high - low), np.maximum(0.05 * np.abs(high), 0.05))
        (x0, y0), (x1, y1) = low - margin, high + margin
        self.canvas.getViewBox().setRange(xRange=(x0, x1), yRange=(y0, y1), padding=0)

    def _draw_points(self) -> None:
        where, panel = self.positions(), tokens().panel
        looks = [self._look(point) for point in self._shown]
        brushes = {colour: pg.mkBrush(colour) for colour in {panel, *(colour for _, colour, _ in looks)}}
        edges = {colour: pg.mkPen(colour, width=1.5) for _, colour, hollow in looks if hollow}
        edge = pg.mkPen(panel, width=1)
        self.points.setData(
            x=where[:, 0],
            y=where[:, 1],
            symbol=[_SYMBOLS[point.kind] for point in self._shown],
            size=[size for size, _, _ in looks],
            brush=[brushes[panel if hollow else colour] for _, colour, hollow in looks],
            pen=[edges[colour] if hollow else edge for _, colour, hollow in looks],
        )

    @staticmethod
    def _look(point: TradePoint) -> tuple[int, str, bool]:
        """Return the size and the colour of a point, and whether it is hollow."""
        colour = point.colour or (tokens().control if point.kind == "run" else role_colour(point.kind))
        return scaled(_SIZES["chosen" if point.colour else point.kind]), colour, point.kind == "baseline"

    def _draw_bars(self) -> None:
        ends: dict[str, list[tuple[float, float, float]]] = {}
        for point, (x, y) in zip(self._shown, self.positions().tolist(), strict=True):
            if point.spread > 0:
                ends.setdefault(point.colour or tokens().control, []).append((x, y - point.spread, y + point.spread))
        for colour in self.bars.keys() | ends.keys():
            if colour not in self.bars:
                self.bars[colour] = pg.PlotCurveItem(connect="pairs", antialias=True)
                self.bars[colour].setZValue(2)
                self.addItem(self.bars[colour])
            lines = np.array(ends.get(colour, []), np.float64).reshape(-1, 3)
            self.bars[colour].setPen(pg.mkPen(colour, width=1.5))
            self.bars[colour].setData(np.repeat(lines[:, 0], 2), lines[:, 1:].ravel())

    def front_of(self) -> list[TradePoint]:
        """Return the students on the Pareto front, by x."""
        runs = [point for point in self._shown if point.kind == "run"]
        x, y = np.array([point.x for point in runs]), np.array([point.y for point in runs])
        return [runs[index] for index in pareto_front(x, y, larger_x=self._larger[0], larger_y=self._larger[1])]

    def _draw_front(self, shown: bool) -> None:
        found = self.front_of() if shown else []
        (x0, x1), (y0, y1) = self.canvas.getViewBox().viewRange()
        worst = (x0 if self._larger[0] else x1, y0 if self._larger[1] else y1)
        x = self._scale.apply(np.array([point.x for point in found], np.float64))
        line = front_line(x, np.array([point.y for point in found], np.float64), worst, larger_x=self._larger[0])
        self._corners = np.stack(line, axis=1)
        self.front.setPen(pg.mkPen(role_colour("student"), width=1.25, style=Qt.PenStyle.DashLine))
        self.front.setData(*line)

    # --- labels ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write the first labels that fit beside their points, those of baselines and teachers first."""
        for item in self.labels:
            item.hide()
        self._spare += self.labels
        self.labels = []
        pixels = self._pixels(self.positions())
        texts = [(plain(point.label, _LONGEST), point, place) for point, place in zip(self._shown, pixels, strict=True)]
        texts = [text for text in texts if text[0]]
        texts.sort(key=lambda text: (text[1].kind == "run", not text[1].colour))
        texts = texts[:_LABELS]
        metrics = QFontMetricsF(font("caption"))
        height = metrics.height()
        labels = [
            PointLabel(float(place[0]), float(place[1]), metrics.horizontalAdvance(text), height)
            for text, _, place in texts
        ]
        boxes = [self._box(*each) for each in zip(self._shown, pixels, strict=True)]
        places = place_labels(labels, self._room(), boxes, lines=self._lines(), gap=scaled(_GAP))
        self._name_front(metrics, [*boxes, *(place for place in places if place is not None)])
        for (text, point, _), place in zip(texts, places, strict=True):
            if place is not None:
                self._add_label(text, self._look(point)[1], place)

    def _lines(self) -> list[Box]:
        """Return the places of the front and of the bars."""
        where, spread = self.positions(), np.array([point.spread for point in self._shown], np.float64)
        up = np.stack([np.zeros(len(spread)), spread], axis=1)
        ends = np.stack([self._pixels(where - up), self._pixels(where + up)], axis=1)[spread > 0]
        corners = self._pixels(self._corners)
        pieces = np.concatenate([ends, np.stack([corners[:-1], corners[1:]], axis=1)])
        low, high = pieces.min(axis=1) - 1, pieces.max(axis=1) + 1
        return [(left, top, right, bottom) for left, top, right, bottom in np.concatenate([low, high], axis=1).tolist()]

    def _name_front(self, metrics: QFontMetricsF, taken: list[Box]) -> None:
        """Write what the dashed line is, above or below its end."""
        if not len(self._corners):
            return
        width = metrics.horizontalAdvance(_FRONT)
        (x, y), room = self._pixels(self._corners[-1:])[0].tolist(), self._room()
        middle = min(max(x, room[0] + width / 2), room[2] - width / 2)
        label = PointLabel(middle, y, width, metrics.height())
        place = place_labels([label], room, taken, lines=self._lines(), gap=2)[0]
        if place is not None:
            self._add_label(_FRONT, role_colour("student"), place)

    def _add_label(self, text: str, colour: str, place: Box) -> None:
        item = self._spare.pop() if self._spare else self._new_label()
        item.setText(text, colour)
        item.setFont(font("caption"))
        item.show()
        corner = self.mapToScene(round(place[0]), round(place[1]))
        item.setPos(self.canvas.getViewBox().mapSceneToView(corner))
        self.labels.append(item)

    def _new_label(self) -> pg.TextItem:
        item = pg.TextItem(anchor=(0, 0))
        item.textItem.document().setDocumentMargin(0)
        item.setZValue(4)
        self.canvas.addItem(item, ignoreBounds=True)
        return item

    def _room(self) -> Box:
        rect = self.canvas.getViewBox().sceneBoundingRect()
        return rect.left() + 2, rect.top() + 2, rect.right() - 2, rect.bottom() - 2

    @staticmethod
    def _box(point: TradePoint, place: np.ndarray) -> Box:
        """Return the place of a point, which labels leave free."""
        half, (x, y) = scaled(_SIZES["chosen" if point.colour else point.kind]) / 2 + 1, place.tolist()
        return x - half, y - half, x + half, y + half

    def _pixels(self, positions: np.ndarray) -> np.ndarray:
        """Return where (n, 2) positions on the axes are in the widget."""
        box = self.canvas.getViewBox()
        rect, ((x0, x1), (y0, y1)) = box.sceneBoundingRect(), box.viewRange()
        shares = (positions - (x0, y0)) / (x1 - x0, y1 - y0)
        x, y = rect.left() + shares[:, 0] * rect.width(), rect.bottom() - shares[:, 1] * rect.height()
        return np.stack([x, y], axis=1)

    def pixel_of(self, key: str) -> QPointF:
        """Return where the student of a group is in the widget."""
        shown = next(index for index, point in enumerate(self._shown) if (point.key, point.kind) == (key, "run"))
        return QPointF(*self._pixels(self.positions())[shown].tolist())

    # --- the pointer ----------------------------------------------------------------------------------------------

    def resizeEvent(self, ev: QResizeEvent | None) -> None:
        super().resizeEvent(ev)
        if hasattr(self, "_pressed"):  # the base class resizes before __init__ is done
            self._write()

    def _nearest(self, place: QPointF) -> TradePoint | None:
        """Return the point at a place: a student before others."""
        if not self._shown:
            return None
        away = np.abs(self._pixels(self.positions()) - (place.x(), place.y())).sum(axis=1)
        away += [0.0 if point.kind == "run" else 1.0 for point in self._shown]
        nearest = int(away.argmin())
        return self._shown[nearest] if away[nearest] <= scaled(_REACH) else None

    def mousePressEvent(self, ev: QMouseEvent) -> None:
        if ev.button() == Qt.MouseButton.LeftButton:
            self._pressed = ev.position()

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        if self._pressed is not None:
            if self._far(ev.position()):
                self._band.setGeometry(QRect(self._pressed.toPoint(), ev.position().toPoint()).normalized())
                self._band.show()
            return
        found = self._nearest(ev.position())
        self.setCursor(Qt.CursorShape.PointingHandCursor if found else Qt.CursorShape.CrossCursor)
        if found is not None:
            QToolTip.showText(ev.globalPosition().toPoint(), tip(found.name), self)
        else:
            QToolTip.hideText()

    def mouseReleaseEvent(self, ev: QMouseEvent) -> None:
        pressed, self._pressed = self._pressed, None
        self._band.hide()
        if pressed is None or ev.button() != Qt.MouseButton.LeftButton:
            return
        if self._far(ev.position(), pressed):
            area = QRectF(pressed, ev.position()).normalized()
            places = zip(self._shown, self._pixels(self.positions()).tolist(), strict=True)
            self.chosen.emit(
                [point.key for point, place in places if point.kind == "run" and area.contains(QPointF(*place))]
            )
        elif (found := self._nearest(ev.position())) is not None and found.kind == "run":
            self.toggled.emit(found.key)

    def _far(self, place: QPointF, pressed: QPointF | None = None) -> bool:
        start = pressed or self._pressed
        return start is not None and (place - start).manhattanLength() >= _CLICK

    def sizeHint(self) -> QSize:
        return QSize(scaled(420), scaled(320))
