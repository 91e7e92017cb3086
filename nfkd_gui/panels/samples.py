"""Samples of every flow from the same latents, beside the data; for data in the plane, densities with samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget

from nfkd.protocol.events import DensityDrawn, ErrorInfo, RunEvent, SamplesDrawn, StageStarted, picture_label
from nfkd.protocol.requests import Reply, Sample, Samples
from nfkd.protocol.roles import DATA, ROLES, Role, role_label
from nfkd_gui.panels.base import SPACE, LiveButton, Panel, StudioPort, heading
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plane import Plane, ScaleBar, extent_of, high_density
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.feature_pair import FeaturePair
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel, ToneLabel

_IMAGES, _POINTS = 64, 1000
_HUNDRED = 100
_NARROW = 0.6
"""The least width of a column of pictures, in heights of a row: else there are more rows."""


@dataclass(frozen=True)
class _View:
    """Which features of vectors are shown, their names, and the part of their plane; nothing for images."""

    pair: list[int]
    names: tuple[str, str]
    extent: tuple[float, float, float, float]


class _Column(QWidget):
    """One flow's samples under its name: a mosaic for images, the plane for points."""

    def __init__(self, role: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.role = role
        self.setObjectName(f"samples.{role}")
        self._title = heading(role_label(role), self)
        self._caption = ElidedLabel(parent=self)
        self.mosaic = Mosaic(parent=self)
        self.plane: Plane | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(SPACE // 2)
        self._title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for widget in (self._title, self._caption):
            self._layout.addWidget(widget)
        self._layout.addWidget(self.mosaic, 1)
        self.restyle()

    def restyle(self) -> None:
        self._title.setStyleSheet(f"color: {role_colour(self.role)};")
        if self.plane is not None:
            self.plane.restyle()

    def show_samples(
        self, samples: np.ndarray | None, density: DensityDrawn | None, highest: float, caption: str, view: _View
    ) -> None:
        self._caption.setText(caption)
        if samples is None:
            self.mosaic.clear()
            if self.plane is not None:
                self.plane.hide()
            return
        flat = samples.ndim == 2
        self.mosaic.setVisible(not flat)
        if self.plane is not None:
            self.plane.setVisible(flat)
        if not flat:
            self.mosaic.show_images(samples)
        else:
            self._show_plane(samples[:, view.pair], density, highest, view)

    def _show_plane(self, points: np.ndarray, density: DensityDrawn | None, highest: float, view: _View) -> None:
        if self.plane is None:
            self.plane = Plane(self)
            self._layout.addWidget(self.plane, 1)
        self.plane.show()
        self.plane.show_density(density, highest)
        if view.pair[0] == view.pair[1]:
            self.plane.name_axes(view.names[0], "density")
            self.plane.show_histogram(points[:, 0], role_colour(self.role), view.extent[:2])
            return
        self.plane.name_axes(*view.names)
        self.plane.show_points(points, "#FFFFFF" if density is not None else role_colour(self.role))
        if density is None:
            self.plane.frame(view.extent)


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
        self._field = QGridLayout()
        self._placed: tuple[int, list[str]] | None = None
        self._scale = ScaleBar("density", self.content)
        self._scale.hide()
        self._columns = {role: _Column(role, self.content) for role in (DATA, *ROLES)}
        self._lay_out()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addWidget(self._controls())
        self._field.setSpacing(2 * SPACE)
        row = QHBoxLayout()
        row.addLayout(self._field, 1)
        row.addWidget(self._scale)
        layout.addLayout(row, 1)
        self._arrange()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """Lay the data and the run's flows out in a row, or in several where that shows them larger."""
        shown: list[str] = [DATA, *self.roles()]
        rows = across = 1
        for rows in range(1, len(shown) + 1):
            across = -(-len(shown) // rows)
            if across <= 2 or self.width() > _NARROW * across * self.height() / rows:
                break
        if (across, shown) == self._placed:
            return
        self._placed = across, shown
        for role, column in self._columns.items():
            column.setVisible(role in shown)
            if role in shown:
                place = shown.index(role)
                self._field.addWidget(column, place // across, place % across)
        for place in range(len(self._columns)):
            self._field.setColumnStretch(place, 1 if place < across else 0)
            self._field.setRowStretch(place, 1 if place < rows else 0)

    def _controls(self) -> ControlBar:
        label = PlainLabel("&Temperature", self.content)
        self._temperature = QSlider(Qt.Orientation.Horizontal, self.content)
        self._temperature.setObjectName("samples.temperature")
        self._temperature.setRange(0, 150)
        self._temperature.setValue(70)
        self._temperature.setMinimumWidth(80)
        self._temperature.setMaximumWidth(240)
        self._temperature.setToolTip("Scale of the noise that the samples are made of.")
        self._temperature.valueChanged.connect(self._turned)
        label.setBuddy(self._temperature)
        label.setMinimumWidth(label.sizeHint().width() + SPACE)
        self._value = PlainLabel("0.70", self.content)
        self._value.setMinimumWidth(32)
        again = QPushButton("&New noise", self.content)
        again.setObjectName("samples.noise")
        again.setToolTip("Draw other latents, the same for every flow.")
        again.clicked.connect(self._new_noise)
        self._live = LiveButton(self.name, self.content)
        self._live.clicked.connect(self._go_live)
        self._pair = FeaturePair(self.name, self.content)
        self._pair.changed.connect(self.mark)
        controls = ControlBar(SPACE, self.content)
        controls.add(label, self._temperature, self._value)
        for widget in (again, self._live, self._pair, self._words):
            controls.add(widget)
        return controls

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
        self._live.show_live(not own)
        self._asked_for = None
        self._ask()
        self.mark()

    # --- the engine -----------------------------------------------------------------------------------------------

    def run_changed(self) -> None:
        self._arrange()
        self._reply = None
        self._asked_for = None
        self._words.setText("")

    def concerns(self, event: RunEvent) -> bool:
        return isinstance(event, (SamplesDrawn, DensityDrawn, StageStarted))

    def has_content(self) -> bool:
        return any((stage := self.stage(role)) is not None and stage.samples is not None for role in self.roles())

    def _ask(self) -> None:
        """Ask for samples, once for each state of the run; the reply also brings examples of the data."""
        if self.view is None or not self.has_content():
            return
        drawn = [self.stage(role) for role in self.roles()]
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
        self._scale.restyle()

    def _follow(self) -> None:
        """Set the slider to the temperature that is shown, while that is the run's own."""
        drawn = [stage.samples for role in self.roles() if (stage := self.stage(role)) is not None]
        shown = next((one for one in drawn if one is not None), None)
        if self._own or shown is None:
            return
        self._temperature.blockSignals(True)
        self._temperature.setValue(round(_HUNDRED * shown.temperature))
        self._temperature.blockSignals(False)
        self._value.setText(f"{shown.temperature:.2f}")

    def draw(self) -> None:
        self._arrange()
        self._pair.offer(self.features())
        self._follow()
        self._ask()
        reply = self._reply
        densities = self._densities()
        highest = high_density(densities.values())
        self._scale.setVisible(bool(densities))
        self._scale.show_levels(highest)
        shown = {role: self._shown(role) for role in self.roles()}
        view = self._chosen_view(reply.real if reply is not None else None, [one for one, _caption in shown.values()])
        data = self._columns[DATA]
        data.show_samples(reply.real if reply is not None else None, None, highest, "validation examples", view)
        if data.plane is not None and densities:
            data.plane.frame(next(iter(densities.values())).extent)
        for role, (samples, caption) in shown.items():
            self._columns[role].show_samples(samples, densities.get(role), highest, caption, view)

    def _shown(self, role: Role) -> tuple[np.ndarray | None, str]:
        """Return a flow's samples as they are shown now, and their caption."""
        stage, reply = self.stage(role), self._reply
        if self._own and reply is not None:
            samples = reply.samples.get(role)
            return samples, f"temperature {reply.temperature:.2f}" if samples is not None else "not trained yet"
        if stage is not None and stage.samples is not None:
            drawn = stage.samples
            return drawn.samples, f"{picture_label(drawn)}, temperature {drawn.temperature:.2f}"
        return None, "not trained yet"

    def _chosen_view(self, real: np.ndarray | None, drawn: list[np.ndarray | None]) -> _View:
        """Return the chosen features; the data decides which part of their plane all flows show."""
        pair = list(self._pair.chosen)
        known = next((one for one in (real, *drawn) if one is not None and one.ndim == 2), None)
        extent = (-1.0, 1.0, -1.0, 1.0) if known is None else extent_of(known[:, pair])
        return _View(pair, self._pair.names, extent)

    def _densities(self) -> dict[str, DensityDrawn]:
        """Return the density of every flow, as it is shown now."""
        if self._own and self._reply is not None:
            return dict(self._reply.densities)
        stages = {role: self.stage(role) for role in self.roles()}
        return {
            role: stage.density for role, stage in stages.items() if stage is not None and stage.density is not None
        }
