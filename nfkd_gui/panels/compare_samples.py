"""Samples of the chosen runs side by side: a row or a plane for each, from the same noise."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget, QToolButton, QVBoxLayout, QWidget

from nfkd.protocol.flags import describe_flags
from nfkd.protocol.requests import Samples
from nfkd_gui.model.chosen_runs import MOST_SAMPLED, ChosenRuns
from nfkd_gui.model.compare import CompareModel, RunGroup
from nfkd_gui.model.csv_files import Table, samples_table
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.compare_base import ComparePanel, problem_text
from nfkd_gui.panels.plane_grid import PlaneGrid
from nfkd_gui.plotting.flow_grid import FlowGrid
from nfkd_gui.plotting.grid_row import GridRow
from nfkd_gui.plotting.mosaic import INK
from nfkd_gui.plotting.plane import extent_of
from nfkd_gui.theme import is_dark, limit_size, set_space
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.icons import icon
from nfkd_gui.widgets.number_field import DecimalField, NumberField

_IMAGES, _POINTS, _MOST = 64, 1000, 9999
_STUDENT = "student"


class RunSamplesPanel(ComparePanel):
    """Shows what the student of each chosen group makes of the same noise."""

    title = "Samples"
    name = "compare.samples"

    def __init__(self, studio: Studio, model: CompareModel, chosen: ChosenRuns, parent: QWidget | None = None) -> None:
        super().__init__(studio, model, chosen, parent)
        self._vectors: set[str] = set()
        """Names of data that are known to be vectors, of which more samples are shown."""
        self._add_controls()
        self.pages = QStackedWidget(self.content)
        self.grid = FlowGrid("noise", self.pages)
        self.grid.setObjectName("compare.samples.grid")
        self.planes = PlaneGrid(self.pages)
        self.pages.addWidget(self.grid)
        self.pages.addWidget(self.planes)
        self.note = Caption(parent=self.content)
        self.note.setObjectName("compare.samples.note")
        column = QVBoxLayout(self.content)
        set_space(column, 4, 12, 8, 12, 6)
        column.addWidget(self.pages, 1)
        column.addWidget(self.note)
        chosen.sampled.changed.connect(self.mark_dirty)

    def _add_controls(self) -> None:
        """Put the settings of the samples into the head of the panel."""
        self.temperature = DecimalField(self)
        self.temperature.setObjectName("compare.samples.temperature")
        self.temperature.setAccessibleName("Temperature")
        self.temperature.setToolTip("Temperature: scale of the noise that the samples are made from.")
        self.temperature.setPrefix("T ")
        limit_size(self.temperature, most=(84, 0))
        self.temperature.setRange(0.0, 1.5)
        self.temperature.setSingleStep(0.1)
        self.temperature.setValue(0.7)
        self.temperature.valueChanged.connect(self.mark_dirty)
        self.noise = NumberField(self)
        self.noise.setObjectName("compare.samples.noise")
        self.noise.setAccessibleName("Number of the noise")
        self.noise.setToolTip("Number of the noise, the same for every run.")
        self.noise.setPrefix("noise ")
        limit_size(self.noise, most=(112, 0))
        self.noise.setRange(0, _MOST)
        self.noise.valueChanged.connect(self.mark_dirty)
        self.fresh = QToolButton(self)
        self.fresh.setObjectName("compare.samples.fresh")
        self.fresh.setAccessibleName("New noise")
        self.fresh.setToolTip("Draw other latents, the same for every run.")
        self.fresh.setProperty("flat", True)
        self.fresh.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.fresh.setIcon(icon("seeds"))
        self.fresh.clicked.connect(self.noise.stepUp)
        self.tools += [self.temperature, self.noise, self.fresh]

    # --- what is shown --------------------------------------------------------------------------------------------

    def missing(self) -> str:
        groups = self.model.chosen_groups()
        known = self._known()
        if self._is_plane(known):
            self._vectors |= {str(group.values.get("data")) for group in groups if group.key in known}
        count = _POINTS if groups and str(groups[0].values.get("data")) in self._vectors else _IMAGES
        found = self.chosen.ask_samples(count, round(self.temperature.value(), 2), self.noise.value())
        if not groups:
            return "Choose runs in the table to see their samples of the same noise side by side."
        if found.samples:
            return "" if self._drawable() else "The samples of these runs have more than two features."
        if len(found.errors) == min(len(groups), MOST_SAMPLED):
            return "\n".join(f"{group.name}: {problem_text(found.errors[group.key])}" for group in self._groups())
        return "Sampling the chosen runs …"

    def _groups(self) -> list[RunGroup]:
        return self.model.chosen_groups()[:MOST_SAMPLED]

    def _known(self) -> dict[str, Samples]:
        """Return the samples of the chosen groups that have arrived, in the order of the choice."""
        samples = self.chosen.sampled.samples
        return {group.key: samples[group.key] for group in self._groups() if group.key in samples}

    @staticmethod
    def _shape(samples: Samples) -> tuple[int, ...]:
        return samples.samples[_STUDENT].shape[1:] if _STUDENT in samples.samples else ()

    def _is_plane(self, known: dict[str, Samples]) -> bool:
        first = next(iter(known.values()), None)
        return first is not None and len(self._shape(first)) == 1

    def _drawable(self) -> bool:
        first = next(iter(self._known().values()), None)
        return first is not None and (len(self._shape(first)) != 1 or self._shape(first)[0] >= 2)

    def _alike(self) -> dict[str, Samples]:
        """Return the samples that have the shape of the first."""
        known = self._known()
        shape = self._shape(next(iter(known.values())))
        return {key: samples for key, samples in known.items() if self._shape(samples) == shape and shape}

    def draw(self) -> None:
        known = self._alike()
        if self._is_plane(known):
            self._draw_planes(known)
        else:
            self._draw_images(known)
        self.note.show_texts(self._notes(known))

    def _why(self, group: RunGroup) -> str:
        """Return why a group has no samples in the picture."""
        error = self.chosen.sampled.errors.get(group.key)
        if error is not None:
            return problem_text(error)
        return "other data" if group.key in self.chosen.sampled.samples else "sampling …"

    def _draw_images(self, known: dict[str, Samples]) -> None:
        rows, colours = [], self.colours()
        for group in self._groups():
            samples = known.get(group.key)
            images = samples.samples[_STUDENT] if samples is not None else None
            flags = samples.flags.get(_STUDENT) if samples is not None else None
            caption = () if samples is not None else (self._why(group),)
            rows.append(GridRow(group.key, images, caption, flags, label=group.name, colour=colours[group.key]))
        kind = next((group.values.get("data.kind") for group in self._groups() if group.key in known), "")
        ink = kind in INK and not is_dark() and not self.studio.preferences.images_as_stored
        self.grid.show_rows(rows, ink=ink)
        self.pages.setCurrentWidget(self.grid)

    def _draw_planes(self, known: dict[str, Samples]) -> None:
        points = {key: samples.samples[_STUDENT][:, :2] for key, samples in known.items()}
        real = next(iter(known.values())).real[:, :2]
        extent = extent_of(np.concatenate([*points.values(), real]))
        groups, colours = self._groups(), self.colours()
        self.planes.show_roles([_cell(number) for number, _ in enumerate(groups)], extent)
        for number, group in enumerate(groups):
            cell, colour = self.planes.cells[_cell(number)], colours[group.key]
            cell.rename(group.name, colour)
            if group.key in known:
                plane = cell.show_plane([""])
                plane.image.hide()
                plane.show_points(points[group.key], colour, known[group.key].noise)
                plane.frame(extent)
            else:
                cell.show_reason(self._why(group))
        self.pages.setCurrentWidget(self.planes)

    def _notes(self, known: dict[str, Samples]) -> list[str]:
        waits, chosen = self.chosen.sampled.waits, len(self.model.chosen_groups())
        plane = self._is_plane(known)
        first = "Coloured by the angle of the noise." if plane else "Each column is the same noise."
        notes = [first]
        if waits:
            notes.insert(0, f"Sampling: {len(self._groups()) - waits} of {len(self._groups())} runs.")
        if chosen > MOST_SAMPLED:
            notes.append(f"The first {MOST_SAMPLED} of {chosen} chosen.")
        flagged = [
            f"{group.name}: {problem}."
            for group in self._groups()
            if group.key in known and (problem := describe_flags(known[group.key].flags.get(_STUDENT, np.empty(0))))
        ]
        return [" ".join([*notes, *flagged]), " ".join(notes), notes[0]]

    # --- for the menu ---------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        self.planes.restyle()
        self.fresh.setIcon(icon("seeds"))

    def numbers(self) -> dict[str, Table]:
        if not self._known():
            return {}
        known = self._alike()
        arrays = {group.name: known[group.key].samples[_STUDENT] for group in self._groups() if group.key in known}
        first = next(iter(arrays.values()))
        names = [f"x{number}" for number in range(1, first.shape[1] + 1)] if first.ndim == 2 else []
        return {"Samples": samples_table(arrays, names)}


def _cell(number: int) -> str:
    """Return the key of the plane of a group by its rank: cells are kept for the next choice."""
    return f"run-{number + 1}"
