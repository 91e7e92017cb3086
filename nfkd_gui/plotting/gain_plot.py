"""The held-out likelihood of three flows over the steps, and the band between the students: what the teacher gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd.protocol.roles import Role
from nfkd_gui.plotting.axes import Scale, format_ticks
from nfkd_gui.theme import font, role_colour, scaled, tokens

BAND = "what the teacher gives"
_LEFT, _BOTTOM, _TOP, _GAP = 56, 38, 8, 6
"""Pixels of the axes, and between the end of a line and its name."""
_APART = {"x": 64, "y": 30}
"""Pixels between two ticks."""
_LEAST_SPAN, _GAPS = 2.0, 2.5
"""Nats that the axis shows above the best value, at least, and in gaps between teacher and student alone."""
_BAND_ALPHA, _THIN_ALPHA = 0.22, 0.5
_ORDER: tuple[Role, ...] = ("baseline", "student", "teacher")


def best_so_far(curve: np.ndarray) -> np.ndarray:
    """Return a curve of steps and values, (n, 2), whose values are the lowest finite ones so far."""
    values = np.where(np.isfinite(curve[:, 1]), curve[:, 1], np.inf)
    return np.column_stack([curve[:, 0], np.minimum.accumulate(values)]) if len(curve) else curve


class GainPlot(QWidget):
    """Draws the best value so far of each flow as a thick line, and the newest one as a thin line.

    Attributes
    ----------
    curves
        Steps and values of each flow, (n, 2); a flow with one value is a dashed line over all steps.
    """

    def __init__(self, names: Mapping[Role, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = names
        self.curves: dict[Role, np.ndarray] = {}
        self._last = 1.0
        self._range = (0.0, 1.0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def show_names(self, names: Mapping[Role, str]) -> None:
        """Set the names of the flows, for which there is room at the right."""
        self._names = names
        self.update()

    def show_curves(self, curves: Mapping[Role, np.ndarray], steps: int) -> None:
        """Show the curves of some flows on an axis of so many steps."""
        self.curves = {role: curve[np.isfinite(curve[:, 1])] for role, curve in curves.items()}
        self.curves = {role: curve for role, curve in self.curves.items() if len(curve)}
        ends = [curve[-1, 0] for curve in self.curves.values()]
        self._last = max([1.0, float(steps), *ends])
        self._range = self._nats()
        self.update()

    def _nats(self) -> tuple[float, float]:
        """Return the ends of the vertical axis: all best values, but not the worst of a flow that overfits."""
        if not self.curves:
            return 0.0, 1.0
        best = {role: float(curve[:, 1].min()) for role, curve in self.curves.items()}
        low = min(best.values())
        span = max(_LEAST_SPAN, _GAPS * (max(best.values()) - low))
        high = min(max(float(curve[0, 1]) for curve in self.curves.values()), low + span)
        margin = 0.08 * max(high - low, 0.1)
        return low - margin, max(high, low + 0.1) + margin

    def sizeHint(self) -> QSize:
        return QSize(scaled(460), scaled(190))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(200), scaled(84))

    # --- the plane and its pixels -------------------------------------------------------------------------------------

    def frame(self) -> QRectF:
        """Return the rectangle of the lines."""
        names = max(QFontMetrics(font("caption")).horizontalAdvance(name) for name in self._names.values())
        right = self.width() - names - scaled(2 * _GAP)
        return QRectF(scaled(_LEFT), scaled(_TOP), right - scaled(_LEFT), self.height() - scaled(_TOP + _BOTTOM))

    def to_pixel(self, step: float, nats: float) -> QPointF:
        """Return the pixel of a step and a value."""
        frame, (low, high) = self.frame(), self._range
        x = frame.left() + frame.width() * step / self._last
        return QPointF(x, frame.bottom() - frame.height() * (nats - low) / (high - low))

    def _line(self, curve: np.ndarray) -> QPolygonF:
        (left, top), (right, bottom) = (self.to_pixel(step, nats).toTuple() for step, nats in ((0, 0), (1, 1)))
        places = (left, top) + curve * (right - left, bottom - top)
        return QPolygonF([QPointF(x, y) for x, y in places.tolist()])

    # --- painting -----------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        with QPainter(self) as painter:
            painter.setFont(font("caption"))
            self._draw_axes(painter)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.save()
            painter.setClipRect(self.frame().adjusted(0, -1, 2, 1))
            self._draw_band(painter)
            for role in _ORDER:
                self._draw_flow(painter, role)
            painter.restore()
            self._write_names(painter)

    def _draw_axes(self, painter: QPainter) -> None:
        colours, frame, scale = tokens(), self.frame(), Scale()
        height = painter.fontMetrics().height()
        for value, text in _ticks(scale, *self._range, frame.height() / scaled(_APART["y"])):
            y = round(self.to_pixel(0, value).y())
            painter.setPen(QColor(colours.grid))
            painter.drawLine(round(frame.left()), y, round(frame.right()), y)
            painter.setPen(QColor(colours.muted))
            place = QRectF(0, y - height / 2, frame.left() - scaled(_GAP), height)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
        for value, text in _ticks(scale, 0, self._last, frame.width() / scaled(_APART["x"])):
            x = round(self.to_pixel(value, 0).x())
            painter.setPen(QColor(colours.grid))
            painter.drawLine(x, round(frame.top()), x, round(frame.bottom()))
            painter.setPen(QColor(colours.muted))
            place = QRectF(x - scaled(40), frame.bottom() + scaled(2), scaled(80), height)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)
        painter.setPen(QColor(colours.muted))
        below = QRectF(frame.left(), self.height() - height, frame.width(), height)
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, "Step")
        painter.save()
        painter.translate(height / 2, frame.center().y())
        painter.rotate(-90)
        half = frame.height() / 2 + scaled(20)
        painter.drawText(QRectF(-half, -height / 2, 2 * half, height), Qt.AlignmentFlag.AlignCenter, "NLL (nats)")
        painter.restore()

    def _draw_band(self, painter: QPainter) -> None:
        """Fill what is between the best values of the student alone and of the student."""
        if not {"student", "baseline"} <= self.curves.keys():
            return
        alone, student = (best_so_far(self.curves[role]) for role in ("baseline", "student"))
        count = min(len(alone), len(student))
        upper, lower = alone[:count], student[:count].copy()
        lower[:, 1] = np.minimum(lower[:, 1], upper[:, 1])
        fill = QColor(tokens().accent)
        fill.setAlphaF(_BAND_ALPHA)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        painter.drawPolygon(self._line(np.concatenate([upper, lower[::-1]])))
        self._name_band(painter, upper, lower)

    def _name_band(self, painter: QPainter, upper: np.ndarray, lower: np.ndarray) -> None:
        """Write what the band is where there is room."""
        metrics = painter.fontMetrics()
        middle = min(int(0.7 * len(upper)), len(upper) - 1)
        top, bottom = self.to_pixel(*upper[middle]), self.to_pixel(*lower[middle])
        wide = self.to_pixel(*upper[-1]).x() - self.frame().left() > 1.3 * metrics.horizontalAdvance(BAND)
        if bottom.y() - top.y() >= metrics.height() + scaled(4) and wide:
            painter.setPen(QColor(tokens().accent))
            centre = min(top.x(), self.frame().right() - metrics.horizontalAdvance(BAND) / 2 - scaled(4))
            place = QRectF(centre - scaled(200), top.y(), scaled(400), bottom.y() - top.y())
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, BAND)

    def _draw_flow(self, painter: QPainter, role: Role) -> None:
        curve = self.curves.get(role)
        if curve is None:
            return
        colour = QColor(role_colour(role))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if len(curve) == 1 and role == "teacher":
            pen = QPen(colour, scaled(2))
            pen.setStyle(Qt.PenStyle.DashLine)
            painter.setPen(pen)
            nats = float(curve[0, 1])
            painter.drawLine(self.to_pixel(0, nats), self.to_pixel(self._last, nats))
            return
        faint = QColor(colour)
        faint.setAlphaF(_THIN_ALPHA)
        painter.setPen(QPen(faint, 1))
        painter.drawPolyline(self._line(curve))
        painter.setPen(QPen(colour, scaled(2)))
        painter.drawPolyline(self._line(best_so_far(curve)))

    def _write_names(self, painter: QPainter) -> None:
        """Write the name of each flow at the end of its line; names keep apart."""
        height = painter.fontMetrics().height()
        frame = self.frame()
        ends: dict[Role, float] = {
            role: self.to_pixel(0, float(curve[:, 1].min())).y() for role, curve in self.curves.items()
        }
        lowest, places = frame.top() - height / 2, dict[Role, float]()
        for role in sorted(ends, key=lambda role: ends[role]):
            places[role] = max(ends[role] - height / 2, lowest)
            lowest = places[role] + height
        over = max(0.0, lowest - frame.bottom() - height)
        for role, top in places.items():
            curve = self.curves[role]
            end = self._last if len(curve) == 1 and role == "teacher" else float(curve[-1, 0])
            left = self.to_pixel(end, 0).x() + scaled(_GAP)
            painter.setPen(QColor(role_colour(role)))
            place = QRectF(left, top - over, self.width(), height)
            painter.drawText(place, Qt.AlignmentFlag.AlignLeft, self._names[role])


def _ticks(scale: Scale, low: float, high: float, most: float) -> list[tuple[float, str]]:
    values = scale.ticks(low, high, max(2, round(most)))
    return list(zip(values, format_ticks(values), strict=True))
