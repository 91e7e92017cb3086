"""The page of the flow panel for data of two features: two planes, the strip of states, and the probe."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import numpy as np
from PySide6.QtCore import QElapsedTimer, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from nfkd.protocol.inspection import FlowStates, PlaneFlow, PlaneStates
from nfkd.protocol.roles import Role
from nfkd_gui.model.layer_columns import LayerColumns
from nfkd_gui.panels.flow_cell import FlowCell
from nfkd_gui.panels.flow_film import HOLD
from nfkd_gui.panels.flow_probe import Probe
from nfkd_gui.plotting.flow_strip import FlowStrip, StripRow
from nfkd_gui.plotting.plane import extent_of, noise_hues
from nfkd_gui.plotting.state_pictures import points_image
from nfkd_gui.theme import fix_size, scaled, set_space

_EASING, _FRAME = 150, 12
"""Milliseconds of the move from one state to the next, and between two frames of it."""
_NOISE = 3.3
_WIDEST = 1.6
"""Half the side of the planes is at most this multiple of what data and noise need."""
_SCALED = " (scaled)"
_STRIP, _PROBE = 560, 860
"""Height of the page from which it has the strip, and width from which it has the probe."""
_PROBE_WIDTH, _THUMBNAIL = 320, 112
_LEAST = 240, 120
_SOME = 800
"""Points from which the limits of the planes are found."""


class PlanePage(QWidget):
    """Shows the states of two flows beside each other, always at the same limits."""

    probed = Signal(str, int, float, float)
    """The role, the state and the position that the user points at."""
    chosen = Signal(int)
    """A column that the user clicked in the strip."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.cells = FlowCell("flow.first", self), FlowCell("flow.second", self)
        for cell in self.cells:
            cell.plane.probed.connect(self._point)
        self.strip = FlowStrip(self)
        self.strip.chosen.connect(self.chosen)
        self.probe = Probe(self)
        fix_size(self.probe, _PROBE_WIDTH)
        self.states: PlaneStates | None = None
        self.columns = LayerColumns()
        self.column = 0
        self._strip_due = False
        self.half = _NOISE
        self._features = ["x₁", "x₂"]
        self._starts, self._goals = [0.0, 0.0], [0, 0]
        self._turn = 0
        self._elapsed = QElapsedTimer()
        self._clock = QTimer(self)
        self._clock.setTimerType(Qt.TimerType.PreciseTimer)
        self._clock.setInterval(_FRAME)
        self._clock.timeout.connect(self._animate)
        self.canvas = QWidget(self)
        """What is saved as a picture: planes and strip."""
        pair = QHBoxLayout()
        set_space(pair, 16)
        for cell in self.cells:
            pair.addWidget(cell, 1)
        column = QVBoxLayout(self.canvas)
        set_space(column, 12)
        column.addLayout(pair, 100)  # the strip gets what the planes cannot use
        column.addWidget(self.strip, 1)
        column.addStretch(0)
        line = QHBoxLayout(self)
        set_space(line, 16)
        line.addWidget(self.canvas, 1)
        line.addWidget(self.probe)

    # --- what is shown --------------------------------------------------------------------------------------------

    def show_states(
        self, states: PlaneStates, roles: Sequence[Role], columns: LayerColumns, captions: Mapping[Role, Sequence[str]]
    ) -> None:
        """Show other states of one or two flows."""
        self.states, self.columns = states, columns
        known = [states.flows[role] for role in roles if role in states.flows]
        self.half = common_half(known)
        self._features = [f"{name.removesuffix(_SCALED)}{_SCALED}" for name in states.columns] or ["x₁", "x₂"]
        self.probe.name_features(self._features)
        for number, cell in enumerate(self.cells):
            role = roles[number] if number < len(roles) else None
            cell.setVisible(role is not None)
            if role is None:
                continue
            cell.show_role(role, captions[role])
            flow = states.flows.get(role)
            if flow is None:
                cell.show_reason("not trained yet")
                continue
            cell.show_plane()
            cell.plane.show_flow(flow, noise_hues(states.noise))
            cell.plane.frame((-self.half, self.half, -self.half, self.half))
        self._strip_due = True
        self._fill_strip()
        self.go(self.column, at_once=True)

    def _fill_strip(self) -> None:
        """Draw the small states, if they are shown and not those of the planes."""
        if not self._strip_due or self.strip.isHidden():
            return
        self._strip_due = False
        rows = []
        for cell in self.shown_cells():
            flow, role, number = cell.plane.flow, cell.role, self.cells.index(cell)
            if flow is not None and role is not None and self.states is not None:
                hues = noise_hues(self.states.noise)
                pictures = [points_image(points, hues, self.half, _THUMBNAIL) for points in flow.points]
                names = ["Data", *(f"Layer {layer}" for layer in range(1, len(flow.names))), "Noise"]
                rows.append(StripRow(role, pictures, self.columns.states[number], names))
        self.strip.show_rows(rows)

    def forget(self) -> None:
        """Drop the states: another run is shown."""
        self.states = None
        self.show_probe({})

    def show_parts(self, *, points: bool, contours: bool, arrows: bool) -> None:
        """Choose what the planes draw."""
        for cell in self.cells:
            cell.plane.show_parts(points=points, contours=contours, arrows=arrows)

    def show_probe(self, flows: Mapping[Role, FlowStates]) -> None:
        """Show a point by its states; an empty mapping hides it."""
        roles: list[Role] = [cell.role for cell in self.shown_cells() if cell.role is not None]
        self.probe.show_point(flows, roles)
        for cell in self.cells:
            known = flows.get(cell.role) if cell.role is not None else None
            path = None if known is None else np.stack([known.state, *(layer.value for layer in known.layers)])
            cell.plane.show_probe(path)

    def shown_cells(self) -> list[FlowCell]:
        """Return the cells that show a plane."""
        return [cell for cell in self.cells if cell.shown and cell.role is not None and not cell.isHidden()]

    # --- the layer ------------------------------------------------------------------------------------------------

    def go(self, column: int, *, at_once: bool = False) -> None:
        """Show the states of a column, by a short move from the present ones or at once."""
        self.column = column
        self._goals = [self.columns.state_at(number, column) for number in range(2)]
        self._starts = [cell.plane.position for cell in self.cells]
        marks = {}
        for number, cell in enumerate(self.cells):
            if cell.plane.flow is not None and cell.role is not None and cell.shown:
                cell.show_layer(self._goals[number], len(cell.plane.flow.names))
                cell.plane.name_axes(*(("h₁", "h₂") if self._goals[number] else self._features))
                marks[cell.role] = self._goals[number]
        self._mark_strip()
        self.probe.mark(marks)
        if at_once or not self.isVisible():
            self._clock.stop()
            for cell, goal in zip(self.cells, self._goals, strict=True):
                cell.plane.go(goal)
        else:
            self._elapsed.start()
            self._clock.start()

    def _mark_strip(self) -> None:
        states = {cell.role: goal for cell, goal in zip(self.cells, self._goals, strict=True)}
        self.strip.mark([states.get(row.role, 0) for row in self.strip.rows])

    def poses(self) -> Generator[int]:
        """Draw the play to the noise and back; yields for how many frames of a film each pose is shown."""
        before, last = self.column, self.columns.last
        self.go(0, at_once=True)
        yield HOLD
        for column in [*range(1, last + 1), *range(last - 1, 0, -1)]:
            starts = [cell.plane.position for cell in self.cells]
            goals = [self.columns.state_at(number, column) for number in range(2)]
            for share in (0.25, 0.5, 0.75):
                for cell, start, goal in zip(self.cells, starts, goals, strict=True):
                    cell.plane.go(start + share * (goal - start))
                yield 1
            self.go(column, at_once=True)
            yield HOLD
        self.go(before, at_once=True)

    def _animate(self) -> None:
        """Draw one plane of a frame; both in one turn of the event loop would delay the rest of the window."""
        share = min(self._elapsed.elapsed() / _EASING, 1.0)
        eased = share * share * (3 - 2 * share)
        self._turn = 1 - self._turn
        for number in range(2) if share >= 1 else (self._turn,):
            start, goal = self._starts[number], self._goals[number]
            plane = self.cells[number].plane
            position = start + eased * (goal - start)
            if plane.position != position:
                plane.go(position)
        if share >= 1:
            self._clock.stop()

    def _point(self, x: float, y: float) -> None:
        cell = next(cell for cell in self.cells if cell.plane is self.sender())
        if cell.role is not None:
            self.probed.emit(cell.role, self._goals[self.cells.index(cell)], x, y)

    # --- the room -------------------------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_LEAST[0]), scaled(_LEAST[1]))

    @property
    def has_probe(self) -> bool:
        """Whether there is room for the probe."""
        return self.width() >= scaled(_PROBE)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.probe.setVisible(self.has_probe)
        self.strip.setVisible(self.height() >= scaled(_STRIP))
        self._fill_strip()
        self._mark_strip()

    def restyle(self) -> None:
        """Apply the current theme."""
        for cell in self.cells:
            cell.restyle()
        self.probe.restyle()


def common_half(flows: Sequence[PlaneFlow]) -> float:
    """Return half the side of a square around the origin that holds nearly all states of some flows."""
    least = max([_NOISE, *(abs(end) for flow in flows for end in extent_of(flow.points[0, :_SOME]))])
    ends = [abs(end) for flow in flows for points in flow.points for end in extent_of(points[:_SOME])]
    return float(min(max([least, *ends]), _WIDEST * least))
