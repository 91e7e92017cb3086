"""The samples panel: samples of every flow from the same latents, next to the data; densities for 2-D data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget

from nfkd.protocol.events import DensityDrawn, ErrorInfo, SamplesDrawn, StageStarted, picture_label
from nfkd.protocol.flags import describe_flags
from nfkd.protocol.pictures import ReadSampleSeries, SampleSeries
from nfkd.protocol.requests import Reply, Sample, Samples
from nfkd.protocol.roles import DATA, ROLES, Role, role_label
from nfkd_gui.model.csv_files import Table, densities_table, samples_table
from nfkd_gui.model.export_files import Animation, Writer
from nfkd_gui.model.gif import write_samples_gif
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import SPACE
from nfkd_gui.panels.pictures import FlowPicture, PicturePanel
from nfkd_gui.plotting.plane import Extent, ScaleBar, extent_of, high_density
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import ElidedLabel, PlainLabel

_IMAGES, _POINTS = 64, 1000
_HUNDRED = 100
_NARROW = 0.6
"""Minimum width of a picture divided by its height; narrower ones wrap into more rows."""


class SamplesPanel(PicturePanel[SamplesDrawn, Samples]):
    """Shows live samples; after the user changes temperature or noise, samples with these settings."""

    title = "Samples"
    name = "samples"
    placeholder = "Samples of teacher, student and baseline from the same latents"
    event_types = (SamplesDrawn, DensityDrawn, StageStarted)
    reply_type = Samples
    has_numbers = has_animations = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, (DATA, *ROLES), ElidedLabel, parent)
        self._noise = 0
        self._grid = QGridLayout()
        self._grid.setSpacing(2 * SPACE)
        self._arranged: tuple[int, list[str]] | None = None
        self._scale = ScaleBar("density", self.canvas)
        self._scale.hide()
        self._column.addWidget(self._controls())
        row = QHBoxLayout(self.canvas)
        row.setContentsMargins(0, 0, 0, 0)
        row.addLayout(self._grid, 1)
        row.addWidget(self._scale)
        self._column.addWidget(self.canvas, 1)
        self._cells = {role: self._cell(picture) for role, picture in self.pictures.items()}
        self.arrange()

    def _cell(self, picture: FlowPicture) -> QWidget:
        cell = QWidget(self.canvas)
        cell.setObjectName(f"samples.{picture.role}")
        column = QVBoxLayout(cell)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(SPACE // 2)
        picture.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        column.addWidget(picture.title)
        column.addWidget(picture.caption)
        column.addWidget(picture, 1)
        return cell

    def _controls(self) -> ControlBar:
        label = PlainLabel("&Temperature", self.content)
        self._temperature = QSlider(Qt.Orientation.Horizontal, self.content)
        self._temperature.setObjectName("samples.temperature")
        self._temperature.setRange(0, 150)
        self._temperature.setValue(70)
        self._temperature.setMinimumWidth(80)
        self._temperature.setMaximumWidth(240)
        self._temperature.setToolTip("Scale of the noise that the samples are made from.")
        self._temperature.valueChanged.connect(self._on_temperature)
        label.setBuddy(self._temperature)
        label.setMinimumWidth(label.sizeHint().width() + SPACE)
        self._value = PlainLabel("0.70", self.content)
        self._value.setMinimumWidth(32)
        noise = QPushButton("&New noise", self.content)
        noise.setObjectName("samples.noise")
        noise.setToolTip("Draw other latents, the same for every flow.")
        noise.clicked.connect(self._new_noise)
        controls = ControlBar(SPACE, self.content)
        controls.add(label, self._temperature, self._value)
        for widget in (noise, self._live, self._features, self._message):
            controls.add(widget)
        return controls

    def arrange(self) -> None:
        """Lay out the data and the run's flows in one row, or in several if that shows them larger."""
        shown: list[str] = [DATA, *self.roles()]
        rows = across = 1
        for rows in range(1, len(shown) + 1):
            across = -(-len(shown) // rows)
            if across <= 2 or self.width() > _NARROW * across * self.height() / rows:
                break
        if (across, shown) == self._arranged:
            return
        self._arranged = across, shown
        for role, cell in self._cells.items():
            cell.setVisible(role in shown)
            if role in shown:
                self._grid.addWidget(cell, *divmod(shown.index(role), across))
        for index in range(len(self._cells)):
            self._grid.setColumnStretch(index, 1 if index < across else 0)
            self._grid.setRowStretch(index, 1 if index < rows else 0)

    # --- settings -------------------------------------------------------------------------------------------------

    def _on_temperature(self) -> None:
        self._value.setText(f"{self._temperature.value() / _HUNDRED:.2f}")
        self._set_own(True)

    def _new_noise(self) -> None:
        self._noise += 1
        self._set_own(True)

    def follow(self, drawn: SamplesDrawn) -> None:
        with QSignalBlocker(self._temperature):
            self._temperature.setValue(round(_HUNDRED * drawn.temperature))
        self._value.setText(f"{drawn.temperature:.2f}")

    def request(self, run: str) -> Sample:
        return Sample(
            run=run,
            seed=self.studio.seed,
            count=_POINTS if self.features() else _IMAGES,
            temperature=self._temperature.value() / _HUNDRED,
            noise_seed=self._noise,
        )

    # --- pictures -------------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        super().restyle()
        self._scale.restyle()

    def drawn(self, role: Role) -> SamplesDrawn | None:
        return cast("SamplesDrawn | None", self.stored(role, "samples"))

    def live_picture(self, drawn: SamplesDrawn) -> tuple[np.ndarray, str]:
        caption = f"{picture_label(drawn)}, temperature {drawn.temperature:.2f}"
        return drawn.samples, _with_flags(caption, drawn.flags)

    def requested_picture(self, reply: Samples, role: Role) -> tuple[np.ndarray | None, str]:
        return reply.samples.get(role), _with_flags(f"temperature {reply.temperature:.2f}", reply.flags.get(role))

    def draw_pictures(self) -> None:
        densities = self._densities()
        highest = high_density(densities.values())
        self._scale.setVisible(bool(densities))
        self._scale.show_levels(highest)
        pictures = {DATA: (self._reply.real if self._reply is not None else None, "validation examples")}
        pictures |= {role: self.current_picture(role) for role in self.roles()}
        vectors = [samples for samples, _ in pictures.values() if samples is not None and samples.ndim == 2]
        # The first entry is the data, if known: its range is the frame of every plane.
        extent = extent_of(vectors[0][:, self._features.chosen]) if vectors else (-1.0, 1.0, -1.0, 1.0)
        for role, (samples, caption) in pictures.items():
            picture = self.pictures[role]
            picture.caption.setText(caption)
            if samples is None:
                picture.clear()
            elif samples.ndim == 2:
                self._draw_plane(picture, samples, densities.get(role), highest, extent)
            else:
                picture.show_images(samples)
        data = self.pictures[DATA].plane
        if data is not None and densities:
            data.frame(next(iter(densities.values())).extent)

    def _draw_plane(
        self, picture: FlowPicture, samples: np.ndarray, density: DensityDrawn | None, highest: float, extent: Extent
    ) -> None:
        plane, colour = picture.show_plane(), role_colour(picture.role)
        first, second = self._features.chosen
        plane.show_density(density, highest)
        if first == second:
            plane.name_axes(self._features.names[0], "density")
            plane.show_histogram(samples[:, first], colour, extent[:2])
            return
        plane.name_axes(*self._features.names)
        plane.show_points(samples[:, [first, second]], "#FFFFFF" if density is not None else colour)
        if density is None:
            plane.frame(extent)

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        samples, densities = self.shown_pictures(), self._densities()
        real = {DATA: self._reply.real} if self._reply is not None else {}
        tables = {"Samples": samples_table({**real, **samples}, self.features())} if samples else {}
        return tables | ({"Densities": densities_table(densities)} if densities else {})

    def animations(self) -> dict[str, Animation]:
        """Return the samples of each flow over its steps, which the engine reads from the run."""
        return {role_label(role): partial(self._film, role) for role in self.shown_pictures()}

    def _film(self, role: Role, ready: Callable[[Writer], None], fail: Callable[[ErrorInfo], None]) -> None:
        if self.view is None:
            return
        seed = min(self.view.seeds, default=1) if (self.studio.seed, role) not in self.view.stages else self.studio.seed

        def replied(reply: Reply) -> None:
            if isinstance(reply, SampleSeries):
                ready(lambda path, progress: write_samples_gif(path, reply, progress=progress))

        self.studio.ask(ReadSampleSeries(run=self.view.row.run, seed=seed, stage=role), replied, fail)

    def _densities(self) -> dict[str, DensityDrawn]:
        """Return the density of every flow that has one, live or as requested."""
        if self._own and self._reply is not None:
            return dict(self._reply.densities)
        found = ((role, self.stored(role, "density")) for role in self.roles())
        return {role: density for role, density in found if isinstance(density, DensityDrawn)}


def _with_flags(caption: str, flags: np.ndarray | None) -> str:
    """Return a caption that also says how many samples are not what a picture can show."""
    problem = describe_flags(flags) if flags is not None else ""
    return f"{problem} · {caption}" if problem else caption
