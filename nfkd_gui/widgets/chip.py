"""A chip: one short result on a soft ground, with a sign before it, so that colour is never the only mark."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
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


def chip_text(text: str, tone: ChipTone) -> str:
    """Return the text of a chip with the sign of its tone."""
    return f"{_SIGNS[tone]} {text}".strip()


def paint_chip(painter: QPainter, place: QRectF, text: str, tone: ChipTone) -> None:
    """Paint a chip: `text` on the ground of its tone."""
    colours = tokens()
    ground = {"neutral": colours.hover, "accent": colours.soft}.get(tone) or str(getattr(colours, f"{tone}_soft"))
    ink = {"neutral": colours.muted, "accent": colours.accent}.get(tone) or str(getattr(colours, tone))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(ground))
    painter.drawRoundedRect(place, place.height() / 2, place.height() / 2)
    painter.setPen(QColor(ink))
    painter.setFont(font("caption"))
    painter.drawText(place, Qt.AlignmentFlag.AlignCenter, text)


def chip_size(text: str) -> QSize:
    """Return the size of a chip with a text."""
    width = QFontMetrics(font("caption")).horizontalAdvance(text)
    return QSize(width + scaled(2 * _MARGIN), scaled(_HEIGHT))


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
        return chip_text(self._text, self._tone)

    def show_text(self, text: str, tone: ChipTone = "neutral", help_: str = "") -> None:
        """Show a text with a tooltip; an empty text hides the chip."""
        self._text, self._tone = plain(text, _LONGEST), tone
        self.setToolTip(tip(help_ or text))
        self.setAccessibleName(self._text)
        self.setVisible(bool(text))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return chip_size(self.text())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        paint_chip(painter, QRectF(self.rect()), self.text(), self._tone)
        painter.end()
