"""Labels: their text is shown as it is, unless we wrote its markup, and keeps its meaning in light and dark."""

from __future__ import annotations

import html
from typing import Literal

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from nfkd.text import plain, plain_lines

_MOST = 4000
"""Characters of a label or tooltip: more would only slow the window."""
_WIDEST = 360
"""Pixels that a wrapped label asks for at most."""
Tone = Literal["plain", "muted", "error", "warning", "good"]

_TONES: dict[Tone, tuple[str, str]] = {
    "muted": ("#5F6368", "#A0A4A8"),
    "error": ("#B3261E", "#F28B82"),
    "warning": ("#8A5A00", "#F6BF60"),
    "good": ("#00734F", "#4CC9A0"),
}


def tone_colour(palette: QPalette, tone: Tone) -> QColor:
    """Return the colour of a tone on this palette; each has a contrast of at least 4.5 with the window."""
    if tone == "plain":
        return palette.color(QPalette.ColorRole.WindowText)
    light, dark = _TONES[tone]
    return QColor(dark if palette.color(QPalette.ColorRole.Window).lightness() < 128 else light)


def shown(text: str) -> str:
    """Return a foreign text of several lines as a widget shows it: controls visible, and cut where it is very long."""
    return plain_lines(text if len(text) <= _MOST else f"{text[: _MOST - 1]}…")


def escaped(text: str) -> str:
    """Return a foreign text for a place inside our own markup: a label of ours, or a text of pyqtgraph."""
    return html.escape(plain(text, _MOST))


def tip(text: str) -> str:
    """Return a foreign text as a tooltip, which Qt would take for markup where it looks like that."""
    words = shown(text)
    return f'<p style="white-space:pre-wrap">{html.escape(words)}</p>' if "<" in words or "&" in words else words


class PlainLabel(QLabel):
    """A label that shows its text as it is, whatever the text looks like."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, words: str) -> None:
        super().setText(shown(words))


class MarkupLabel(QLabel):
    """A label whose markup we wrote; what is foreign in it must be `escaped`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.RichText)


class ToneLabel(PlainLabel):
    """A label in the colour of its tone, whatever the theme."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._tone: Tone = tone
        self._colour()

    def set_tone(self, tone: Tone) -> None:
        """Change the meaning, and so the colour."""
        self._tone = tone
        self._colour()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._colour()

    def _colour(self) -> None:
        palette = QPalette()
        colour = tone_colour(palette, self._tone)
        if self.palette().color(QPalette.ColorRole.WindowText) != colour:  # setting it is a change of palette, too
            palette.setColor(QPalette.ColorRole.WindowText, colour)
            self.setPalette(palette)


class ElidedLabel(ToneLabel):
    """One line, as wide as there is room: an ellipsis stands for what finds none, and the tooltip has it all."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__("", tone, parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def setText(self, words: str) -> None:
        super().setText(plain(words))
        self.setToolTip(tip(words))

    def shown(self) -> str:
        """Return what of the text is seen."""
        return self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.contentsRect().width())

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        self.style().drawItemText(
            painter,
            self.contentsRect(),
            int(self.alignment()),
            self.palette(),
            self.isEnabled(),
            self.shown(),
            self.foregroundRole(),
        )
        painter.end()


class WrappedLabel(ToneLabel):
    """Several lines of text, as wide as there is room; a word without end asks for no more than a column."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(text, tone, parent)
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), _WIDEST), hint.height())
