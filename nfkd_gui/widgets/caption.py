"""A caption that becomes shorter by words where there is little room."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QWidget

from nfkd.text import plain
from nfkd_gui.theme import set_type
from nfkd_gui.widgets.labels import ElidedLabel, Tone, tip

_BREAK = re.compile(r"(?<=[-_/])(?=[^-_/\s])|(?<= )")
"""Where a text may be broken into lines."""
_SHORTEST = 2
"""Characters of a line at least."""


def fitting(texts: Sequence[str], metrics: QFontMetrics, width: int) -> str:
    """Return the first of texts from long to short that fits, or the last one, cut in its middle."""
    wide = (text for text in texts if metrics.horizontalAdvance(text) <= width)
    last = texts[-1] if texts else ""
    return next(wide, metrics.elidedText(last, Qt.TextElideMode.ElideMiddle, width))


def in_lines(text: str, metrics: QFontMetrics, width: int) -> list[str]:
    """Return a text in one line, or in the two into which it fits best; lines that are too long are cut.

    A line ends at a space, or after a hyphen, an underscore or a slash, as in the names of runs.
    """
    places = [
        place for found in _BREAK.finditer(text) if _SHORTEST <= (place := found.start()) <= len(text) - _SHORTEST
    ]
    if metrics.horizontalAdvance(text) <= width or not places:
        lines = [text]
    else:
        pairs = [(text[:place].rstrip(" "), text[place:]) for place in places]

        def cost(pair: tuple[str, str]) -> tuple[bool, bool, int]:
            widest = max(map(metrics.horizontalAdvance, pair))
            return widest > width, pair[0].endswith("-"), widest  # words with a hyphen stay together where they can

        lines = list(min(pairs, key=cost))
    return [metrics.elidedText(line, Qt.TextElideMode.ElideMiddle, width) for line in lines]


class Caption(ElidedLabel):
    """One small line; the tooltip has the longest of its texts."""

    def __init__(self, tone: Tone = "muted", parent: QWidget | None = None) -> None:
        super().__init__(tone=tone, parent=parent)
        self._texts: Sequence[str] = ("",)
        set_type(self, "caption")

    def show_texts(self, texts: Sequence[str]) -> None:
        """Show the longest of some texts that fits."""
        self._texts = [plain(text) for text in texts] or [""]
        self.setText(self._texts[0])
        self.setToolTip(tip(self._texts[0]))

    def visible_text(self) -> str:
        return fitting(self._texts, self.fontMetrics(), self.contentsRect().width())

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())
