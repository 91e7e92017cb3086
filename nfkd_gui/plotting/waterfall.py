"""Log p of a point as a waterfall: the log-density of the noise, then one log-determinant for each layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd.protocol.inspection import FlowStates
from nfkd.protocol.roles import Role
from nfkd_gui.numbers import format_measure
from nfkd_gui.theme import font, role_colour, scaled, tokens

_ROW, _LABEL, _VALUE, _BAR = 21, 84, 60, 10
_LOSS = 0.55
"""Opacity of the bars of negative terms."""


@dataclass(frozen=True)
class Terms:
    """The terms of ``log p(x) = log p(z) + Σ log |det J|`` in nats.

    Attributes
    ----------
    base
        Log-density of the noise.
    layers
        The log-determinant of each layer.
    """

    role: Role
    base: float
    layers: tuple[float, ...]

    @classmethod
    def of(cls, role: Role, flow: FlowStates) -> Terms:
        """Return the terms of an example."""
        so_far = [0.0, *(layer.log_det for layer in flow.layers)]
        return cls(role, flow.base_log_prob, tuple(after - before for before, after in pairwise(so_far)))

    @property
    def total(self) -> float:
        """Log p."""
        return self.base + sum(self.layers)

    def so_far(self, layer: int) -> float:
        """Return the log-determinant up to a layer, which is counted from 1."""
        return sum(self.layers[:layer])

    def bars(self) -> list[tuple[float, float]]:
        """Return the start and the end of the bar of each row: base, layers, total."""
        ends = list(accumulate([self.base, *self.layers]))
        return [(0.0, self.base), *pairwise(ends), (0.0, self.total)]


class Waterfall(QWidget):
    """Draws the terms of a flow, and marks the row of a layer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.terms: Terms | None = None
        self.marked = 0
        """The layer that is marked, counted from 1; 0 for none."""
        self._range = (0.0, 1.0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_terms(self, terms: Terms, span: tuple[float, float]) -> None:
        """Show terms on an axis with these ends in nats."""
        self.terms, self._range = terms, span
        self.setAccessibleName(
            f"log p {format_measure(terms.total)} nats: base {format_measure(terms.base)}, "
            f"layers {', '.join(map(format_measure, terms.layers))}"
        )
        self.updateGeometry()
        self.update()

    def mark(self, layer: int) -> None:
        """Mark a layer, counted from 1; 0 for none."""
        if layer != self.marked:
            self.marked = layer
            self.update()

    def sizeHint(self) -> QSize:
        rows = 0 if self.terms is None else len(self.terms.layers) + 2
        return QSize(scaled(280), rows * scaled(_ROW))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_LABEL + _VALUE + 40), self.sizeHint().height())

    def x_of(self, value: float) -> float:
        """Return the horizontal position of a value."""
        low, high = self._range
        room = self.width() - scaled(_LABEL) - scaled(_VALUE)
        return scaled(_LABEL) + room * (value - low) / max(high - low, 1e-12)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        if self.terms is None:
            return
        terms, bars, height = self.terms, self.terms.bars(), scaled(_ROW)
        names = ["Base, log N(z)", *(f"Layer {number}" for number in range(1, len(terms.layers) + 1)), "log p(x)"]
        values = [terms.base, *terms.layers, terms.total]
        with QPainter(self) as painter:
            for row, (name, value) in enumerate(zip(names, values, strict=True)):
                first, total = not row, row == len(bars) - 1
                rect = QRectF(0, row * height, self.width(), height)
                if not first and row == self.marked:
                    painter.fillRect(rect, QColor(tokens().soft))
                self._draw_axis(painter, rect, total=total)
                if all(map(math.isfinite, bars[row])):
                    self._draw_bar(painter, rect, *bars[row], first=first, total=total)
                self._write(painter, rect, name, value, first=first, total=total)

    def _draw_axis(self, painter: QPainter, rect: QRectF, *, total: bool) -> None:
        zero = round(self.x_of(0.0))
        painter.setPen(QPen(QColor(tokens().border), 1))
        painter.drawLine(QPointF(zero, rect.top()), QPointF(zero, rect.bottom()))
        if total:
            painter.drawLine(rect.topLeft(), rect.topRight())

    def _draw_bar(self, painter: QPainter, rect: QRectF, start: float, end: float, *, first: bool, total: bool) -> None:
        """Draw a bar, and the line to it from the end of the bar above."""
        colours, between = tokens(), not (first or total)
        if between and self.terms is not None:
            painter.setPen(QPen(QColor(colours.control), 1))
            x, middle = round(self.x_of(start)), rect.height() // 2
            painter.drawLine(QPointF(x, rect.top() - middle), QPointF(x, rect.top() + middle))
        colour = QColor(role_colour(self.terms.role) if between and self.terms else colours.muted)
        if total:
            colour = QColor(colours.text)
        if between and end < start:
            colour.setAlphaF(_LOSS)
        left, right = sorted((self.x_of(start), self.x_of(end)))
        top = rect.top() + (rect.height() - scaled(_BAR)) / 2
        painter.fillRect(QRectF(left, top, max(right - left, 1), scaled(_BAR)), colour)

    @staticmethod
    def _write(painter: QPainter, rect: QRectF, name: str, value: float, *, first: bool, total: bool) -> None:
        painter.setFont(font("strong" if total else "caption"))
        painter.setPen(QColor(tokens().text if total or not first else tokens().muted))
        text = format_measure(value)
        sign = "+" if not first and not total and 0 <= value < math.inf else ""
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, name)
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, sign + text)


def common_range(flows: list[Terms]) -> tuple[float, float]:
    """Return the ends of an axis on which the bars of several flows fit."""
    ends = [end for terms in flows for bar in terms.bars() for end in bar if math.isfinite(end)]
    return min([0.0, *ends]), max([0.0, *ends])
