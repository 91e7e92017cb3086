"""The samples panel: samples of every flow from the same latents, next to the data; densities for 2-D data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeGuard, cast

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QSlider, QToolButton, QWidget

from nfkd.protocol.events import DensityDrawn, ErrorInfo, SamplesDrawn, StageFinished, StageStarted
from nfkd.protocol.inspection import Origin, SampleOptions
from nfkd.protocol.pictures import ReadSampleSeries, SampleSeries
from nfkd.protocol.requests import Reply, Sample, Samples
from nfkd.protocol.roles import DATA, Role, role_label
from nfkd_gui.model.csv_files import Table, densities_table, samples_table
from nfkd_gui.model.export_files import Animation, Writer
from nfkd_gui.model.gif import write_samples_gif
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.pictures import PicturePanel, Shown, weights_captions
from nfkd_gui.panels.sample_options import SampleOptionFields
from nfkd_gui.plotting.grid_row import GridRow
from nfkd_gui.plotting.plane import Extent, Plane, extent_of, high_density
from nfkd_gui.theme import limit_size, role_colour, scaled, tokens
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.labels import PlainLabel
from nfkd_gui.widgets.number_field import NumberField

_IMAGES, _POINTS = 64, 1000
_HUNDRED = 100
_WAITING = "reading the data …"
_EXAMPLES = ("validation examples", "validation", "")
_WIDEST, _WIDE, _MIDDLE = 680, 520, 380
"""Width of the panel from which its head has the number of the noise, the name of the temperature, and its value."""
_GUIDED, _BOTH, _FIELD, _NARROWER = 470, 610, 140, 70
"""Width from which it has the weight of a guidance, and its attention temperature; width of such a field, and what
remains of it once the button of the noise has no text."""
_OWN, _MOST = -1, 999_999
"""Numbers of the noise: that of the run's own pictures, and the highest."""


