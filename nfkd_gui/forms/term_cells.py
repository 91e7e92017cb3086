"""The painted cells of the loss table: a term's weight over the stage, and its share of the gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd_gui.theme import font, scaled, tokens

CURVE_WIDTH, SHARE_WIDTH = 52, 72
_HEIGHT, _BAR_WIDTH, _BAR = 20, 32, 6
_POINTS = 27


def curve_steps(steps: int) -> list[int]:
    """Return the steps, from 0 to ``steps - 1``, at which a curve over a stage is drawn."""
    return [round(index * (max(steps, 1) - 1) / (_POINTS - 1)) for index in range(_POINTS)]


class ScheduleCurve(QWidget):
    """The weight of a term from the first to the last step of the stage, above a line at zero."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.weights: tuple[float, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_weights(self, weights: Sequence[float]) -> None:
        """Show weights at equal distances over the stage; none if they are not known."""
        if tuple(weights) == self.weights:
            return
        self.weights = tuple(weights)
        text = "The weight over the student's steps is not known"
        if weights:
            ends = f"{weights[0]:.3g} at the first step, {weights[-1]:.3g} at the last"
            text = f"The term's part of the weights over the student's steps: {ends}."
        self.setAccessibleName(text)
        self.setToolTip(text)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(CURVE_WIDTH), scaled(_HEIGHT))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        if not self.weights:
            return
        painter, colours = QPainter(self), tokens()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bottom, top = self.height() - 2.0, 3.0
        painter.setPen(QPen(QColor(colours.control), 1))
        painter.drawLine(QPointF(0, bottom + 0.5), QPointF(self.width(), bottom + 0.5))
        highest = max(self.weights) or 1.0
        step = (self.width() - 2) / (len(self.weights) - 1)
        points = [
            QPointF(1 + index * step, bottom - (bottom - top) * weight / highest)
            for index, weight in enumerate(self.weights)
        ]
        painter.setPen(QPen(QColor(colours.text), scaled(15) / 10))
        painter.drawPolyline(QPolygonF(points))
        painter.end()


class ShareBar(QWidget):
    """A share as a bar and in per cent; an empty bar and a dash where it is not known."""

    def __init__(self, *, quiet: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._quiet = quiet
        self.share = math.nan
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._describe()

    @property
    def text(self) -> str:
        """The share in per cent, or a dash."""
        return "–" if math.isnan(self.share) else f"{100 * self.share:.0f}\u00a0%"

    def show_share(self, share: float) -> None:
        """Show a share from 0 to 1; NaN if it is not known."""
        if share != self.share and not (math.isnan(share) and math.isnan(self.share)):
            self.share = share
            self._describe()
            self.update()

    def _describe(self) -> None:
        self.setAccessibleName(f"Share of the gradient: {'not known' if math.isnan(self.share) else self.text}")
        self.setToolTip(
            "The norm of the term's weighted gradient, relative to the sum of those of all terms."
            + (" Not measured for this experiment yet." if math.isnan(self.share) else "")
        )

    def sizeHint(self) -> QSize:
        return QSize(scaled(SHARE_WIDTH), scaled(_HEIGHT))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter, colours = QPainter(self), tokens()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height, width = scaled(_BAR), scaled(_BAR_WIDTH)
        track = QRectF(0, (self.height() - height) / 2, width, height)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(colours.track))
        painter.drawRect(track)
        if not math.isnan(self.share):
            painter.setBrush(QColor(colours.muted if self._quiet else colours.fill))
            painter.drawRect(QRectF(track.x(), track.y(), width * min(max(self.share, 0.0), 1.0), height))
        painter.setPen(QColor(colours.muted if math.isnan(self.share) else colours.text))
        painter.setFont(font("body"))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.text)
        painter.end()
