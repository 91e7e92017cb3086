"""Paths between two examples through the latents of every flow."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QSlider,
    QSpacerItem,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.events import ErrorInfo, InterpolationDrawn, RunEvent, StageStarted, picture_label
from nfkd.protocol.requests import Interpolate, InterpolationMode, Interpolations, Reply
from nfkd.protocol.roles import ROLES, role_label
from nfkd_gui.panels.base import SPACE, LiveButton, Panel, StudioPort, heading
from nfkd_gui.plotting.mosaic import Mosaic
from nfkd_gui.plotting.plane import Plane, extent_of
from nfkd_gui.theme import role_colour
from nfkd_gui.widgets.feature_pair import FeaturePair
from nfkd_gui.widgets.flow_layout import ControlBar
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel

_MODES: dict[InterpolationMode, tuple[str, str]] = {
    "linear": ("linear", "Straight through the latents."),
    "spherical": ("spherical", "Along the arc between the two directions."),
    "norm_corrected": ("norm-corrected", "Straight, then stretched to the norm between the two ends."),
}
_NOTHING = np.empty((0, 0, 2))


class InterpolationPanel(Panel):
    """Shows the live pictures of the run's fixed pairs; as soon as the user chooses, a pair of their own."""

    title = "Interpolation"
    name = "interpolation"
    waits_for = "Paths from one example to another through the latents"

    def __init__(self, studio: StudioPort, parent: QWidget | None = None) -> None:
        super().__init__(studio, parent)
        self._reply: Interpolations | None = None
        self._own = False
        self._asked_for: tuple[object, ...] | None = None
        self._words = ToneLabel(parent=self.content)
        self._titles = {role: heading(role_label(role), self.content) for role in ROLES}
        self._captions = {role: ToneLabel(parent=self.content) for role in ROLES}
        self._mosaics = {role: Mosaic(parent=self.content) for role in ROLES}
        self._planes: dict[str, Plane] = {}
        self._unframed: dict[str, np.ndarray] = {}  # the points that are shown without a density
        self._cells: dict[str, QStackedWidget] = {}
        self._grid = QGridLayout()
        self._lay_out()
        self.restyle()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        layout.setSpacing(SPACE)
        layout.addWidget(self._controls())
        self._grid.setSpacing(SPACE)
        self._grid.setColumnStretch(1, 1)
        for row, role in enumerate(ROLES):
            names = QVBoxLayout()
            names.setSpacing(0)
            names.addWidget(self._titles[role])
            names.addWidget(self._captions[role])
            names.addStretch(1)
            self._captions[role].setMinimumWidth(96)
            self._mosaics[role].setObjectName(f"interpolation.{role}")
            self._grid.addLayout(names, row, 0)
            cell = self._cells[role] = QStackedWidget(self.content)  # a layout alone would take room while hidden
            cell.addWidget(self._mosaics[role])
            self._grid.addWidget(cell, row, 1)
        self._grid.addItem(QSpacerItem(0, 0), len(ROLES), 0)
        self._share_height()
        layout.addLayout(self._grid, 1)
        layout.addWidget(self._words)

    def _controls(self) -> ControlBar:
        self._first, self._second = self._chooser("first", 0), self._chooser("second", 1)
        self._thumbnails = {box: Mosaic(1, self.content) for box in (self._first, self._second)}
        self._mode = QComboBox(self.content)
        self._mode.setObjectName("interpolation.mode")
        for mode, (words, tip) in _MODES.items():
            self._mode.addItem(words, mode)
            self._mode.setItemData(self._mode.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._mode.setCurrentIndex(2)
        self._mode.currentIndexChanged.connect(self._chosen)
        self._steps = QSlider(Qt.Orientation.Horizontal, self.content)
        self._steps.setObjectName("interpolation.steps")
        self._steps.setRange(3, 25)
        self._steps.setValue(9)
        self._steps.setMaximumWidth(160)
        self._steps.valueChanged.connect(self._chosen)
        self._count = PlainLabel("9", self.content)
        self._count.setMinimumWidth(16)
        self._live = LiveButton(self.name, self.content)
        self._live.clicked.connect(lambda: self._set_own(False))
        controls = ControlBar(SPACE, self.content)
        for words, box in (("&From", self._first), ("&to", self._second)):
            self._thumbnails[box].setMinimumSize(32, 32)
            self._thumbnails[box].setFixedSize(32, 32)
            controls.add(self._label(words, box), box, self._thumbnails[box])
        self._pair = FeaturePair(self.name, self.content)
        self._pair.changed.connect(self.mark)
        controls.add(self._mode)
        controls.add(self._label("&Steps", self._steps), self._steps, self._count)
        controls.add(self._live)
        controls.add(self._pair)
        return controls

    def _chooser(self, name: str, value: int) -> QSpinBox:
        box = QSpinBox(self.content)
        box.setObjectName(f"interpolation.{name}")
        box.setPrefix("example ")
        box.setMaximum(1)
        box.setValue(value)
        box.setWrapping(True)
        box.setToolTip("Number of an example of the validation data.")
        box.valueChanged.connect(self._chosen)
        return box

    def _label(self, words: str, buddy: QWidget) -> PlainLabel:
        label = PlainLabel(words, self.content)
        label.setBuddy(buddy)
        return label

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._share_height()

    def _share_height(self) -> None:
        """Give each flow the height that its pictures take in this width, and what is left to the empty row below."""
        roles = self.roles()
        width = self._mosaics["teacher"].width()
        room = self._grid.geometry().height() - len(roles) * SPACE
        tallest = max(self._mosaics[role].height_in(width) for role in roles)
        even = tallest == 0 or len(roles) * tallest > room  # as much as there is for each
        for row, role in enumerate(ROLES):
            self._grid.setRowStretch(row, 0 if role not in roles else 1 if even else tallest)
        self._grid.setRowStretch(len(ROLES), 0 if even else room - len(roles) * tallest)

    # --- what the user wants --------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        self._count.setText(str(self._steps.value()))
        self._set_own(True)

    def _set_own(self, own: bool) -> None:
        self._own = own
        self._live.show_live(not own)
        self._asked_for = None
        self._ask()
        self.mark()

    # --- the engine -----------------------------------------------------------------------------------------------

    def run_changed(self) -> None:
        self._show_roles()
        self._reply = None
        self._asked_for = None
        self._words.setText("")

    def concerns(self, event: RunEvent) -> bool:
        return isinstance(event, (InterpolationDrawn, StageStarted))

    def has_content(self) -> bool:
        return any((stage := self.stage(role)) is not None and stage.interpolation is not None for role in self.roles())

    def _ask(self) -> None:
        if self.view is None or not self.has_content():
            return
        drawn = [self.stage(role) for role in self.roles()]
        steps = tuple(
            stage.interpolation.step if stage is not None and stage.interpolation is not None else -1 for stage in drawn
        )
        chosen = (self._first.value(), self._second.value(), self._mode.currentData(), self._steps.value())
        wanted = (*chosen, steps if self._own else ())
        if wanted == self._asked_for:
            return
        self._asked_for = wanted
        request = Interpolate(
            run=self.view.row.run,
            seed=self.studio.seed,
            first=chosen[0],
            second=chosen[1],
            mode=chosen[2],
            steps=chosen[3],
        )
        self.studio.ask(request, self._take_reply, self._take_error, key="interpolation")

    def _take_reply(self, reply: Reply) -> None:
        if self.view is None or not isinstance(reply, Interpolations):
            return
        if (reply.run, reply.seed) == (self.view.row.run, self.studio.seed):
            self._reply = reply
            for box in (self._first, self._second):
                box.blockSignals(True)
                box.setMaximum(reply.count - 1)
                box.blockSignals(False)
            self._words.setText("")
            self.mark()

    def _take_error(self, error: ErrorInfo) -> None:
        self._words.setText(f"{error.title}. {error.action}")

    # --- drawing --------------------------------------------------------------------------------------------------

    def restyle(self) -> None:
        for role, label in self._titles.items():
            label.setStyleSheet(f"color: {role_colour(role)};")
        for plane in self._planes.values():
            plane.restyle()

    def draw(self) -> None:
        self._pair.offer(self.features())
        self._follow()
        self._ask()
        self._show_ends()
        self._unframed.clear()
        self._show_roles()
        for role in self.roles():
            stage = self.stage(role)
            drawn = stage.interpolation if stage is not None else None
            reply = self._reply
            if self._own and reply is not None:
                path = reply.paths.get(role)
                caption = _MODES[reply.mode][0] if path is not None else "not trained yet"
                self._show(role, None if path is None else path[None], caption)
            elif drawn is not None:
                self._show(role, drawn.images, picture_label(drawn))
            else:
                self._show(role, None, "not trained yet")
        self._share_frame()
        self._share_height()

    def _show_roles(self) -> None:
        """Show the rows of the flows that the run has, and no others."""
        roles = self.roles()
        for role in ROLES:
            for widget in (self._titles[role], self._captions[role], self._cells[role]):
                widget.setVisible(role in roles)

    def _share_frame(self) -> None:
        """Let all flows whose paths no density frames show the same part of the plane, to be compared."""
        if self._unframed:
            extent = extent_of(np.concatenate(list(self._unframed.values())))
            for role in self._unframed:
                self._planes[role].frame(extent)

    def _follow(self) -> None:
        """Set the controls to what is shown, while that is the run's own pictures."""
        drawn = [stage.interpolation for role in self.roles() if (stage := self.stage(role)) is not None]
        shown = next((one for one in drawn if one is not None), None)
        if self._own or shown is None:
            return
        for widget in (self._mode, self._steps):
            widget.blockSignals(True)
        self._mode.setCurrentIndex(max(0, self._mode.findData(shown.mode)))
        self._steps.setValue(len(shown.alpha))
        self._count.setText(str(len(shown.alpha)))
        for widget in (self._mode, self._steps):
            widget.blockSignals(False)

    def _show_ends(self) -> None:
        reply = self._reply
        images = reply is not None and reply.thumbnails.ndim == 4
        for box, thumbnail in self._thumbnails.items():
            thumbnail.setVisible(images)
            if images and reply is not None and box.value() < len(reply.thumbnails):
                thumbnail.show_images(reply.thumbnails[[box.value()]])
            else:
                thumbnail.clear()

    def _show(self, role: str, paths: np.ndarray | None, caption: str) -> None:
        """Show paths, (pairs, steps, …)."""
        self._captions[role].setText(caption)
        mosaic = self._mosaics[role]
        plane = self._planes.get(role)
        if paths is None:
            mosaic.clear()
            if plane is not None:
                plane.show_density(None)
                plane.show_paths(_NOTHING, role_colour(role))
        elif paths.ndim == 5:
            self._cells[role].setCurrentWidget(mosaic)
            mosaic.show_images(paths.reshape(-1, *paths.shape[2:]), columns=paths.shape[1])
        else:
            self._show_plane(role, paths)

    def _show_plane(self, role: str, paths: np.ndarray) -> None:
        plane = self._planes.get(role)
        if plane is None:
            plane = self._planes[role] = Plane(self.content)
            self._cells[role].addWidget(plane)
        self._cells[role].setCurrentWidget(plane)
        stage = self.stage(role)  # type: ignore[arg-type]
        density = stage.density if stage is not None else None
        first, second = self._pair.chosen
        if first == second:  # one feature: how it goes along the path
            along = np.broadcast_to(np.linspace(0, 1, paths.shape[1]), paths.shape[:2])
            shown = np.stack([along, paths[..., first]], axis=-1)
            plane.name_axes("way along the path", self._pair.names[0])
        else:
            shown = paths[..., [first, second]]
            plane.name_axes(*self._pair.names)
        plane.show_density(density)
        plane.show_paths(shown, role_colour(role))
        if density is None:
            self._unframed[role] = shown.reshape(-1, 2)
