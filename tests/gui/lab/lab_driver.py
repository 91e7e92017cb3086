"""A lab whose requests are answered in the test's thread, by the engine's own training."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QAbstractButton, QWidget

from nfkd.config import ConfigError
from nfkd.config.datasets import parse_data_toml
from nfkd.config.lab import LabConfig
from nfkd.data import load_dataset
from nfkd.lab.own_points import read_points
from nfkd.lab.teacher_cache import TeacherCache
from nfkd.lab.training import LabTraining
from nfkd.protocol.data import DataPreview, PreviewData
from nfkd.protocol.events import ErrorInfo
from nfkd.protocol.lab import (
    LAB_ROLES,
    ChangeLab,
    CloseLab,
    ControlLab,
    LabFrame,
    LabPicture,
    OpenLab,
    ProbeLab,
    ReadLab,
    ReadLabPoints,
)
from nfkd.protocol.requests import Done
from nfkd.protocol.roles import Role
from nfkd_gui.model.preferences import Preferences
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.lab_plane import LabPlane
from nfkd_gui.panels.lab_view import LabView

NAME = "lab 1"


def small_state() -> LabConfig:
    """Return a state with small flows and few steps."""
    return LabConfig.first().with_values({
        "data.count": 600, "teacher.steps": 3, "teacher.hidden": 16, "student.hidden": 8, "training.teacher_steps": 20,
        "training.student_steps": 30, "training.batch_size": 64, "monitor.temperature": 1.0,
        "distillation.pool.size": 100,
    })  # fmt: skip


_drawn: dict[bytes, dict[Role, LabPicture]] = {}


class DrawnOnce(LabTraining):
    """A training that draws the flows of equal states and weights once in all tests, which begin with the same."""

    def pictures(self, known: Mapping[Role, int] | None = None) -> dict[Role, LabPicture]:
        flows = [self.flow(role) for role in LAB_ROLES]
        about = (known, self.steps_of(), [flow.initialized for flow in flows], self.config.to_toml())
        weights = (value.numpy().tobytes() for flow in flows for value in flow.state_dict().values())
        key = sha256(b"".join((repr(about).encode(), *weights))).digest()
        if key not in _drawn:
            _drawn[key] = super().pictures(known)
        return dict(_drawn[key])


class LabStudio(Studio):
    """A studio that answers requests about labs when it is told to."""

    ready = True  # type: ignore[assignment]

    def __init__(self, folder: Path, cache: TeacherCache) -> None:
        super().__init__(Preferences(theme="light"), folder / "studio.json")
        self._cache = cache
        self.waiting: list[tuple[Any, Any, Any]] = []
        self.asked: list[Any] = []
        self.training: LabTraining | None = None
        self.playing = False
        self.number = 0

    def ask(self, request: Any, on_reply: Any, on_error: Any, *, key: str = "") -> None:
        del key
        self.waiting.append((request, on_reply, on_error))

    @property
    def flows(self) -> LabTraining:
        assert self.training is not None
        return self.training

    def frame(self, **changes: Any) -> LabFrame:
        """Return the present frame."""
        self.number += 1
        flows = self.flows
        frame = LabFrame(
            lab=NAME, number=self.number, phase=flows.phase, step=flows.step_number, playing=self.playing,
            pictures=flows.pictures(), curves=flows.curves, noise=flows.noise.numpy(),
        )  # fmt: skip
        return msgspec.structs.replace(frame, **changes)

    def answer(self, **changes: Any) -> None:
        """Answer all requests, and those that come of the replies; frames are read last, once, with some changes."""
        read = False
        while True:
            others = [entry for entry in self.waiting if not isinstance(entry[0], ReadLab)]
            if not others and read:
                return
            reads = [entry for entry in self.waiting if isinstance(entry[0], ReadLab)]
            self.waiting = reads
            for request, on_reply, on_error in others:
                self._reply(request, on_reply, on_error)
            if not others:
                read, self.waiting = True, []
                for _request, on_reply, _on_error in reads:
                    on_reply(self.frame(**changes))

    def _reply(self, request: Any, on_reply: Any, on_error: Any) -> None:
        self.asked.append(request)
        try:
            reply = self._answer(request)
        except ConfigError as error:
            on_error(ErrorInfo(title="Refused", cause=str(error), action="Change it."))
        else:
            on_reply(reply)

    def _answer(self, request: Any) -> Any:
        match request:
            case OpenLab():
                self.training = DrawnOnce(LabConfig.from_toml(request.state), self._cache)
                return self.training.opened(NAME)
            case ChangeLab():
                self.flows.change(LabConfig.from_toml(request.state))
                return self.flows.opened(NAME)
            case ProbeLab():
                return self.flows.probe(NAME, request.point)
            case PreviewData():
                points = load_dataset(parse_data_toml(request.config)).train.values[:200]
                return DataPreview(points=points)
            case ReadLabPoints():
                return read_points(parse_data_toml(request.data))
            case _:
                self._control(request)
                return Done()

    def _control(self, request: Any) -> None:
        if not isinstance(request, ControlLab):
            assert isinstance(request, CloseLab)
        elif request.action == "restart":
            self.flows.restart()
        elif request.action == "step":
            for _ in range(request.steps):
                self.flows.step()
        self.playing = isinstance(request, ControlLab) and request.action == "play"


class Driven:
    """A view of a lab, and what a user does with it."""

    def __init__(self, view: LabView, lab: Any, studio: LabStudio, qtbot: Any) -> None:
        self.view, self.lab, self.studio, self.qtbot = view, lab, studio, qtbot

    def find(self, name: str, kind: type = QWidget) -> Any:
        found = self.view.findChild(kind, name)
        assert found is not None, name
        return found

    def click(self, name: str) -> None:
        button = self.find(name, QAbstractButton)
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        self.studio.answer()

    def press(self, key: Qt.Key, widget: QWidget | None = None) -> None:
        self.qtbot.keyClick(widget or self.view, key)
        self.studio.answer()

    def train(self, steps: int) -> None:
        self.lab.control("step", steps)
        self.studio.answer()

    def plane(self, role: str) -> LabPlane:
        return self.find(f"lab.plane.{role}", LabPlane)

    def points(self, role: str) -> np.ndarray:
        """Return the states of a plane's points, (layers + 1, n, 2)."""
        flow = self.plane(role).flow
        assert flow is not None
        return flow.points

    def ring(self, role: str) -> np.ndarray:
        """Return where a plane draws the probe, (1, 2)."""
        x, y = self.plane(role).probe.getData()
        return np.array([x, y]).T

    def way(self, role: str) -> np.ndarray:
        """Return the line of the probe's way, (n, 2)."""
        x, y = self.plane(role).path.getData()
        return np.array([x, y]).T

    def text(self, name: str) -> str:
        return self.find(name).text()

    def pixel_of(self, role: str, x: float, y: float) -> QPoint:
        """Return the pixel of a plane's viewport at a place."""
        plane = self.plane(role)
        return plane.mapFromScene(plane.canvas.getViewBox().mapViewToScene(QPointF(x, y)))

    def drag(self, role: str, *places: tuple[float, float]) -> None:
        """Press at the first place of a plane, move over the others and release there."""
        viewport = self.plane(role).viewport()
        pixels = [self.pixel_of(role, *place) for place in places]
        self.qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=pixels[0])
        for pixel in pixels[1:]:
            self.qtbot.mouseMove(viewport, pixel)
        self.qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=pixels[-1])
        self.studio.answer()
