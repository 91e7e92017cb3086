"""What the engine knows of examples between the layers of the shown run's flows. No widgets."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QElapsedTimer, QObject, QTimer, Signal

from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.inspection import LayerStates, Origin, PlaneStates, ReadLayers, ReadPlane
from nfkd.protocol.requests import Reply
from nfkd_gui.model.inspection import Inspection
from nfkd_gui.model.studio import Studio

_APART = 1000
"""Milliseconds between two requests because of newer weights, at least."""
Grid = Literal["noise", "data"]
Rest = Literal["mean", "noise"]


class FlowStatesModel(QObject):
    """Asks for the states of points and of one example, and keeps the newest replies of the shown run and seed.

    Attributes
    ----------
    plane
        Points, grid and rings; None while they are not known.
    layers
        One example on its way, for images, and for the probe in the plane.
    origin
        The example; None for no example.
    grid, rest
        Settings of the requests.
    error
        Why the last request was refused.
    """

    plane_changed = Signal()
    layers_changed = Signal()
    failed = Signal()
    refresh_due = Signal()
    """Newer weights may be requested now."""

    def __init__(self, studio: Studio, count: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._studio, self._count = studio, count
        self.plane: PlaneStates | None = None
        self.layers: LayerStates | None = None
        self.origin: Origin | None = None
        self.grid: Grid = "noise"
        self.rest: Rest = "mean"
        self.error: ErrorInfo | None = None
        self._plane = Inspection(studio, self)
        self._plane.replied.connect(self._take_plane)
        self._plane.failed.connect(self._fail)
        self._layers = Inspection(studio, self)
        self._layers.replied.connect(self._take_layers)
        self._layers.failed.connect(self._fail)
        self._since = QElapsedTimer()
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self.refresh_due)

    def forget(self) -> None:
        """Drop everything: another run or seed is shown."""
        self._plane.cancel()
        self._layers.cancel()
        self._pause.stop()
        self._since.invalidate()
        self.plane = self.layers = self.error = None

    def may_refresh(self) -> bool:
        """Return whether the last request is long enough ago; if not, `refresh_due` will be emitted."""
        if not self._since.isValid() or self._since.elapsed() >= _APART:
            return True
        if not self._pause.isActive():
            self._pause.start(int(_APART - self._since.elapsed()))
        return False

    def ask_plane(self) -> None:
        """Ask for points, grid and rings."""
        if (view := self._studio.view) is not None:
            self._since.start()
            ticket = self._plane.ticket
            request = ReadPlane(run=view.row.run, seed=self._studio.seed, count=self._count, grid=self.grid,
                                ticket=ticket)  # fmt: skip
            self._plane.ask(request)

    def ask_layers(self) -> None:
        """Ask for the example's states."""
        if (view := self._studio.view) is not None and self.origin is not None:
            self._since.start()
            ticket = self._layers.ticket
            request = ReadLayers(run=view.row.run, seed=self._studio.seed, origin=self.origin, rest=self.rest,
                                 ticket=ticket)  # fmt: skip
            self._layers.ask(request)

    def _is_shown(self, reply: Reply) -> bool:
        view = self._studio.view
        return view is not None and (reply.run, reply.seed) == (view.row.run, self._studio.seed)  # type: ignore[union-attr]

    def _take_plane(self, reply: Reply) -> None:
        if isinstance(reply, PlaneStates) and self._is_shown(reply):
            self.plane, self.error = reply, None
            self.plane_changed.emit()

    def _take_layers(self, reply: Reply) -> None:
        if isinstance(reply, LayerStates) and self._is_shown(reply):
            self.layers, self.error = reply, None
            self.layers_changed.emit()

    def _fail(self, error: ErrorInfo) -> None:
        self.error = error
        self.failed.emit()
