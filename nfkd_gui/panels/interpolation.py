"""The interpolation panel: paths between two examples through the latents of every flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QGridLayout, QSlider, QSpacerItem, QSpinBox, QVBoxLayout, QWidget

from nfkd.protocol.events import DensityDrawn, ErrorInfo, InterpolationDrawn, StageStarted, picture_label
from nfkd.protocol.requests import Interpolate, InterpolationMode, Interpolations
from nfkd.protocol.roles import ROLES, Role, role_label
from nfkd_gui.model.csv_files import Table, paths_table
from nfkd_gui.model.export_files import Animation, Writer
from nfkd_gui.model.gif import write_interpolation_gif
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.base import SPACE
from nfkd_gui.panels.pictures import PicturePanel
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plane import Plane, extent_of
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel

_MODES: dict[InterpolationMode, tuple[str, str]] = {
    "linear": ("linear", "On a straight line between the latents."),
    "spherical": ("spherical", "Along the arc between the two directions."),
    "norm_corrected": ("norm-corrected", "On a straight line, rescaled to norms between those of the two ends."),
}


class InterpolationPanel(PicturePanel[InterpolationDrawn, Interpolations]):
    """Shows live paths between the run's fixed pairs; after the user changes a control, the path of that choice."""

    title = "Interpolation"
    name = "interpolation"
    placeholder = "Paths from one example to another through the latents"
    event_types = (InterpolationDrawn, StageStarted)
    reply_type = Interpolations
    has_numbers = has_animations = True

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(studio, ROLES, ToneLabel, parent)
        self._grid = QGridLayout(self.canvas)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(SPACE)
        self._grid.setColumnStretch(1, 1)
        for row, (role, picture) in enumerate(self.pictures.items()):
            names = QVBoxLayout()
            names.setSpacing(0)
            names.addWidget(picture.title)
            names.addWidget(picture.caption)
            names.addStretch(1)
            picture.caption.setMinimumWidth(96)
            picture.mosaic.setObjectName(f"interpolation.{role}")
            self._grid.addLayout(names, row, 0)
            self._grid.addWidget(picture, row, 1)
        self._grid.addItem(QSpacerItem(0, 0), len(ROLES), 0)
        self._column.addWidget(self._controls())
        self._column.addWidget(self.canvas, 1)
        self._column.addWidget(self._message)
        self.arrange()

    def _controls(self) -> ControlBar:
        self._first, self._second = self._chooser("first", 0), self._chooser("second", 1)
        self._thumbnails = {box: Mosaic(1, self.content) for box in (self._first, self._second)}
        self._mode = QComboBox(self.content)
        self._mode.setObjectName("interpolation.mode")
        for mode, (text, tip) in _MODES.items():
            self._mode.addItem(text, mode)
            self._mode.setItemData(self._mode.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._mode.setCurrentIndex(2)
        self._mode.currentIndexChanged.connect(self._on_choice)
        self._steps = QSlider(Qt.Orientation.Horizontal, self.content)
        self._steps.setObjectName("interpolation.steps")
        self._steps.setRange(3, 25)
        self._steps.setValue(9)
        self._steps.setMaximumWidth(160)
        self._steps.valueChanged.connect(self._on_choice)
        self._count = PlainLabel("9", self.content)
        self._count.setMinimumWidth(16)
        controls = ControlBar(SPACE, self.content)
        for text, box in (("&From", self._first), ("&to", self._second)):
            self._thumbnails[box].setFixedSize(32, 32)
            controls.add(self._label(text, box), box, self._thumbnails[box])
        controls.add(self._mode)
        controls.add(self._label("&Steps", self._steps), self._steps, self._count)
        controls.add(self._live)
        controls.add(self._features)
        return controls

    def _chooser(self, name: str, value: int) -> QSpinBox:
        box = QSpinBox(self.content)
        box.setObjectName(f"interpolation.{name}")
        box.setPrefix("example ")
        box.setMaximum(1)
        box.setValue(value)
        box.setWrapping(True)
        box.setToolTip("Index of an example of the validation data.")
        box.valueChanged.connect(self._on_choice)
        return box

    def _label(self, text: str, buddy: QWidget) -> PlainLabel:
        label = PlainLabel(text, self.content)
        label.setBuddy(buddy)
        return label

    def arrange(self) -> None:
        """Show the run's flows, each as high as its pictures in this width; an empty row takes the rest."""
        roles = self.roles()
        for role, picture in self.pictures.items():
            for widget in (picture.title, picture.caption, picture):
                widget.setVisible(role in roles)
        width = self.pictures["teacher"].width()
        room = self._grid.geometry().height() - len(roles) * SPACE
        tallest = max(self.pictures[role].mosaic.height_in(width) for role in roles)
        even = tallest == 0 or len(roles) * tallest > room
        for row, role in enumerate(ROLES):
            self._grid.setRowStretch(row, 0 if role not in roles else 1 if even else tallest)
        self._grid.setRowStretch(len(ROLES), 0 if even else room - len(roles) * tallest)

    # --- settings -------------------------------------------------------------------------------------------------

    def _on_choice(self) -> None:
        self._count.setText(str(self._steps.value()))
        self._set_own(True)

    def follow(self, drawn: InterpolationDrawn) -> None:
        with QSignalBlocker(self._mode), QSignalBlocker(self._steps):
            self._mode.setCurrentIndex(max(0, self._mode.findData(drawn.mode)))
            self._steps.setValue(len(drawn.alpha))
        self._count.setText(str(len(drawn.alpha)))

    def request(self, run: str) -> Interpolate:
        return Interpolate(
            run=run,
            seed=self.studio.seed,
            first=self._first.value(),
            second=self._second.value(),
            mode=self._mode.currentData(),
            steps=self._steps.value(),
        )

    # --- pictures -------------------------------------------------------------------------------------------------

    def drawn(self, role: Role) -> InterpolationDrawn | None:
        return cast("InterpolationDrawn | None", self.stored(role, "interpolation"))

    def live_picture(self, drawn: InterpolationDrawn) -> tuple[np.ndarray, str]:
        return drawn.images, picture_label(drawn)

    def requested_picture(self, reply: Interpolations, role: Role) -> tuple[np.ndarray | None, str]:
        path = reply.paths.get(role)
        return None if path is None else path[None], _MODES[reply.mode][0]

    def draw_pictures(self) -> None:
        self._draw_thumbnails()
        unframed: list[tuple[Plane, np.ndarray]] = []
        for role in self.roles():
            paths, caption = self.current_picture(role)
            picture = self.pictures[role]
            picture.caption.setText(caption)
            if paths is None:
                picture.clear()
            elif paths.ndim == 5:
                shown = paths[: self._pairs_that_fit(paths)]
                picture.show_images(shown.reshape(-1, *paths.shape[2:]), columns=paths.shape[1])
            else:
                plane = picture.show_plane()
                density = cast("DensityDrawn | None", self.stored(role, "density"))
                points, names = self._plane_paths(paths)
                plane.name_axes(*names)
                plane.show_density(density)
                plane.show_paths(points, role_colour(role))
                if density is None:
                    unframed.append((plane, points.reshape(-1, 2)))
        if unframed:  # one frame for all of them, so that they can be compared
            extent = extent_of(np.concatenate([points for _, points in unframed]))
            for plane, _ in unframed:
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

    def _pairs_that_fit(self, paths: np.ndarray) -> int:
        """Return how many pairs, one in a row, each flow has room for if the frames fill the width."""
        _, steps, _, height, width = paths.shape
        row = self.pictures["teacher"].width() / steps * height / width
        room = self._grid.geometry().height() / len(self.roles()) - SPACE
        return max(1, int(room / max(row, 1)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.mark_dirty()  # another number of pairs may fit

    def _draw_thumbnails(self) -> None:
        reply = self._reply
        images = reply is not None and reply.thumbnails.ndim == 4
        for box, thumbnail in self._thumbnails.items():
            if reply is not None:
                with QSignalBlocker(box):
                    box.setMaximum(reply.count - 1)
            thumbnail.setVisible(images)
            if images and reply is not None and box.value() < len(reply.thumbnails):
                thumbnail.show_images(reply.thumbnails[[box.value()]])
            else:
                thumbnail.clear()

    def _plane_paths(self, paths: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
        """Return (pairs, steps, features) paths as (pairs, steps, 2) with axis labels."""
        first, second = self._features.chosen
        if first != second:
            return paths[..., [first, second]], self._features.names
        position = np.broadcast_to(np.linspace(0, 1, paths.shape[1]), paths.shape[:2])
        return np.stack([position, paths[..., first]], axis=-1), ("position along the path", self._features.names[0])


def _film(paths: np.ndarray, ready: Callable[[Writer], None], _fail: Callable[[ErrorInfo], None]) -> None:
    ready(lambda path, progress: write_interpolation_gif(path, paths, progress=progress))
