"""A flow panel that shows a recorded run, with the replies that the engine computes from its weights."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PySide6.QtGui import QImage

import nfkd.inspect
from nfkd.engine.explore import Explorer
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.inspection import InspectMessage, Origin
from nfkd.protocol.view import RunView
from nfkd.runs.errors import RunError
from nfkd.runs.reader import open_run
from nfkd_gui.panels.flow import FlowPanel
from tests.gui.pixels import channels

DATA = Path(__file__).resolve().parents[2] / "data"
LARGE, SMALL = (1240, 780), (560, 380)


def recorded(name: str, folder: Path) -> Path:
    """Unpack a recorded run."""
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(folder)
    return folder / name


def view_of(run: Path) -> RunView:
    return RunView.from_snapshot(open_run(run).snapshot())


class Driven:
    """A panel and the engine's replies to what it asks."""

    def __init__(self, show: Any, studio: Any, run: Path, size: tuple[int, int] = LARGE) -> None:
        self.studio, self.run, self.view = studio, run, view_of(run)
        self._explorer = Explorer()
        self.asked: list[Any] = []
        studio.seed = min(self.view.seeds)
        self.panel: FlowPanel = show(FlowPanel, SimpleNamespace(view=self.view, panel=None), size)
        self.answer()

    def answer(self) -> None:
        """Answer what was asked, and draw; also what is asked then."""
        while self.studio.asked:
            request, reply, fail, _key = self.studio.asked.pop(0)
            if not isinstance(request, InspectMessage):
                continue
            self.asked.append(request)
            try:
                reply(self._explorer.answer(request))
            except RunError as error:
                fail(ErrorInfo(title=error.title, cause=error.cause, action=error.action))
            self.panel.refresh()
        self.panel.refresh()


def greys(image: QImage) -> np.ndarray:
    """Return the grey levels of a picture, (height, width)."""
    return channels(image)[..., 0]


def known(driven: Driven, origin: Origin) -> Any:
    """Return the states of an example, computed once more."""
    return nfkd.inspect.layers(nfkd.inspect.open_run(driven.run, driven.studio.seed), origin)
