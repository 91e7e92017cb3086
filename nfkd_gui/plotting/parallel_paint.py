"""Painting of parallel coordinates: axes, lines, labels and brushes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen

from nfkd.text import plain
from nfkd_gui.plotting.parallel_axes import ParallelAxis
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.caption import in_lines

BRUSH = 14
"""Width of a brush in pixels at 100 %."""
_BESIDE, _GAP = 5, 4
"""Pixels between an axis and the name of a category, and around texts."""
_NAMED = 0.8
"""A category's name takes at most this share of the room between two axes."""
_LONGEST = 60
_SOFT, _GRIP = 56, 4
_CENTRE = Qt.AlignmentFlag.AlignCenter
Draw = Callable[[QPainter], None]


@dataclass(frozen=True)
class Frame:
    """Where the axes are: their x, (axes,), and the y of their ends."""

    places: np.ndarray
    top: float
    bottom: float

    @property
    def length(self) -> float:
        """The length of the axes."""
        return max(self.bottom - self.top, 1.0)

    @property
    def spacing(self) -> float:
        """The distance of two axes; of a single one, that of its borders."""
        return float(self.places[1] - self.places[0]) if len(self.places) > 1 else 2.0 * scaled(80)

    def height_of(self, positions: np.ndarray) -> np.ndarray:
        """Return the y of positions from 0 to 1."""
        return self.bottom - positions * self.length

    def position_of(self, y: float) -> float:
        """Return the position of a y, from 0 to 1."""
        return min(max((self.bottom - y) / self.length, 0.0), 1.0)


def _title_font() -> QFont:
    found = font("caption")
    found.setWeight(QFont.Weight.DemiBold)
    return found


def paint_axes(painter: QPainter, frame: Frame, axes: Sequence[ParallelAxis]) -> None:
    """Paint the axes with their titles, and the ends of those with numbers."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    height = QFontMetricsF(font("caption")).height()
    for x, axis in zip(frame.places.tolist(), axes, strict=True):
        painter.setPen(QPen(QColor(tokens().control), 1))
        painter.drawLine(QPointF(round(x) + 0.5, frame.top), QPointF(round(x) + 0.5, frame.bottom))
        _paint_title(painter, frame, x, axis, tokens().text)
        if not axis.categories:
            painter.setFont(font("caption"))
            painter.setPen(QColor(tokens().muted))
            for place, text in axis.labels:
                low = place < 0.5
                top = frame.bottom + _GAP if low else frame.top - height - 2
                _text(painter, QRectF(x - frame.spacing / 2, top, frame.spacing, height), text)


def _paint_title(painter: QPainter, frame: Frame, x: float, axis: ParallelAxis, colour: str) -> None:
    painter.setFont(_title_font())
    painter.setPen(QColor(colour))
    height = QFontMetricsF(font("caption")).height()
    lines = in_lines(plain(axis.title, _LONGEST), painter.fontMetrics(), int(frame.spacing - _GAP))
    for number, line in enumerate(reversed(lines), start=1):
        top = frame.top - (number + 1) * height - 4
        painter.drawText(QRectF(x - frame.spacing / 2, top, frame.spacing, height), int(_CENTRE), line)


def _text(painter: QPainter, place: QRectF, text: str) -> None:
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, int(place.width()))
    painter.drawText(place, int(_CENTRE), shown)


def paint_labels(painter: QPainter, frame: Frame, axes: Sequence[ParallelAxis]) -> None:
    """Paint the names of categories beside their axes, on the colour of the panel; those without room are left out."""
    painter.setFont(font("caption"))
    metrics = painter.fontMetrics()
    ground = QColor(tokens().panel)
    ground.setAlpha(215)
    for number, (x, axis) in enumerate(zip(frame.places.tolist(), axes, strict=True)):
        if not axis.categories:
            continue
        at_left = number == len(axes) - 1 and number > 0
        free = frame.bottom + metrics.height()
        for place, text in sorted(axis.labels):
            middle = float(frame.height_of(np.array(place)))
            if middle + metrics.height() / 2 > free:
                continue
            free = middle - metrics.height() / 2
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, int(_NAMED * frame.spacing))
            width = metrics.horizontalAdvance(shown)
            left = x - scaled(_BESIDE) - width if at_left else x + scaled(_BESIDE)
            box = QRectF(left, middle - metrics.height() / 2, width, metrics.height())
            painter.fillRect(box.adjusted(-2, 0, 2, 0), ground)
            painter.setPen(QColor(tokens().muted))
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), shown)


def paint_line(painter: QPainter, frame: Frame, heights: np.ndarray, colour: str, width: float) -> None:
    """Paint a line through its heights at the axes; where it has none, it is interrupted."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(colour), width))
    piece: list[QPointF] = []
    for x, y in [*zip(frame.places.tolist(), heights.tolist(), strict=True), (0.0, math.nan)]:
        if not math.isnan(y):
            piece.append(QPointF(x, y))
            continue
        if len(piece) > 1 and width <= 1:
            painter.drawPolyline(piece)
        elif len(piece) > 1:  # Qt draws wide segments ten times as fast as a wide line with joins
            painter.drawLines([QLineF(*ends) for ends in itertools.pairwise(piece)])
        elif piece:
            painter.drawPoint(piece[0])
        piece = []


def paint_brush(painter: QPainter, place: QRectF) -> None:
    """Paint a brush with a grip at each end."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    accent = QColor(tokens().accent)
    soft = QColor(accent)
    soft.setAlpha(_SOFT)
    painter.setPen(QPen(accent, 1))
    painter.setBrush(soft)
    painter.drawRoundedRect(place, 2, 2)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(accent)
    grip = QRectF(place.left() + 2, 0, place.width() - 4, scaled(_GRIP))
    for y in (place.top(), place.bottom()):
        grip.moveTop(y - grip.height() / 2)
        painter.drawRoundedRect(grip, 2, 2)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def paint_moved_axis(painter: QPainter, frame: Frame, x: float) -> None:
    """Paint the place of the axis that is dragged."""
    painter.setPen(QPen(QColor(tokens().accent), 1, Qt.PenStyle.DashLine))
    painter.drawLine(QPointF(x, frame.top), QPointF(x, frame.bottom))


def paint_focus(painter: QPainter, frame: Frame, index: int) -> None:
    """Underline the title of the axis that the keys act on."""
    x, half = float(frame.places[index]), min(frame.spacing / 2 - _GAP, scaled(32))
    y = frame.top - QFontMetricsF(font("caption")).height() - 3
    painter.setPen(QPen(QColor(tokens().accent), 2))
    painter.drawLine(QPointF(x - half, y), QPointF(x + half, y))


def paint_name(painter: QPainter, pointer: QPointF, text: str, room: QRect) -> None:
    """Paint a name in a box beside the pointer."""
    painter.setFont(font("caption"))
    metrics = painter.fontMetrics()
    width, height = metrics.horizontalAdvance(text) + 2 * scaled(6), metrics.height() + scaled(6)
    left = min(pointer.x() + scaled(12), room.right() - width - 1)
    top = max(pointer.y() - height - scaled(6), 1.0)
    box = QRectF(left, top, width, height)
    painter.setPen(QPen(QColor(tokens().control), 1))
    painter.setBrush(QColor(tokens().raised))
    painter.drawRoundedRect(box, scaled(4), scaled(4))
    painter.setPen(QColor(tokens().text))
    painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)
    painter.setBrush(Qt.BrushStyle.NoBrush)
