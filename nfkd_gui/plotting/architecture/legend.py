"""The foot of the drawing: the colours of matching errors, and the parts of a step."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd_gui.plotting.architecture.blocks import BAND_OPACITIES
from nfkd_gui.plotting.match_colours import ErrorScale
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.labels import tip

_HEIGHT, _BAR = 26, (120, 6)


class Legend(QWidget):
    """Draws the scale at the left and the parts of a step at the right; what does not fit is left out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("architecture.legend")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.scale: ErrorScale | None = None
        self.source = ""
        self.bands: Sequence[str] = ()

    def show_scale(self, scale: ErrorScale | None, source: str) -> None:
        """Show the scale of the errors, and where they come from."""
        self.scale, self.source = scale, source
        self._describe()

    def show_bands(self, bands: Sequence[str]) -> None:
        """Show the parts of a step, from data to latents."""
        self.bands = bands
        self._describe()

    def _describe(self) -> None:
        text = "Lines join matched layers"
        if self.scale is not None:
            text = f"Matching error (mean square) from {self._end(self.scale.low)} to {self._end(self.scale.high)}"
        self.setAccessibleName(f"Legend: {text}. Parts of a step: {', '.join(self.bands) or 'not known'}")
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
        metrics, side = QFontMetrics(painter.font()), scaled(9)
        widths = [side + scaled(5) + metrics.horizontalAdvance(name) + scaled(14) for name in self.bands]
        x = self.width() - sum(widths) + scaled(14)
        if x < left or len(self.bands) not in BAND_OPACITIES:
            return
        for name, opacity, width in zip(self.bands, BAND_OPACITIES[len(self.bands)], widths, strict=True):
            colour = QColor(tokens().muted)
            colour.setAlphaF(opacity)
            painter.fillRect(QRectF(x, (self.height() - side) / 2, side, side), colour)
            self._write(painter, name, x + side + scaled(5))
            x += width

    def _write(self, painter: QPainter, text: str, x: float) -> float:
        """Write a text at `x`, and return where it ends."""
        painter.setPen(QColor(tokens().muted))
        width = painter.fontMetrics().horizontalAdvance(text)
        painter.drawText(QRectF(x, 0, width + 1, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
        return x + width
