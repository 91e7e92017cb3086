"""The lab as the studio sees it: its state, the newest pictures of its flows, and the probe. No widgets."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Literal

import numpy as np
from msgspec import structs
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
        self.state = self._accepted = LabConfig.first()
        self.info: LabOpened | None = None
        self.frame: LabFrame | None = None
        self.pictures: dict[Role, LabPicture] = {}
        self.probe: LabProbe | None = None
        self.error: ErrorInfo | None = None
        self._watched = self._reading = self._opening = False
        self._commands: deque[LabConfig | ControlLab] = deque()
        self._sent: LabConfig | ControlLab | None = None
        self._seen = -1
        studio.engine_changed.connect(self._engine_changed)

    # --- opening ------------------------------------------------------------------------------------------------------

    def watch(self, *, watched: bool) -> None:
        """Read frames while the lab is on the screen; it pauses soon after nobody reads them."""
        self._watched = watched
        if watched:
            self._open() if self.info is None else self._read()

    def close(self) -> None:
        """Close the lab in the engine."""
        self._watched = False
        self._forget()

    def _forget(self) -> None:
        """Close the lab in the engine, if it is open there."""
        if self.info is not None and self._studio.ready:
            self._studio.ask(CloseLab(lab=self.info.lab), _ignore, _ignore)
        self.info, self._reading, self._sent = None, False, None
        self._commands.clear()

    def _open(self) -> None:
        if self._studio.ready and not self._opening and self._watched:
            self._opening, state = True, self.state
            self._studio.ask(
                OpenLab(state=state.to_toml()), lambda reply: self._opened(reply, state), self._open_failed
            )

    def _engine_changed(self) -> None:
        if not self._studio.ready:
            if self.info is not None:  # the engine was lost, and with it what the commands are about
                self._commands.clear()
            self.info, self._opening, self._reading, self._sent = None, False, False, None
        elif self._watched and self.info is None:
            self._open()

    def _opened(self, reply: Reply, state: LabConfig) -> None:
        self._opening = False
        if not isinstance(reply, LabOpened):
            return
        if not self._watched:
            self._studio.ask(CloseLab(lab=reply.lab), _ignore, _ignore)
            return
        self._seen = -1
        self._accepted = state
        self._take(reply)
        self._send_next()  # what was changed meanwhile
        self._read()

    def _take(self, reply: LabOpened) -> None:
        self.info, self.error = reply, None
        if reply.since >= 0 or self.frame is None:
            self._seen, self.frame, self.pictures = reply.since, None, {}
        self.opened.emit()
        self._ask_probe()

    def _open_failed(self, error: ErrorInfo) -> None:
        self._opening = False
        self._fail(error)

    def _fail(self, error: ErrorInfo) -> None:
        self.error = error
        self.failed.emit(error)

    # --- changes ------------------------------------------------------------------------------------------------------

    def open_state(self, state: LabConfig) -> None:
        """Show another state; flows that it does not concern go on."""
        self.state, self.error = state, None
        if self.info is None and not self._opening:
            self._open()
        else:
            self._send(state)
        self.state_changed.emit()
        self._ask_probe()

    def set_values(self, values: dict[str, Any]) -> bool:
        """Change fields of the state by their dotted paths; return whether the values are valid.

        `error` says what is wrong with values that are not. If the engine refuses a change, the state returns to the
        last that it accepted.
        """
        shown = {path.removeprefix("lab."): value for path, value in values.items() if path.startswith("lab.")}
        if len(shown) == len(values) and shown.keys() <= ONLY_SHOWN:
            self._set_shown(shown)
            return True
        try:
            state = self.state.with_values(values)
        except ConfigError as error:
            self._fail(ErrorInfo(title="The value cannot be used", cause=str(error), action="Correct it."))
            return False
        if state != self.state:
            self.open_state(state)
        return True

    def _set_shown(self, values: dict[str, Any]) -> None:
        section = self.state.lab.model_copy(update=values)
        self.state = self.state.model_copy(update={"lab": section})
        self.state_changed.emit()
        if "probe" in values:
            self._ask_probe()

    # --- commands: the engine gets them in their order, one after the other -------------------------------------------

    def _send(self, command: LabConfig | ControlLab) -> None:
        if isinstance(command, LabConfig) and self._commands and isinstance(self._commands[-1], LabConfig):
            self._commands[-1] = command  # only the newest of several changes counts
        else:
            self._commands.append(command)
        self._send_next()

    def _send_next(self) -> None:
        if self.info is None or self._sent is not None or not self._commands:
            return
        self._sent = self._commands.popleft()
        if isinstance(self._sent, LabConfig):
            request: Request = ChangeLab(lab=self.info.lab, state=self._sent.to_toml())
        else:
            request = structs.replace(self._sent, lab=self.info.lab)
        self._studio.ask(request, self._done, self._refused)

    def _done(self, reply: Reply) -> None:
        sent, self._sent = self._sent, None
        if isinstance(reply, LabOpened) and isinstance(sent, LabConfig):
            self._accepted = sent
            self._take(reply)
        self._send_next()

    def _refused(self, error: ErrorInfo) -> None:
        sent, self._sent = self._sent, None
        if isinstance(sent, LabConfig) and not any(isinstance(command, LabConfig) for command in self._commands):
            look = {name: getattr(self.state.lab, name) for name in ONLY_SHOWN}
            self.state = self._accepted
            self._set_shown(look)
        self._fail(error)
        self._send_next()

    # --- training -----------------------------------------------------------------------------------------------------

    @property
    def playing(self) -> bool:
        """Whether steps are being made."""
        return self.frame is not None and self.frame.playing

    def control(self, action: Literal["play", "pause", "step", "restart"], steps: int = 1) -> None:
        """Play, pause, make some steps, or start the flows anew, after all earlier changes."""
        self._send(ControlLab(lab="", action=action, steps=steps))
        if self.info is None:
            self._open()

    @property
    def settled(self) -> bool:
        """Whether the engine has answered every change and command."""
        return self.info is not None and self._sent is None and not self._commands

    def toggle(self) -> None:
        """Play, or pause."""
        self.control("pause" if self.playing else "play")

    # --- frames -------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self._watched and not self._reading and self.info is not None:
            self._reading = True
            self._studio.ask(ReadLab(lab=self.info.lab, after=self._seen), self._show, self._read_failed)

    def _show(self, reply: Reply) -> None:
        self._reading = False
        known = isinstance(reply, LabFrame) and self.info is not None and reply.lab == self.info.lab
        if isinstance(reply, LabFrame) and known and reply.number > self._seen:
            self._seen, self.frame = reply.number, reply
            self.pictures = {role: picture for role, picture in self.pictures.items() if role in reply.shown}
            self.pictures |= reply.pictures
            self.frame_changed.emit()
            if reply.pictures:
                self._ask_probe()
        self._read()

    def _read_failed(self, error: ErrorInfo) -> None:
        """Open the lab again: the engine closed it for other windows, or was started again."""
        self._forget()
        if self._studio.ready:
            title = "The lab was opened again"
            action = "Press Play to train again."
            self._fail(ErrorInfo(title=title, cause=f"{error.cause} The students start anew.", action=action))
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