class SamplesPanel(PicturePanel[SamplesDrawn, Samples]):
    """Shows live samples; after the user changes temperature or noise, samples with these settings."""

    title = "Samples"
    name = "samples"
    placeholder = "Samples of teacher, student and baseline from the same latents"
    event_types = (SamplesDrawn, DensityDrawn, StageStarted, StageFinished)
    reply_type = Samples
    has_numbers = has_animations = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, "noise", parent)
        self._noise: int | None = None
        self._sort = self.option(
            "sort", "Sort by log p", "Order the columns by log p under the student, highest first."
        )
        self._sort.toggled.connect(self.ask_again)
        self._scale = Caption(parent=self.canvas)
        self._scale.setObjectName("samples.scale")
        self._picture_column.addWidget(self._scale)
        self._add_controls()

    def _add_controls(self) -> None:
        """Put the settings into the head of the panel."""
        self._label = PlainLabel("&Temperature", self)
        self._temperature = QSlider(Qt.Orientation.Horizontal, self)
        self._temperature.setObjectName("samples.temperature")
        self._temperature.setAccessibleName("Temperature")
        self._temperature.setRange(0, 150)
        self._temperature.setValue(70)
        limit_size(self._temperature, least=(56, 0), most=(120, 0))
        self._temperature.setToolTip("Scale of the noise that the samples are made from.")
        self._temperature.valueChanged.connect(self._on_temperature)
        self._label.setBuddy(self._temperature)
        self._chosen = SampleOptionFields(self.name, self)
        self._chosen.changed.connect(self._on_options)
        self._value = PlainLabel("0.70", self)
        self._new = QToolButton(self)
        self._new.setObjectName("samples.noise")
        self._new.setText("New noise")
        self._new.setAccessibleName("New noise")
        self._new.setToolTip("Draw other latents, the same for every flow.")
        self._new.setProperty("flat", True)
        self._new.clicked.connect(self._new_noise)
        self._seed = NumberField(self)
        self._seed.setObjectName("samples.seed")
        self._seed.setAccessibleName("Number of the noise")
        self._seed.setToolTip("Number of the noise, the same for every flow; the lowest is that of the run's pictures.")
        self._seed.setRange(_OWN, _MOST)
        self._seed.setPrefix("noise ")
        self._seed.setSpecialValueText("run's noise")
        self._seed.setValue(_OWN)
        self._seed.valueChanged.connect(self._choose_noise)
        self.tools += [self._label, self._temperature, self._value, self._chosen, self._seed, self._new, self._live]
        self.bar.add(self._features)
        self.bar.add(self._message)

    def fit_tools(self) -> None:
        width = self.width()
        fields = self._chosen.fit(one=width >= scaled(_GUIDED), both=width >= scaled(_BOTH))
        self._label.setVisible(width >= scaled(_WIDE + fields * _NARROWER))
        self._seed.setVisible(width >= scaled(_WIDEST + fields * _FIELD))
        self._value.setVisible(width >= scaled(_MIDDLE + fields * _FIELD))
        style = Qt.ToolButtonStyle
        self._new.setToolButtonStyle(
            style.ToolButtonTextBesideIcon if width >= scaled(_WIDE + fields * _FIELD) else style.ToolButtonIconOnly
        )
        self._new.setIcon(icon("seeds"))

    # --- settings -------------------------------------------------------------------------------------------------

    def _on_temperature(self) -> None:
        self._value.setText(f"{self._temperature.value() / _HUNDRED:.2f}")
        self._set_own(True)

    def _on_options(self) -> None:
        self._set_own(True)

    def run_changed(self) -> None:
        super().run_changed()
        with QSignalBlocker(self._chosen):
            self._chosen.offer("" if self.view is None else self.view.config)
        self.fit_tools()

    def _new_noise(self) -> None:
        self._seed.setValue((self._seed.value() + 1) % (_MOST + 1))

    def _choose_noise(self, number: int) -> None:
        self._noise = None if number == _OWN else number
        self._set_own(True)

    def go_live(self) -> None:
        with QSignalBlocker(self._seed), QSignalBlocker(self._chosen):
            self._seed.setValue(_OWN)
            self._chosen.reset()
        self._noise = None
        super().go_live()

    def follow(self, drawn: SamplesDrawn) -> None:
        with QSignalBlocker(self._temperature):
            self._temperature.setValue(round(_HUNDRED * drawn.temperature))
        self._value.setText(f"{drawn.temperature:.2f}")

    def request(self, run: str) -> Sample:
        return Sample(
            run=run,
            seed=self.studio.seed,
            count=self._count(),
            temperature=self._temperature.value() / _HUNDRED,
            noise_seed=self._noise,
            log_prob=self._sort.isChecked(),
            options=self._chosen.options() if self._own else SampleOptions(),
        )

    def _count(self) -> int:
        """Return the number of samples; with the run's noise, that of its pictures."""
        drawn = next((drawn for role in self.roles() if (drawn := self.drawn(role)) is not None), None)
        if self._noise is None and drawn is not None:
            return len(drawn.samples)
        return _POINTS if self.features() else _IMAGES

    def options(self) -> list[QAction]:
        sort = [self._sort] if self.has_content() and not self.features() else []
        chosen = [each for each in (self._chosen.denoise, self._chosen.jacobi) if each.isVisible()]
        return [*super().options(), *sort, *chosen]

    def follows_weights(self) -> bool:
        return self._sort.isChecked()

    def _order(self) -> np.ndarray | None:
        """Return the columns by log p of the student or the last flow that has it, highest first; NaN is last."""
        known = self._reply.log_prob if self._is_shown(self._reply) else {}
        values = known.get("student", next(reversed(known.values()), None)) if known else None
        if not self._sort.isChecked() or values is None:
            return None
        return np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")

    def _shown_noise(self, count: int) -> np.ndarray | None:
        """Return the noise of the shown points; live pictures have that of the run."""
        noise = self._reply.noise if self._is_shown(self._reply) else None
        return noise if noise is not None and len(noise) == count else None

    def _is_shown(self, reply: Samples | None) -> TypeGuard[Samples]:
        """Return whether a reply has the noise of the samples that are shown."""
        return reply is not None and (self._own or reply.noise_seed is None)

    def origin_of(self, role: Role, number: int) -> Origin:
        """Return a sample of the newest weights, or a stored picture as it is."""
        drawn, count = self.drawn(role), self._count()
        if self._own or (drawn is not None and drawn.final):
            temperature = self._temperature.value() / _HUNDRED if self._own or drawn is None else drawn.temperature
            options = self._chosen.options() if self._own else SampleOptions()
            return Origin("sample", number, role, count, temperature, self._noise, options=options)
        values = drawn.samples[number] if drawn is not None else None
        return Origin(kind="values", index=number, role=role, values=values)

    # --- pictures -------------------------------------------------------------------------------------------------

    def drawn(self, role: Role) -> SamplesDrawn | None:
        return cast("SamplesDrawn | None", self.stored(role, "samples"))

    def live_picture(self, drawn: SamplesDrawn) -> Shown:
        texts = weights_captions(drawn)
        with_temperature = [f"{text}, temperature {drawn.temperature:.2f}" for text in texts if text]
        return Shown(drawn.samples, [*with_temperature, *texts], drawn.flags)

    def requested_picture(self, reply: Samples, role: Role) -> Shown:
        if role not in reply.samples:
            return Shown(None)
        extra = _describe_options(reply, role)
        texts = [f"temperature {reply.temperature:.2f}{extra}", f"T {reply.temperature:.2f}{extra}"]
        texts += [extra.removeprefix(", ").replace("by Jacobi iteration", "Jacobi"), ""]
        return Shown(reply.samples[role], texts, reply.flags.get(role))

    def draw_pictures(self) -> None:
        pictures = self.current_pictures()
        real = self._reply.real if self._reply is not None else None
        vectors = bool(self.features())
        self.pages.setCurrentWidget(self.planes if vectors else self.grid)
        self._scale.setVisible(vectors)
        self.show_flags(pictures)
        if vectors:
            self._draw_planes(pictures, real)
            return
        log_prob = self._reply.log_prob if self._own and self._reply is not None else {}
        rows = [
            GridRow(role, shown.array, shown.captions, shown.flags, log_prob.get(role))
            for role, shown in pictures.items()
        ]
        head = GridRow(DATA, real) if real is not None else None
        order = self._order()
        fits = order is not None and all(row.images is None or len(row.images) == len(order) for row in rows)
        self.grid.show_rows(rows, head=head, ink=self.is_ink(), order=order if fits else None)

    def _draw_planes(self, pictures: dict[Role, Shown], real: np.ndarray | None) -> None:
        shown: dict[str, Shown] = {
            DATA: Shown(real, ["validation examples", "validation", ""] if real is not None else [_WAITING])
        }
        shown |= pictures
        densities = self._densities()
        highest = high_density(densities.values())
        plane = len(self.features()) == 2
        known = [each.array for each in shown.values() if each.array is not None]
        # The first entry is the data, if known: its range is the frame of every plane.
        extent = extent_of(known[0][:, self._features.chosen]) if known else (-1.0, 1.0, -1.0, 1.0)
        extent = next(iter(densities.values())).extent if densities else extent
        self.planes.show_roles(list(shown), extent if plane else None)
        for role, each in shown.items():
            cell = self.planes.cells[role]
            if each.array is None:
                cell.show_reason(each.captions[0])
            else:
                self._draw_plane(cell.show_plane(each.captions), role, each.array, densities.get(role), highest, extent)
        self._scale.show_texts(_describe_scale(highest) if densities else ())

    def _draw_plane(
        self,
        plane: Plane,
        role: str,
        samples: np.ndarray,
        density: DensityDrawn | None,
        highest: float,
        extent: Extent,
    ) -> None:
        colour = role_colour(role)
        first, second = self._features.chosen
        plane.show_density(density, role, highest)
        if first == second:
            plane.name_axes(self._features.names[0], "density")
            plane.show_histogram(samples[:, first], colour, extent[:2])
            return
        plane.name_axes(*self._features.names)
        noise = self._shown_noise(len(samples)) if role != DATA else None
        flat = tokens().text if density is not None else colour
        plane.show_points(samples[:, [first, second]], flat, noise)
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


def _describe_options(reply: Samples, role: Role) -> str:
    """Return how the samples of a flow were made besides the temperature, such as ``, guidance 1.5``; may be empty."""
    options = reply.options
    guidance = f", guidance {options.guidance:g}" if role in reply.guided else ""
    iterated = ", by Jacobi iteration" if role in reply.iterated else ""
    return f"{guidance}{', denoised' if options.denoise else ''}{iterated}"


def _describe_scale(highest: float) -> list[str]:
    """Return what the colours of the densities mean, from long to short."""
    text = f"Shade: density from 0 to {highest:.3g}"
    return [f"{text}, the same for all flows", text]
