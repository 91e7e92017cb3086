"""The box that shows the values of all lines at the pointer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from nfkd.protocol.roles import Role, role_label
from nfkd_gui.panels.curve_traces import MeanCurve, Trace, XAxis
from nfkd_gui.plotting.axes import Scale
from nfkd_gui.plotting.lines import position
from nfkd_gui.plotting.plots import Plot
from nfkd_gui.theme import font, role_colour, scaled, tokens

_MARGIN, _SWATCH, _LINE, _GAP = 8, 10, 18, 12


@dataclass(frozen=True)
class Reading:
    """The value of one line.

    Attributes
    ----------
    role, name
        Its flow, and its name.
    value
        The value as text.
    main
        Whether it is a main line.
    x, y
        Its position in the plot.
    """

    role: Role
    name: str
    value: str
    main: bool
    x: float
    y: float


def heading_at(x: float, axis: XAxis) -> str:
    """Return the heading of the values at an x."""
    match axis:
        case "time":
            return f"{x:,.1f} s"
        case "epoch":
            return f"Epoch {x:.2f}"
        case _:
            return f"Step {max(0, round(x)):,}"


def read_lines(lines: Sequence[tuple[Trace, np.ndarray]], x: float, axis: XAxis, scale: Scale) -> list[Reading]:
    """Return the values of lines at their points nearest to an x, from high to low."""
    found: list[tuple[float, Reading]] = []
    for trace, y in lines:
        xs, unit = trace.x(axis)[: len(y)], trace.unit(axis)
        index = nearest(xs, x * unit)
        if index is None or not math.isfinite(y[index]):
            continue
        value = scale.invert(float(y[index]))
        text = f"{value:.4g}".replace("-", "−")
        main = trace.weight == "bold"
        reading = Reading(trace.role, _name(trace), text, main, float(xs[index]) / unit, float(y[index]))
        found.append((value, reading))
    return [reading for _value, reading in sorted(found, key=lambda entry: -entry[0])]


def _name(trace: Trace) -> str:
    name = role_label(trace.role)
    if isinstance(trace.curve, MeanCurve):
        return f"{name}, mean of {trace.curve.seeds}"
    match trace.weight:
        case "thin":
            return f"{name}, training"
        case "live":
            return f"{name}, seed {trace.key[0]}"
        case _:
            return name


def nearest(xs: np.ndarray, x: float) -> int | None:
    """Return the index of the point nearest to an x; None beyond the line's end by more than a gap between points."""
    if not len(xs):
        return None
    index = position(xs, x)
    if index == len(xs):
        gap = float(xs[-1] - xs[-2]) if len(xs) > 1 else 0.0
        return len(xs) - 1 if x - float(xs[-1]) <= gap else None
    return index - 1 if index and x - xs[index - 1] <= xs[index] - x else index


class ReadOut(QWidget):
    """A small table in a corner of a plot, at the side where the pointer is not; mouse events pass through it."""

    def __init__(self, plot: Plot) -> None:
        super().__init__(plot.viewport())
        self._plot = plot
        self.heading = ""
        self.readings: list[Reading] = []
        self.setObjectName(f"{plot.objectName()}.readout")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def show_readings(self, heading: str, readings: Sequence[Reading], *, left: bool) -> None:
        """Show the values in the upper left or right corner of the plot's area; hidden without any."""
        if (heading, list(readings)) != (self.heading, self.readings):
            self.heading, self.readings = heading, list(readings)
            self.update()
        self.setVisible(bool(readings))
        if readings:
            self._fit(left=left)

    def _fit(self, *, left: bool) -> None:
        names, values = QFontMetrics(font("caption")), QFontMetrics(_bold())
        across = max(names.horizontalAdvance(reading.name) for reading in self.readings)
        across += max(values.horizontalAdvance(reading.value) for reading in self.readings)
        width = max(across + scaled(_SWATCH + 2 * _GAP), names.horizontalAdvance(self.heading)) + scaled(2 * _MARGIN)
        height = scaled(_LINE) * (len(self.readings) + 1) + scaled(2 * _MARGIN)
        area = self._plot.mapFromScene(self._plot.canvas.getViewBox().sceneBoundingRect()).boundingRect()
        gap = scaled(_MARGIN)
        corner = QPoint(area.left() + gap if left else area.right() - gap - width, area.top() + gap)
        self.setGeometry(corner.x(), corner.y(), width, height)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QColor(tokens().border))
        painter.setBrush(QColor(tokens().raised))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), scaled(4), scaled(4))
        margin, line = scaled(_MARGIN), scaled(_LINE)
        inside = QRectF(margin, margin, self.width() - 2 * margin, line)
        painter.setFont(font("caption"))
        painter.setPen(QColor(tokens().muted))
        painter.drawText(inside, Qt.AlignmentFlag.AlignVCenter, self.heading)
        for number, reading in enumerate(self.readings, start=1):
            self._paint_reading(painter, inside.translated(0, number * line), reading)
        painter.end()

    def _paint_reading(self, painter: QPainter, place: QRectF, reading: Reading) -> None:
        colour, middle = QColor(role_colour(reading.role)), place.center().y()
        thickness = scaled(3 if reading.main else 1)
        painter.fillRect(QRectF(place.left(), middle - thickness / 2, scaled(_SWATCH), thickness), colour)
        painter.setFont(font("caption"))
        painter.setPen(colour)
        painter.drawText(
            place.adjusted(scaled(_SWATCH) + scaled(6), 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, reading.name
        )
        painter.setFont(_bold() if reading.main else font("caption"))
        painter.setPen(QColor(tokens().text if reading.main else tokens().muted))
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, reading.value)


def _bold() -> QFont:
    found = font("caption")
    found.setWeight(QFont.Weight.DemiBold)
    return found
