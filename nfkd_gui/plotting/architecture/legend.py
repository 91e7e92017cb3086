"""The foot of the drawing: the colours of matching errors, and the parts of a step."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd_gui.plotting.architecture.blocks import BAND_OPACITIES
from nfkd_gui.plotting.match_colours import ErrorScale
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.labels import tip

_HEIGHT, _BAR = 26, (120, 6)
_SIDE, _GAP = 9, 14
"""Side of the square of a part; gap between parts."""


class Legend(QWidget):
    """Draws the scale at the left and the parts of a step at the right; what does not fit is left out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("architecture.legend")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.scale: ErrorScale | None = None
        self.source = ""
        self.bands: Sequence[tuple[str, Sequence[str]]] = ()

    def show_scale(self, scale: ErrorScale | None, source: str) -> None:
        """Show the scale of the errors, and where they come from."""
        self.scale, self.source = scale, source
        self._describe()

    def show_bands(self, teacher: Sequence[str], student: Sequence[str]) -> None:
        """Show the parts of a step, from data to latents; of both flows where they differ."""
        both = [("Teacher", teacher), ("Student", student)]
        self.bands = [("", student)] if teacher == student else [(name, bands) for name, bands in both if bands]
        self._describe()

    def _describe(self) -> None:
        text = "Lines join matched layers"
        if self.scale is not None:
            text = f"Matching error (mean square) from {self._end(self.scale.low)} to {self._end(self.scale.high)}"
        parts = "; ".join(f"{name} {', '.join(bands)}".strip() for name, bands in self.bands)
        self.setAccessibleName(f"Legend: {text}. Parts of a step: {parts or 'not known'}")
        self.setToolTip(tip(self.source))
        self.update()

    @staticmethod
    def _end(log: float) -> str:
        return f"{10**log:.2g}"

    def sizeHint(self) -> QSize:
        return QSize(scaled(200), scaled(_HEIGHT))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setFont(font("caption"))
        left = self._paint_scale(painter)
        self._paint_bands(painter, left + scaled(24))
        painter.end()

    def _paint_scale(self, painter: QPainter) -> float:
        """Draw the scale, and return where it ends."""
        if self.scale is None:
            return self._write(painter, "Lines join matched layers; a run colours them by their error", 0.0)
        x = self._write(painter, "Matching error (mean square)", 0.0) + scaled(10)
        x = self._write(painter, self._end(self.scale.low), x) + scaled(6)
        bar = QRectF(x, (self.height() - scaled(_BAR[1])) / 2, scaled(_BAR[0]), scaled(_BAR[1]))
        gradient = QLinearGradient(QPointF(bar.left(), 0), QPointF(bar.right(), 0))
        stops = tokens().match
        for number, colour in enumerate(stops):
            gradient.setColorAt(number / (len(stops) - 1), QColor(colour))
        painter.fillRect(bar, gradient)
        return self._write(painter, self._end(self.scale.high), bar.right() + scaled(6))

    def _paint_bands(self, painter: QPainter, left: float) -> None:
        groups = [(name, bands) for name, bands in self.bands if len(bands) in BAND_OPACITIES]
        while groups and self._width(painter, groups) > self.width() - left:
            groups.pop(0)
        x = self.width() - self._width(painter, groups)
        for name, bands in groups:
            x = self._write(painter, name, x) + scaled(8) if name else x
            for band, opacity in zip(bands, BAND_OPACITIES[len(bands)], strict=True):
                colour, side = QColor(tokens().muted), scaled(_SIDE)
                colour.setAlphaF(opacity)
                painter.fillRect(QRectF(x, (self.height() - side) / 2, side, side), colour)
                x = self._write(painter, band, x + side + scaled(5)) + scaled(_GAP)
            x += scaled(_GAP)

    @staticmethod
    def _width(painter: QPainter, groups: Sequence[tuple[str, Sequence[str]]]) -> float:
        """Return the width of the groups with their names."""
        advance = painter.fontMetrics().horizontalAdvance
        width = sum(advance(name) + scaled(8) for name, _ in groups if name)
        width += sum(scaled(_SIDE) + scaled(5) + advance(band) for _, bands in groups for band in bands)
        between = sum(len(bands) for _, bands in groups) - 1 + len(groups) - 1
        return width + max(between, 0) * scaled(_GAP)

    def _write(self, painter: QPainter, text: str, x: float) -> float:
        """Write a text at `x`, and return where it ends."""
        painter.setPen(QColor(tokens().muted))
        width = painter.fontMetrics().horizontalAdvance(text)
        painter.drawText(QRectF(x, 0, width + 1, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
        return x + width
