"""The lab as the studio sees it: its state, the newest pictures of its flows, and the probe. No widgets."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from PySide6.QtCore import QObject, Signal

from nfkd.config.lab import LabConfig
from nfkd.config.problems import ConfigError
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.lab import (
    ChangeLab,
    CloseLab,
    ControlLab,
    LabFrame,
    LabOpened,
    LabPicture,
    LabProbe,
    OpenLab,
    ProbeLab,
    ReadLab,
)
from nfkd.protocol.requests import Reply, Request
from nfkd.protocol.roles import Role
from nfkd_gui.model.studio import Studio

ONLY_SHOWN = frozenset({"show", "data", "grid", "arrows", "contours", "position", "probe"})
"""Fields of the section ``lab`` that the engine need not know."""
_NO_GAP = 0.02
"""Nats by which the teacher must be better than the student alone for a gap to be shown."""


class LabModel(QObject):
    """Opens a lab in the engine, and keeps what it shows.

    Attributes
    ----------
    state
        The whole state; change it with `set_values`.
    info
        Flows, points and extent of the open lab; None while it opens.
    frame
        The newest frame; None before the first.
    pictures
        The newest picture of each flow.
    probe
        The path of the probe through the flows; None without a probe.
    error
        Why the last change was refused; None if it was not.
    """

    state_changed = Signal()
    opened = Signal()
    """The lab was opened, or its flows started anew."""
    frame_changed = Signal()
    probe_changed = Signal()
    failed = Signal(object)
    """Why a request was refused: an `ErrorInfo`."""

    def __init__(self, studio: Studio, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._studio = studio
        self.state = LabConfig.first()
        self.info: LabOpened | None = None
        self.frame: LabFrame | None = None
        self.pictures: dict[Role, LabPicture] = {}
        self.probe: LabProbe | None = None
        self.error: ErrorInfo | None = None
        self._watched = self._reading = self._opening = False
        self._wanted: ControlLab | None = None
        studio.engine_changed.connect(self._engine_changed)

    # --- opening ------------------------------------------------------------------------------------------------------

    def watch(self, *, watched: bool) -> None:
        """Read frames while the lab is on the screen; it pauses soon after nobody reads them."""
        self._watched = watched
        if watched:
            self._open() if self.info is None else self._read()

    def open_state(self, state: LabConfig) -> None:
        """Show another state; flows that it does not concern go on."""
        self.state = state
        self.error = None
        self.state_changed.emit()
        if self.info is None:
            self._open()
        else:
            self._send_change()
        self._ask_probe()

    def close(self) -> None:
        """Close the lab in the engine."""
        if self.info is not None and self._studio.ready:
            self._studio.ask(CloseLab(lab=self.info.lab), _ignore, _ignore)
        self.info = None

    def _open(self) -> None:
        if self._studio.ready and not self._opening and self._watched:
            self._opening = True
            self._studio.ask(OpenLab(state=self.state.to_toml()), self._opened, self._open_failed)

    def _engine_changed(self) -> None:
        if not self._studio.ready:
            self.info, self._opening, self._reading = None, False, False
        elif self._watched and self.info is None:
            self._open()

    def _opened(self, reply: Reply) -> None:
        self._opening = False
        if isinstance(reply, LabOpened):
            self.frame = None
            self._take(reply)
            wanted, self._wanted = self._wanted, None
            if wanted is not None:
                self.control(wanted.action, wanted.steps)
            self._read()

    def _take(self, reply: LabOpened) -> None:
        self.info, self.error, self.pictures = reply, None, {}
        self.opened.emit()
        self._ask_probe()

    def _open_failed(self, error: ErrorInfo) -> None:
        self._opening = False
        self._fail(error)

    def _fail(self, error: ErrorInfo) -> None:
        self.error = error
        self.failed.emit(error)

    # --- changes ------------------------------------------------------------------------------------------------------

    def set_values(self, values: dict[str, Any]) -> bool:
        """Change fields of the state by their dotted paths; return whether the values are valid.

        `error` says what is wrong with values that are not.
        """
        shown = {path.removeprefix("lab."): value for path, value in values.items() if path.startswith("lab.")}
        if len(shown) == len(values) and shown.keys() <= ONLY_SHOWN:
            section = self.state.lab.model_copy(update=shown)
            self.state = self.state.model_copy(update={"lab": section})
            self.state_changed.emit()
            if "probe" in shown:
                self._ask_probe()
            return True
        try:
            state = self.state.with_values(values)
        except ConfigError as error:
            self._fail(ErrorInfo(title="The value cannot be used", cause=str(error), action="Correct it."))
            return False
        if state != self.state:
            self.open_state(state)
        return True

    def _send_change(self) -> None:
        if self.info is not None:
            request = ChangeLab(lab=self.info.lab, state=self.state.to_toml())
            self._studio.ask(request, self._changed, self._fail, key="lab change")

    def _changed(self, reply: Reply) -> None:
        if isinstance(reply, LabOpened):
            self._take(reply)

    # --- training -----------------------------------------------------------------------------------------------------

    @property
    def playing(self) -> bool:
        """Whether steps are being made."""
        return self.frame is not None and self.frame.playing

    def control(self, action: Literal["play", "pause", "step", "restart"], steps: int = 1) -> None:
        """Play, pause, make some steps, or start the flows anew; before the lab is open, as soon as it is."""
        request = ControlLab(lab="" if self.info is None else self.info.lab, action=action, steps=steps)
        if self.info is None:
            self._wanted = request
            self._open()
        else:
            if action == "restart":
                self.pictures = {}
            self._studio.ask(request, _ignore, self._fail)

    def toggle(self) -> None:
        """Play, or pause."""
        self.control("pause" if self.playing else "play")

    # --- frames -------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self._watched and not self._reading and self.info is not None:
            self._reading = True
            after = -1 if self.frame is None or not self.pictures else self.frame.number
            self._studio.ask(ReadLab(lab=self.info.lab, after=after), self._show, self._read_failed)

    def _show(self, reply: Reply) -> None:
        self._reading = False
        if isinstance(reply, LabFrame) and self.info is not None and reply.lab == self.info.lab:
            newer = self.frame is None or reply.number > self.frame.number
            self.frame = reply
            self.pictures |= reply.pictures
            if newer or reply.pictures:
                self.frame_changed.emit()
            if reply.pictures:
                self._ask_probe()
        self._read()

    def _read_failed(self, error: ErrorInfo) -> None:
        """Open the lab again: the engine closed it for others, or was started again."""
        del error
        self._reading, self.info = False, None
        self._open()

    # --- the probe ----------------------------------------------------------------------------------------------------

    def _ask_probe(self) -> None:
        if not self.state.lab.probe:
            if self.probe is not None:
                self.probe = None
                self.probe_changed.emit()
        elif self.info is not None:
            x, y = self.state.lab.probe
            self._ask_quietly(ProbeLab(lab=self.info.lab, point=(float(x), float(y))))

    def _ask_quietly(self, request: Request) -> None:
        self._studio.ask(request, self._show_probe, _ignore, key="lab probe")

    def _show_probe(self, reply: Reply) -> None:
        if isinstance(reply, LabProbe) and self.state.lab.probe:
            self.probe = reply
            self.probe_changed.emit()

    # --- figures ------------------------------------------------------------------------------------------------------

    def curve(self, role: Role) -> np.ndarray:
        """Return steps and mean negative log p of held-out points of a flow, (n, 2)."""
        return np.empty((0, 2)) if self.frame is None else self.frame.curves.get(role, np.empty((0, 2)))

    def best(self, role: Role) -> float:
        """Return the lowest mean negative log p of held-out points so far; NaN before the first."""
        values = self.curve(role)[:, 1]
        values = values[np.isfinite(values)]
        return float(values.min()) if len(values) else math.nan

    def newest(self, role: Role) -> float:
        """Return the last mean negative log p of held-out points; NaN before the first."""
        values = self.curve(role)[:, 1]
        return float(values[-1]) if len(values) else math.nan

    @property
    def gap_closed(self) -> float:
        """Share of the gap between student alone and teacher that the student closes, by their best values so far.

        NaN where the teacher is not better than the student alone, or nothing is known yet.
        """
        gap = self.best("baseline") - self.best("teacher")
        return (self.best("baseline") - self.best("student")) / gap if gap > _NO_GAP else math.nan


def _ignore(_reply: object) -> None:
    pass
