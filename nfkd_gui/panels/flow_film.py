"""Records the play through the layers as pictures for a GIF, one picture in a turn of the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from nfkd_gui.model.export_files import Writer
from nfkd_gui.model.gif import write_pictures_gif

HOLD = 5
"""Frames of a GIF that show a layer."""


class Page(Protocol):
    """A page whose layers can be played."""

    canvas: QWidget

    def poses(self) -> Iterator[int]:
        """Draw the play frame by frame: yields after each for how many frames of the GIF it is shown."""
        ...


class Film(QObject):
    """Draws a page's poses, and then hands over the writer of the GIF."""

    def __init__(self, page: Page, ready: Callable[[Writer], None]) -> None:
        super().__init__(page.canvas)
        self._page, self._ready = page, ready
        self._poses = page.poses()
        self._frames: list[np.ndarray] = []

    def start(self) -> None:
        """Record; the writer is handed over later."""
        QTimer.singleShot(0, self, self._record)

    def _record(self) -> None:
        hold = next(self._poses, 0)
        if hold:
            self._frames += [picture_of(self._page.canvas)] * hold
            self.start()
            return
        self._ready(partial(_write, self._frames))
        self.deleteLater()


def _write(frames: list[np.ndarray], path: object, progress: object) -> None:
    write_pictures_gif(path, frames, progress=progress)  # type: ignore[arg-type]


def picture_of(widget: QWidget) -> np.ndarray:
    """Return what a widget shows, (height, width, 3) uint8."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()
