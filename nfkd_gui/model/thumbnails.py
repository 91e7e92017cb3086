"""Small pictures of students' samples: asked for in small numbers, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from nfkd.protocol.comparing import ReadThumbnails, Thumbnails
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.requests import Reply
from nfkd_gui.model.studio import Studio

_CHUNK, _KEPT = 24, 2000  # pictures in a request, and of those that were shown last


class ThumbnailStore(QObject):
    """Reads pictures of the runs that are shown, and keeps them until their runs change."""

    arrived = Signal()

    def __init__(self, studio: Studio, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self._pictures: OrderedDict[str, np.ndarray | None] = OrderedDict()
        self._wanted: dict[str, None] = {}
        self._asking = False
        self.pixels = 0
        self._timer = QTimer(self, interval=0, singleShot=True)
        self._timer.timeout.connect(self._read)
        studio.row_changed.connect(self._forget)

    def set_size(self, pixels: int) -> None:
        """Set height and width; pictures of another size are forgotten."""
        if pixels != self.pixels:
            self.pixels = pixels
            self._pictures.clear()

    def picture(self, run: str) -> np.ndarray | None:
        """Return the picture of a run as in `Thumbnails`; None if it has none, or until it has arrived."""
        return self._pictures.get(run)

    def want(self, runs: Iterable[str]) -> None:
        """Ask for the pictures of the runs that are shown now; earlier ones that were not asked for yet are dropped."""
        self._wanted = {run: None for run in runs if run not in self._pictures}
        if self._wanted:
            self._timer.start()

    def _forget(self, run: str) -> None:
        self._pictures.pop(run, None)

    def _read(self) -> None:
        if self._asking or not self._wanted or not self._studio.ready:
            return
        runs = list(self._wanted)[:_CHUNK]
        for run in runs:
            del self._wanted[run]
        self._asking = True

        def take(reply: Reply) -> None:
            self._asking = False
            if isinstance(reply, Thumbnails):
                self._keep(runs, reply.pictures)

        self._studio.ask(ReadThumbnails(runs=runs, pixels=self.pixels), take, self._refuse)

    def _refuse(self, _error: ErrorInfo) -> None:
        self._asking = False  # runs without a picture are shown without one

    def _keep(self, runs: list[str], pictures: dict[str, np.ndarray]) -> None:
        for run in runs:
            picture = pictures.get(run)
            self._pictures[run] = picture if picture is not None and len(picture) == self.pixels else None
            self._pictures.move_to_end(run)
        while len(self._pictures) > _KEPT:
            self._pictures.popitem(last=False)
        self.arrived.emit()
        self._timer.start()
