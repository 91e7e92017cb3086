"""The three planes of the lab beside each other, always at the same limits and at the same share of the way."""

from __future__ import annotations

from collections.abc import Collection

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from nfkd.protocol.lab import LAB_ROLES, LabOpened
from nfkd.protocol.roles import Role
from nfkd_gui.model.lab import LabModel
from nfkd_gui.panels.lab_cell import LabCell
from nfkd_gui.theme import scaled, set_space

_GAP, _FIRST, _NOISE = 16, 420, 3.2
"""Pixels between the planes, their height before they have a width, and standard deviations that they show at least."""


class LabPlanes(QWidget):
    """Shows the flows of a lab."""

    probed = Signal(float, float)
    """A place of the data that the user points at."""

    def __init__(self, lab: LabModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab = lab
        self.cells: dict[Role, LabCell] = {role: LabCell(role, self) for role in LAB_ROLES}
        self._pictured: dict[Role, object] = {}
        self._roles: Collection[Role] = LAB_ROLES
        self.share = 0.0
        self._most = scaled(_FIRST)
        self._line = QHBoxLayout(self)
        set_space(self._line, _GAP)
        for cell in self.cells.values():
            self._line.addWidget(cell, 1)
            cell.plane.probed.connect(self._point)
            cell.chips.switched.connect(self._switch)

    @property
    def painted(self) -> int:
        """How often the plane that was painted most often was painted."""
        return max(cell.plane.painted for cell in self.cells.values())

    def show_roles(self, roles: Collection[Role]) -> None:
        """Show only some of the flows."""
        self._roles = roles
        for role, cell in self.cells.items():
            cell.setVisible(role in roles)
        self.setVisible(bool(roles))
        self._fit()
        self.show_state()

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self._most)

    def hasHeightForWidth(self) -> bool:
        return False  # as the wrapped text of a missing picture has, which would make the planes low

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Let the planes have the same width, and be no higher than wide."""
        shown = [cell for cell in self.cells.values() if not cell.isHidden()]
        if shown:  # higher than wide, a plane would show nothing more
            room = self.width() - (len(shown) - 1) * scaled(_GAP)
            self._most = room // len(shown) + max(cell.around() for cell in shown)
            self.setMaximumHeight(self._most)
            self.updateGeometry()
            self._line.setContentsMargins(0, 0, room % len(shown), 0)  # all planes have the same width

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_opened(self) -> None:
        """Show what stays while the flows train."""
        info = self._lab.info
        if info is None:
            return
        half = max([_NOISE, *map(abs, info.extent)])
        for cell in self.cells.values():
            cell.plane.show_data(info.points, info.extent, half)
        self.show_state()
        self._show_pictures()

    def show_state(self) -> None:
        """Show what the state says of the planes."""
        state, info = self._lab.state, self._lab.info
        for role, cell in self.cells.items():
            if info is not None and role in info.flows:
                cell.show_flow(info.flows[role], self._captions(info, role), state.layers_off(role))
            cell.plane.show_look(state.lab)

    def _captions(self, info: LabOpened, role: Role) -> list[str]:
        count = len(info.flows[role].names)
        layers = f"{count} {'layer' if count == 1 else 'layers'}"
        if role == "teacher":
            alone = info.flows[role].steps != 0
            return [f"{layers}, {'in training' if alone and not self._teacher_done else 'frozen'}", layers]
        if "teacher" not in self._roles:
            return [layers]
        return [f"{layers}, {'with' if role == 'student' else 'no'} teacher", layers]

    @property
    def _teacher_done(self) -> bool:
        frame = self._lab.frame
        return self._lab.state.lab.teacher == "trained" and frame is not None and frame.phase != "teacher"

    def show_frame(self) -> None:
        """Show the newest pictures and values; a flow that started anew may have no picture yet."""
        self._show_pictures()
        for role, cell in self.cells.items():
            cell.show_reason("" if role in self._lab.pictures else self._reason(role))

    def _show_pictures(self) -> None:
        lab, frame = self._lab, self._lab.frame
        for role, cell in self.cells.items():
            picture = lab.pictures.get(role)
            if picture is not None and frame is not None and self._pictured.get(role) is not picture:
                self._pictured[role] = picture
                cell.plane.show_picture(picture, frame.noise)
                cell.plane.go_to(self.share)
                cell.show_state(self.share)
            if lab.info is not None:
                cell.show_value(lab.newest(role), lab.best(role), lab.info.held_out)
                cell.caption.show_texts(self._captions(lab.info, role))
            if cell.plane.flow is None:
                cell.show_reason(self._reason(role))

    def _reason(self, role: Role) -> str:
        frame = self._lab.frame
        if self._lab.info is None or frame is None:
            return "The lab opens …"
        if frame.phase == "teacher" and role != "teacher":
            return "Starts when the teacher is trained."
        return "Press Play."

    def show_probe(self) -> None:
        """Show the probe and its way."""
        probe = self._lab.probe
        for role, cell in self.cells.items():
            known = None if probe is None else probe.flows.get(role)
            cell.plane.show_probe(None if known is None else known.states)

    # --- the way ------------------------------------------------------------------------------------------------------

    def go(self, share: float) -> None:
        """Show every flow at a share of its way from the data (0) to the noise (1)."""
        self.share = share
        for cell in self.cells.values():
            cell.plane.go_to(share)
            cell.show_state(share)

    # --- by the user --------------------------------------------------------------------------------------------------

    def _point(self, x: float, y: float) -> None:
        plane = next(cell.plane for cell in self.cells.values() if cell.plane is self.sender())
        place = plane.place_of(x, y)
        if place is not None:
            self.probed.emit(*place)

    def _switch(self, layer: str, on: bool) -> None:
        cell = next(cell for cell in self.cells.values() if cell.chips is self.sender())
        name, off = f"{cell.role}.{layer}", list(self._lab.state.lab.off)
        changed = [other for other in off if other != name] + ([] if on else [name])
        self._lab.set_values({"lab.off": changed})

    def restyle(self) -> None:
        """Apply the current theme."""
        for cell in self.cells.values():
            cell.restyle()
