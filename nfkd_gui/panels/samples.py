"""Samples of every flow from the same latents, beside the data; for data in the plane, densities with samples."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget

from nfkd.protocol.events import DensityDrawn, ErrorInfo, RunEvent, SamplesDrawn, StageStarted
from nfkd.protocol.requests import Reply, Sample, Samples
from nfkd_gui.panels.base import ROLES, SPACE, Panel, StudioPort, heading
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plane import Plane
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.labels import ToneLabel

_IMAGES, _POINTS = 64, 1000
_HUNDRED = 100
_NAMES = {"data": "Data", "teacher": "Teacher", "student": "Student", "baseline": "Baseline"}


class _Column(QWidget):
    """One flow's samples under its name: a mosaic for images, the plane for points."""

    def __init__(self, role: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.role = role
        self.setObjectName(f"samples.{role}")
        self._title = heading(_NAMES[role], self)
        self._caption = ToneLabel(parent=self)
        self.mosaic = Mosaic(parent=self)
        self.plane: Plane | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(SPACE // 2)
        for widget in (self._title, self._caption):
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self._layout.addWidget(widget)
        self._layout.addWidget(self.mosaic, 1)
        self.restyle()

    def restyle(self) -> None:
        self._title.setStyleSheet(f"color: {role_colour(self.role)};")
        if self.plane is not None:
            self.plane.restyle()

    def show_samples(self, samples: np.ndarray | None, density: DensityDrawn | None, caption: str) -> None:
        self._caption.setText(caption)
        self._caption.setToolTip(caption)
        if samples is None:
            self.mosaic.clear()
            if self.plane is not None:
                self.plane.hide()
            return
        flat = samples.ndim == 2
        self.mosaic.setVisible(not flat)
        if not flat:
            self.mosaic.show_images(samples)
        elif samples.shape[1] == 2:
            self._show_plane(samples, density)

    def _show_plane(self, points: np.ndarray, density: DensityDrawn | None) -> None:
        if self.plane is None:
            self.plane = Plane(self)
            self._layout.addWidget(self.plane, 1)
        self.plane.show()
        self.plane.show_density(density)
        self.plane.show_points(points, "#FFFFFF" if density is not None else role_colour(self.role))


class SamplesPanel(Panel):
    """Shows the live pictures as they come; as soon as the user turns the temperature, samples of their own."""

    title = "Samples"
    name = "samples"
    waits_for = "Samples of teacher, student and baseline from the same latents"

    def __init__(self, studio: StudioPort, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self._reply: Samples | None = None
        self._own = False
        self._noise = 0
        self._asked_for: tuple[object, ...] | None = None
        self._words = ToneLabel(parent=self.content)
        self._columns = {role: _Column(role, self.content) for role in ("data", *ROLES)}
        self._lay_out()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addLayout(self._controls())
        row = QHBoxLayout()
        row.setSpacing(2 * SPACE)
        for column in self._columns.values():
            row.addWidget(column, 1)
        layout.addLayout(row, 1)

    def _controls(self) -> QHBoxLayout:
        label = QLabel("&Temperature", self.content)
        self._temperature = QSlider(Qt.Orientation.Horizontal, self.content)
        self._temperature.setObjectName("samples.temperature")
        self._temperature.setRange(0, 150)
        self._temperature.setValue(70)
        self._temperature.setMaximumWidth(240)
        self._temperature.setToolTip("Scale of the noise that the samples are made of.")
        self._temperature.valueChanged.connect(self._turned)
        label.setBuddy(self._temperature)
        self._value = QLabel("0.70", self.content)
        self._value.setMinimumWidth(32)
        again = QPushButton("&New noise", self.content)
        again.setObjectName("samples.noise")
        again.setToolTip("Draw other latents, the same for every flow.")
        again.clicked.connect(self._new_noise)
        self._live = QPushButton("&Live", self.content)
        self._live.setObjectName("samples.live")
        self._live.setCheckable(True)
        self._live.setChecked(True)
        self._live.setToolTip("Follow the pictures that the run draws as it trains.")
        self._live.clicked.connect(self._go_live)
        row = QHBoxLayout()
        row.setSpacing(SPACE)
        for widget in (label, self._temperature, self._value, again, self._live):
            row.addWidget(widget)
        row.addSpacing(SPACE)
        row.addWidget(self._words, 1)
        return row

    # --- what the user wants --------------------------------------------------------------------------------------

    def _turned(self) -> None:
        self._value.setText(f"{self._temperature.value() / _HUNDRED:.2f}")
        self._set_own(True)

    def _new_noise(self) -> None:
        self._noise += 1
        self._set_own(True)

    def _go_live(self) -> None:
        self._set_own(False)

    def _set_own(self, own: bool) -> None:
        self._own = own
        self._live.setChecked(not own)
        self._asked_for = None
        self._ask()
        self.mark()

    # --- the engine -----------------------------------------------------------------------------------------------

    def run_changed(self) -> None:
        self._reply = None
        self._asked_for = None
        self._words.setText("")

    def concerns(self, event: RunEvent) -> bool:
        return isinstance(event, (SamplesDrawn, DensityDrawn, StageStarted))

    def has_content(self) -> bool:
        return any((stage := self.stage(role)) is not None and stage.samples is not None for role in ROLES)

    def _ask(self) -> None:
        """Ask for samples, once for each state of the run; the reply also brings examples of the data."""
        if self.view is None or not self.has_content():
            return
        drawn = [self.stage(role) for role in ROLES]
        steps = tuple(stage.samples.step if stage is not None and stage.samples is not None else -1 for stage in drawn)
        wanted = (self._temperature.value(), self._noise, steps if self._own else steps.count(-1))
        if wanted == self._asked_for:
            return
        self._asked_for = wanted
        plane = (
            len(self.view.seeds[self.studio.seed].event_shape) == 1 if self.studio.seed in self.view.seeds else False
        )
        request = Sample(
            run=self.view.row.run,
            seed=self.studio.seed,
            count=_POINTS if plane else _IMAGES,
            temperature=self._temperature.value() / _HUNDRED,
            noise_seed=self._noise,
        )
        self.studio.ask(request, self._take_reply, self._take_error, key="samples")

    def _take_reply(self, reply: Reply) -> None:
        here = self.view is not None and isinstance(reply, Samples) and reply.run == self.view.row.run
        if here and isinstance(reply, Samples) and reply.seed == self.studio.seed:
            self._reply = reply
            self._words.setText("")
            self.mark()

    def _take_error(self, error: ErrorInfo) -> None:
        self._words.setText(f"{error.title}. {error.action}")

    # --- drawing --------------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        for column in self._columns.values():
            column.restyle()

    def draw(self) -> None:
        self._ask()
        reply = self._reply
        real = reply.real if reply is not None else None
        self._columns["data"].show_samples(real, None, "validation examples")
        for role in ROLES:
            column = self._columns[role]
            stage = self.stage(role)
            if self._own and reply is not None:
                samples = reply.samples.get(role)
                caption = f"temperature {reply.temperature:.2f}" if samples is not None else "not trained yet"
                column.show_samples(samples, reply.densities.get(role), caption)
            elif stage is not None and stage.samples is not None:
                drawn = stage.samples
                caption = f"step {drawn.step:,}, temperature {drawn.temperature:.2f}"
                column.show_samples(drawn.samples, stage.density, caption)
            else:
                column.show_samples(None, None, "not trained yet")
