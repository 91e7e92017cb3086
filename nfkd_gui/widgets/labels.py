"""Labels for plain text and for our own markup, with colours for light and dark themes."""

from __future__ import annotations

import html
from typing import Literal

from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from nfkd.text import plain, plain_lines
from nfkd_gui.theme import set_type, tokens

_LONGEST = 4000
"""Characters of a label or tooltip; longer texts are cut, because they slow the window."""
_WIDEST = 360
"""Pixels; upper limit of a wrapped label's minimum width."""
Tone = Literal["plain", "muted", "error", "warning", "good"]


def tone_colour(tone: Tone) -> QColor:
    """Return a tone's colour in the current theme; the contrast with every surface is at least 4.5."""
    colours = tokens()
    found = {"plain": colours.text, "muted": colours.muted, "good": colours.good, "warning": colours.warn}
    return QColor(found.get(tone, colours.error))


def display_text(text: str) -> str:
    """Return foreign text for a widget: control characters made visible, long text cut."""
    return plain_lines(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def escaped(text: str) -> str:
    """Return foreign text for use inside our own markup."""
    return html.escape(plain(text, _LONGEST))


def tip(text: str) -> str:
    """Return foreign text as a tooltip; text that Qt would read as markup is escaped."""
    text = display_text(text)
    return f'<p style="white-space:pre-wrap">{html.escape(text)}</p>' if "<" in text or "&" in text else text


class PlainLabel(QLabel):
    """A label that never reads its text as markup."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:
        super().setText(display_text(text))


class TypeLabel(PlainLabel):
    """A plain label in one of the kinds of text of the visual system, such as ``heading``; it follows the scale."""

    def __init__(self, kind: str, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        set_type(self, kind)


class MarkupLabel(QLabel):
    """A label with our own markup; foreign text in it must be `escaped`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.RichText)


class ToneLabel(PlainLabel):
    """A plain label in the colour of its tone, in every theme."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._tone: Tone = tone
        self._colour()

    def set_tone(self, tone: Tone) -> None:
        """Set the tone."""
        self._tone = tone
        self._colour()

    def ink(self) -> QColor:
        """Return the colour of the text."""
        return tone_colour(self._tone)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._colour()

    def _colour(self) -> None:
        palette = QPalette()
        colour = self.ink()
        if self.palette().color(QPalette.ColorRole.WindowText) != colour:  # setting it changes the palette again
            palette.setColor(QPalette.ColorRole.WindowText, colour)
            self.setPalette(palette)


class ElidedLabel(ToneLabel):
    """One line that is cut with an ellipsis where it does not fit; the tooltip has the whole text."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__("", tone, parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def setText(self, text: str) -> None:
        super().setText(plain(text))
        self.setToolTip(tip(text))

    def visible_text(self) -> str:
        """Return the visible text."""
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
            self.visible_text(),
            self.foregroundRole(),
        )
        painter.end()


class ColourLabel(ElidedLabel):
    """One line in a colour of its own, such as that of a flow; it is cut with an ellipsis where it does not fit."""

    _own = ""

    def show_colour(self, colour: str) -> None:
        """Show a colour, as ``#RRGGBB``."""
        self._own = colour
        self._colour()

    def ink(self) -> QColor:
        return QColor(self._own) if self._own else super().ink()


class WrappedLabel(ToneLabel):
    """Wrapped text; a very long word does not widen the window."""

    def __init__(self, text: str = "", tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(text, tone, parent)
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), _WIDEST), hint.height())


class FittedLabel(WrappedLabel):
    """Wrapped text that is exactly as high as its lines; Qt reserves the height of a narrower label for others.

    It widens nothing: a word that is longer than a line is cut.
    """

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit()

    def _fit(self) -> None:
        height = self.heightForWidth(self.width())
        if height != self.minimumHeight():
            self.setFixedHeight(height)


class ClampedLabel(ToneLabel):
    """Wrapped text of a fixed number of lines; words that do not fit are replaced by an ellipsis."""

    def __init__(self, text: str, lines: int, parent: QWidget | None = None, tone: Tone = "muted") -> None:
        super().__init__("", tone, parent)
        self._whole, self._lines = plain(text), lines
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self._whole)

    def sizeHint(self) -> QSize:
        return QSize(0, self._lines * self.fontMetrics().lineSpacing())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def heightForWidth(self, width: int) -> int:
        del width
        return self.sizeHint().height()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        words, text = self._whole.split(" "), self._whole
        while len(words) > 1 and self._height(text) > self.sizeHint().height():
            words.pop()
            text = " ".join(words).rstrip(",;:") + " …"
        self.setText(text)

    def _height(self, text: str) -> int:
        room = QRect(0, 0, self.width(), 10_000)
        return self.fontMetrics().boundingRect(room, int(Qt.TextFlag.TextWordWrap), text).height()
