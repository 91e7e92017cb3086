"""The gap bar: the baseline at the left, the teacher at the right, and the student where it stands between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd_gui.numbers import format_percent
from nfkd_gui.theme import font, role_colour, scaled, tokens

_HEIGHT, _BAR, _ENDS = 44, 8, 1.35


@dataclass(frozen=True)
class GapFigures:
    """What the bar shows.

    Attributes
    ----------
    closed
        Share of the gap that the student closes; NaN where it is not known.
    low, high
        Its 95 % interval; NaN where it is not known.
    baseline, student, teacher
        The figures, as text.
    """

    closed: float = math.nan
    low: float = math.nan
    high: float = math.nan
    baseline: str = ""
    student: str = ""
    teacher: str = ""


class GapBar(QWidget):
    """Shows how much of the gap the student closes; above 100 % the bar runs past the teacher."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.figures = GapFigures()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.hide()

    def show_figures(self, figures: GapFigures) -> None:
        """Show other figures; hidden without a share."""
        self.figures = figures
        known = not math.isnan(figures.closed)
        self.setVisible(known)
        self.setAccessibleName(f"The student closes {format_percent(figures.closed)} of the gap" if known else "")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(200), scaled(_HEIGHT))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(120), scaled(_HEIGHT))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setFont(font("caption"))
        closed = min(max(self.figures.closed, 0.0), _ENDS)
        goal = self.width() / max(1.0, closed)
        top, line = scaled(16), scaled(_BAR)
        painter.fillRect(QRectF(0, top, self.width(), line), QColor(tokens().track))
        painter.fillRect(QRectF(0, top, goal * closed, line), QColor(role_colour("student")))
        pen = QPen(QColor(role_colour("teacher")), scaled(2))
        pen.setStyle(Qt.PenStyle.DashLine if closed > 1 else Qt.PenStyle.SolidLine)
        painter.setPen(pen)
        painter.drawLine(
            round(min(goal, self.width() - 1)), top - 2, round(min(goal, self.width() - 1)), top + line + 2
        )
        if math.isfinite(self.figures.low) and math.isfinite(self.figures.high):
            self._draw_interval(painter, goal, top + line / 2)
        self._write(painter, goal, closed)
        painter.end()

    def _draw_interval(self, painter: QPainter, goal: float, middle: float) -> None:
        """Draw a line with two ends over the interval, as far as it is in the bar."""
        painter.setPen(QPen(QColor(tokens().text), scaled(1)))
        low, high = (min(max(share, 0.0), _ENDS) * goal for share in (self.figures.low, self.figures.high))
        low, high, half = round(low), min(round(high), self.width() - 1), scaled(_BAR) // 2 + 1
        painter.drawLine(low, round(middle), high, round(middle))
        for x in (low, high):
            painter.drawLine(x, round(middle) - half, x, round(middle) + half)

    def _write(self, painter: QPainter, goal: float, closed: float) -> None:
        """Write the names above the bar and the figures below it."""
        below, metrics, right = scaled(28), painter.fontMetrics(), float(self.width())
        places = {"baseline": 0.0, "student": goal * closed, "teacher": goal}
        texts = {"baseline": self.figures.baseline, "student": self.figures.student, "teacher": self.figures.teacher}
        for role, x in places.items():
            painter.setPen(QColor(role_colour(role)))
            for text, y in ((role.capitalize(), 0), (texts[role], below)):
                width = metrics.horizontalAdvance(text)
                left = min(max(x - width / 2, 0.0), right - width)
                if role == "student":  # it gives way to the names at the ends
                    ends = metrics.horizontalAdvance("Baseline ") * 1.05, right - metrics.horizontalAdvance("  Teacher")
                    left = min(max(left, ends[0]), ends[1] - width)
                painter.drawText(QRectF(left, y, width + 2, scaled(14)), Qt.AlignmentFlag.AlignLeft, text)
