"""Painting a large widget in bands, so that the window stays responsive."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QWidget

from nfkd_gui.model.slices import PAUSE


class BandedUpdate(QObject):
    """Paints all of a widget again, from top to bottom, a band in each turn of the event loop.

    For a widget whose new content may stand beside its former one for some milliseconds.
    """

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget, self._top, self._height = widget, 0, 1
        self._timer = QTimer(self, interval=PAUSE, singleShot=True)
        self._timer.timeout.connect(self._next)

    def start(self, height: int) -> None:
        """Paint the first band soon, and then the others, each of this height in pixels."""
        self._top, self._height = 0, max(height, 1)
        self._next()

    def _next(self) -> None:
        self._widget.update(0, self._top, self._widget.width(), self._height)
        self._top += self._height
        if self._top < self._widget.height():
            self._timer.start()
