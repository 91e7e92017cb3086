"""The interpolation panel: paths between two examples through the latents of every flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QWidget

from nfkd.protocol.events import DensityDrawn, ErrorInfo, InterpolationDrawn, SamplesDrawn, StageFinished, StageStarted
from nfkd.protocol.inspection import Origin
from nfkd.protocol.requests import Interpolate, InterpolationMode, Interpolations
from nfkd.protocol.roles import Role, role_label
from nfkd_gui.model.csv_files import Table, paths_table
from nfkd_gui.model.export_files import Animation, Writer
from nfkd_gui.model.gif import write_interpolation_gif
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.path_end import PathEnd, PathPosition
from nfkd_gui.panels.pictures import PicturePanel, Shown, weights_captions
from nfkd_gui.plotting.grid_row import GridRow
from nfkd_gui.plotting.plane import extent_of, high_density
from nfkd_gui.theme import limit_size, role_colour, scaled
from nfkd_gui.widgets.labels import PlainLabel
from nfkd_gui.widgets.number_field import NumberField

_MODES: dict[InterpolationMode, tuple[str, str]] = {
    "linear": ("linear", "On a straight line between the latents."),
    "spherical": ("spherical", "Along the arc between the two directions."),
    "norm_corrected": ("norm-corrected", "On a straight line, rescaled to norms between those of the two ends."),
}

_HIGH = 330
"""Height of the panel from which log p is drawn along the path."""
_WIDE, _MIDDLE = 520, 440
"""Width of the panel from which the number of frames has its word, and from which it and the labels are shown."""


class InterpolationPanel(PicturePanel[InterpolationDrawn, Interpolations]):
    """Shows live paths between the run's fixed pairs; after the user changes a control, the path of that choice."""

    title = "Interpolation"
    name = "interpolation"
    placeholder = "Paths from one example to another through the latents"
    event_types = (InterpolationDrawn, StageStarted, StageFinished)
    reply_type = Interpolations
    has_numbers = has_animations = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, "frame", parent)
        self._position = PathPosition(self.canvas)
        self._position.moved.connect(self._mark)
        self.grid.chosen.connect(self._position.choose)
        self._picture_column.insertWidget(1, self._position)
        self._add_controls()

    def _add_controls(self) -> None:
        """Put the kind of path into the head of the panel, and its ends above the pictures."""
        self.ends = PathEnd("first", 0, self.content), PathEnd("second", 1, self.content)
        for end in self.ends:
            end.changed.connect(self._on_choice)
        self._mode = QComboBox(self)
        self._mode.setObjectName("interpolation.mode")
        self._mode.setAccessibleName("Kind of path")
        for mode, (text, tip) in _MODES.items():
            self._mode.addItem(text, mode)
            self._mode.setItemData(self._mode.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._mode.setCurrentIndex(2)
        self._mode.currentIndexChanged.connect(self._on_choice)
        self._steps = NumberField(self)
        self._steps.setObjectName("interpolation.steps")
        self._steps.setAccessibleName("Number of frames")
        self._steps.setToolTip("Number of frames on the path, with both ends.")
        self._steps.setRange(3, 25)
        limit_size(self._steps, most=(112, 0))
        self._steps.setValue(9)
        self._steps.valueChanged.connect(self._on_choice)
        self.tools += [self._mode, self._steps, self._live]
        self._labels = [PlainLabel(text, self.content) for text in ("&Between", "&and")]
        for label, end in zip(self._labels, self.ends, strict=True):
            label.setBuddy(end.number)
            self.bar.add(label, end)
        self.bar.add(self._features)
        self.bar.add(self._message)

    def needs_bar(self) -> bool:
        return True

    def fit_tools(self) -> None:
        wide = self.width() >= scaled(_WIDE)
        self._steps.setSuffix(" frames" if wide else "")
        narrow = self.width() < scaled(_MIDDLE)
        self._steps.setVisible(not narrow)
        for label, end in zip(self._labels, self.ends, strict=True):
            label.setVisible(not narrow)
            end.fit(narrow=narrow)
        self._show_curve()

    # --- settings -------------------------------------------------------------------------------------------------

    def _on_choice(self) -> None:
        self._set_own(True)

    def follow(self, drawn: InterpolationDrawn) -> None:
        with QSignalBlocker(self._mode), QSignalBlocker(self._steps):
            self._mode.setCurrentIndex(max(0, self._mode.findData(drawn.mode)))
            self._steps.setValue(len(drawn.alpha))

    def request(self, run: str) -> Interpolate:
        return Interpolate(
            run=run,
            seed=self.studio.seed,
            first=self.ends[0].origin(self._noise()),
            second=self.ends[1].origin(self._noise()),
            mode=self._mode.currentData(),
            steps=self._steps.value(),
            log_prob=self._own,
        )

    def use_end(self, number: int, origin: Origin) -> None:
        """Use an example from anywhere as the first (0) or second (1) end."""
        self.ends[number].choose(origin)

    def _noise(self) -> dict[str, Any]:
        """Return count and temperature of the run's samples, if there are any yet."""
        drawn = next((found for role in self.roles() if (found := self.stored(role, "samples")) is not None), None)
        if not isinstance(drawn, SamplesDrawn):
            return {}
        return {"count": len(drawn.samples), "temperature": drawn.temperature}

    def origin_of(self, role: Role, number: int) -> Origin:
        """Return a frame of a path as it is."""
        frames = _flat(self.current_picture(role).array)
        return Origin(kind="values", role=role, values=None if frames is None else frames[number])

    # --- pictures -------------------------------------------------------------------------------------------------

    def drawn(self, role: Role) -> InterpolationDrawn | None:
        return cast("InterpolationDrawn | None", self.stored(role, "interpolation"))

    def live_picture(self, drawn: InterpolationDrawn) -> Shown:
        return Shown(drawn.images, weights_captions(drawn), drawn.flags)

    def requested_picture(self, reply: Interpolations, role: Role) -> Shown:
        if role not in reply.paths:
            return Shown(None)
        flags = reply.flags.get(role)
        return Shown(reply.paths[role][None], [_MODES[reply.mode][0], ""], None if flags is None else flags[None])

    def draw_pictures(self) -> None:
        self._draw_ends()
        self._position.show_path(self._alpha(), self._log_prob())
        self._show_curve()
        pictures = self.current_pictures()
        vectors = bool(self.features())
        self.pages.setCurrentWidget(self.planes if vectors else self.grid)
        self.show_flags(pictures)
        if vectors:
            self._draw_planes(pictures)
            return
        rows = [GridRow(role, _flat(each.array), each.captions, _flat(each.flags)) for role, each in pictures.items()]
        self.grid.mark(self._position.slider.value())
        self.grid.show_rows(rows, length=len(self._alpha()), ink=self.is_ink())

    def _draw_planes(self, pictures: dict[Role, Shown]) -> None:
        arrays = {role: shown.array for role, shown in pictures.items() if shown.array is not None}
        paths = {role: self._plane_paths(array) for role, array in arrays.items()}
        densities = {role: cast("DensityDrawn | None", self.stored(role, "density")) for role in self.roles()}
        drawn = [density for density in densities.values() if density is not None]
        # One frame for all of them, so that they can be compared.
        points = np.concatenate([path.reshape(-1, 2) for path, _ in paths.values()])
        extent = drawn[0].extent if drawn else extent_of(points)
        self.planes.show_roles(list(pictures), extent if len(self.features()) == 2 else None)
        for role, shown in pictures.items():
            cell = self.planes.cells[role]
            if role not in paths:
                cell.show_reason(shown.captions[0])
                continue
            path, names = paths[role]
            plane = cell.show_plane(shown.captions)
            plane.name_axes(*names)
            plane.show_density(densities[role], role, high_density(drawn))
            plane.show_paths(path, role_colour(role))
            plane.mark(self._position.slider.value())
            plane.frame(extent)

    # --- for the menu ---------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, Table]:
        paths = self.shown_pictures()
        return {"Paths": paths_table(self._alpha(), paths, self.features())} if paths else {}

    def animations(self) -> dict[str, Animation]:
        """Return the path of each flow, there and back."""
        return {role_label(role): partial(_film, paths) for role, paths in self.shown_pictures().items()}

    def _alpha(self) -> np.ndarray:
        drawn = next((drawn for role in self.roles() if (drawn := self.drawn(role)) is not None), None)
        if self._own and self._reply is not None:
            return self._reply.alpha
        return drawn.alpha if drawn is not None else np.empty(0)

    def _log_prob(self) -> dict[str, np.ndarray]:
        return dict(self._reply.log_prob) if self._own and self._reply is not None else {}

    def _show_curve(self) -> None:
        """Show log p along the path where it is known and the panel is high enough."""
        self._position.plot.setVisible(bool(self._log_prob()) and self.height() >= scaled(_HIGH))

    def _mark(self, frame: int) -> None:
        self.grid.mark(frame)
        for cell in self.planes.cells.values():
            cell.plane.mark(frame)

    def _draw_ends(self) -> None:
        """Show the chosen ends as images."""
        reply = self._reply
        images = reply.ends if reply is not None and all(image.ndim == 3 for image in reply.ends) else ()
        for end, image in zip(self.ends, images or (None, None), strict=True):
            if reply is not None:
                end.limit(reply.count, self._noise().get("count", 2))
            if image is not None and self.is_ink() and len(image) == 1:
                image = 1 - image
            end.show_image(image)

    def restyle(self) -> None:
        super().restyle()
        self._position.restyle()

    def _plane_paths(self, paths: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
        """Return (pairs, steps, features) paths as (pairs, steps, 2) with axis labels."""
        first, second = self._features.chosen
        if first != second:
            return paths[..., [first, second]], self._features.names
        position = np.broadcast_to(np.linspace(0, 1, paths.shape[1]), paths.shape[:2])
        return np.stack([position, paths[..., first]], axis=-1), ("position along the path", self._features.names[0])


def _flat(array: np.ndarray | None) -> np.ndarray | None:
    """Return (paths, steps, …) as (paths · steps, …)."""
    return None if array is None else array.reshape(-1, *array.shape[2:])


def _film(paths: np.ndarray, ready: Callable[[Writer], None], _fail: Callable[[ErrorInfo], None]) -> None:
    ready(lambda path, progress: write_interpolation_gif(path, paths, progress=progress))
