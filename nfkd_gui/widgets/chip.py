"""A chip: one short result on a soft ground, with a sign before it, so that colour is never the only mark."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd.text import plain
from nfkd_gui.theme import font, scaled, set_type, tokens
from nfkd_gui.widgets.labels import tip

ChipTone = Literal["good", "warn", "error", "neutral", "accent"]
_SIGNS: dict[ChipTone, str] = {"good": "✓", "warn": "⚠", "error": "↓", "neutral": "", "accent": ""}
_HEIGHT, _MARGIN = 22, 10
_LONGEST = 80


def verdict_tone(verdict: str) -> ChipTone:
    """Return the tone of a verdict."""
    match verdict:
        case "better":
            return "good"
        case "worse":
            return "error"
        case _:
            return "neutral"


class Chip(QWidget):
    """Shows a text of one line; hidden while it is empty."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._tone: ChipTone = "neutral"
        set_type(self, "caption")
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.hide()

    def text(self) -> str:
        """Return the text with its sign."""
        return f"{_SIGNS[self._tone]} {self._text}".strip()

    def show_text(self, text: str, tone: ChipTone = "neutral", help_: str = "") -> None:
        """Show a text with a tooltip; an empty text hides the chip."""
        self._text, self._tone = plain(text, _LONGEST), tone
        self.setToolTip(tip(help_ or text))
        self.setAccessibleName(self._text)
        self.setVisible(bool(text))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self.text()) + scaled(2 * _MARGIN), scaled(_HEIGHT))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        colours = tokens()
        ground = {"neutral": colours.hover, "accent": colours.soft}.get(self._tone)
        ground = ground or str(getattr(colours, f"{self._tone}_soft"))
        ink = {"neutral": colours.muted, "accent": colours.accent}.get(self._tone) or str(getattr(colours, self._tone))
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ground))
        radius = self.height() / 2
        painter.drawRoundedRect(QRectF(self.rect()), radius, radius)
        painter.setPen(QColor(ink))
        painter.setFont(font("caption"))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())
        painter.end()
