"""The line above the planes: what the lab does or why it cannot, its step, and how often the planes are painted."""

from __future__ import annotations

from collections.abc import Collection

from PySide6.QtCore import QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from nfkd.protocol.lab import LAB_ROLES
from nfkd.protocol.roles import Role
from nfkd_gui.model.lab import LabModel
from nfkd_gui.panels.lab_cell import LEARNERS
from nfkd_gui.panels.lab_planes import LabPlanes
from nfkd_gui.theme import set_space
from nfkd_gui.widgets.labels import ElidedLabel, ToneLabel, TypeLabel

_SECOND = 1000
_REPAIR = "Restart, or change a setting."


class LabStatus(QWidget):
    """Says what the lab does."""

    def __init__(self, lab: LabModel, planes: LabPlanes, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab, self._planes = lab, planes
        self.message = ElidedLabel(parent=self)
        self.message.setObjectName("lab.message")
        self.count = TypeLabel("strong", parent=self)
        self.count.setObjectName("lab.count")
        self.rate = ToneLabel(parent=self)
        self.rate.setObjectName("lab.rate")
        self.rate.setToolTip("How often the planes were painted in the last second.")
        self._problem = self._refusal = ""
        self._roles: Collection[Role] = LAB_ROLES
        self._painted = 0
        self._clock = QTimer(self)
        self._clock.setInterval(_SECOND)
        self._clock.timeout.connect(self._show_rate)
        line = QHBoxLayout(self)
        set_space(line, 12)
        line.addWidget(self.message, 1)
        line.addWidget(self.count)
        line.addWidget(self.rate)

    @property
    def has_problem(self) -> bool:
        """Whether it says what is wrong."""
        return bool(self._problem)

    def show_roles(self, roles: Collection[Role]) -> None:
        """Name only some of the flows."""
        self._roles = roles
        self.show_lab()

    def show_refusal(self, text: str) -> None:
        """Say why a file cannot be used; an empty text removes it."""
        self._refusal = text
        self.show_lab()

    def show_lab(self) -> None:
        """Show the newest frame, or why a request or a file was refused."""
        frame, problem = self._lab.frame, self._find_problem()
        self._problem = problem
        self.message.set_tone("error" if problem else "muted")
        self.message.setText(problem or describe_phase(self._lab, self._roles))
        self.count.setText("" if frame is None else f"Step {frame.step:,}")

    def _find_problem(self) -> str:
        frame, error = self._lab.frame, self._lab.error
        if self._refusal:
            return self._refusal
        if error is not None:
            return " ".join(text for text in (f"{error.title}.", error.cause, error.action) if text)
        return f"{frame.message} {_REPAIR}" if frame is not None and frame.message else ""

    def _show_rate(self) -> None:
        painted = self._planes.painted
        rate, self._painted = painted - self._painted, painted
        self.rate.setText(f"{rate} frames/s" if rate > 1 else "")

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._clock.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._clock.stop()


def describe_phase(lab: LabModel, roles: Collection[Role]) -> str:
    """Return what a lab does, in one sentence that names only some of its flows."""
    frame, training = lab.frame, lab.state.training
    if lab.info is None or frame is None:
        return "The lab opens …"
    if frame.phase == "teacher":
        steps = f"{frame.step:,} of {training.teacher_steps:,} steps"
        return (
            f"Training the teacher, {steps}" if frame.playing else f"The teacher is trained first, {steps}: press Play."
        )
    if frame.phase == "done":
        return f"All {training.student_steps:,} steps are made: restart, or set a larger budget."
    students = " the students" if LEARNERS & set(roles) else ""
    doing = f"Training{students}" if frame.playing else "Paused"
    return f"{doing}, {frame.step:,} of {training.student_steps:,} steps"
