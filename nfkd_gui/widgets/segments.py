"""A bar of one segment for each stage and seed of a run, filled in the colours of the flows."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd_gui.model.headline import Segment
from nfkd_gui.theme import role_colour, scaled, tokens

_HEIGHT, _GAP = 6, 2


class SegmentedBar(QWidget):
    """Shows how far each stage of a run is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.segments: tuple[Segment, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Progress of the run")

    def show_segments(self, segments: Sequence[Segment]) -> None:
        """Show these segments."""
        if tuple(segments) != self.segments:
            self.segments = tuple(segments)
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(160), scaled(_HEIGHT))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        total = sum(segment.width for segment in self.segments)
        if not total:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        gap = scaled(_GAP)
        room, left = self.width() - gap * (len(self.segments) - 1), 0.0
        for segment in self.segments:
            width = room * segment.width / total
            for part, colour in ((1.0, tokens().track), (segment.done, role_colour(segment.role))):
                painter.setBrush(QColor(colour))
                painter.drawRect(QRectF(left, 0, width * part, self.height()))
            left += width + gap
        painter.end()
