"""Records the play through the layers as pictures for a GIF, one picture in a turn of the event loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from nfkd.protocol.events import ErrorInfo
from nfkd_gui.model.export_files import Progress, Writer
from nfkd_gui.model.gif import pack_frame, write_pictures_gif

HOLD = 5
"""Frames of a GIF that show a layer."""
_LONGEST = 960
"""Most pixels of a frame's longer side."""


class Page(Protocol):
    """A page whose layers can be played."""

    canvas: QWidget

    def poses(self) -> Generator[int]:
        """Draw the play frame by frame: yields after each for how many frames of the GIF it is shown."""
        ...


class Film(QObject):
    """Draws a page's poses, and then hands over the writer of the GIF; frames are held compressed."""

    def __init__(self, page: Page, ready: Callable[[Writer], None], fail: Callable[[ErrorInfo], None]) -> None:
        super().__init__(page.canvas)
        self._page, self._ready, self._fail = page, ready, fail
        self._poses = page.poses()
        self._frames: list[bytes] = []
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._record)

    def start(self) -> None:
        """Record; the writer is handed over later."""
        self._timer.start(0)

    def stop(self) -> None:
        """End the recording with an error, because the page no longer shows what was recorded; nothing if it ended."""
        if self._timer.isActive():
            self._end()
            cause = "The panel showed something else while its pictures were drawn."
            self._fail(ErrorInfo(title="The animation was not saved", cause=cause, action="Save it again."))

    def _record(self) -> None:
        hold = next(self._poses, 0)
        if hold:
            self._frames += [pack_frame(picture_of(self._page.canvas))] * hold
            return
        self._end()
        self._ready(partial(_write, self._frames))

    def _end(self) -> None:
        self._timer.stop()
        self._poses.close()
        self.deleteLater()


def _write(frames: Sequence[bytes], path: Path, progress: Progress) -> None:
    write_pictures_gif(path, frames, progress=progress)


def picture_of(widget: QWidget) -> np.ndarray:
    """Return what a widget shows, (height, width, 3) uint8, its longer side at most 960 pixels."""
    image = widget.grab().toImage()
    if max(image.width(), image.height()) > _LONGEST:
        smooth = Qt.TransformationMode.SmoothTransformation
        image = image.scaled(_LONGEST, _LONGEST, Qt.AspectRatioMode.KeepAspectRatio, smooth)
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()
