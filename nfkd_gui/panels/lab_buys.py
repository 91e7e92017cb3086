"""What distillation buys in the lab: the gap closed, the likelihoods over the steps, and a table of the flows."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from nfkd.protocol.lab import LAB_ROLES
from nfkd.protocol.roles import Role
from nfkd_gui.model.lab import LabModel
from nfkd_gui.numbers import format_count, format_measure, format_percent
from nfkd_gui.panels.lab_cell import NAMES
from nfkd_gui.plotting.gain_plot import GainPlot
from nfkd_gui.theme import limit_size, role_colour, scaled, set_space
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, TypeLabel, WrappedLabel

_HEADS = ("Parameters", "Samples a second", "NLL, best (nats)")
_TABLE, _FIGURE, _PLOT, _NARROWEST = 190, 176, 400, 300
"""Height from which there is a table, width of the figure, and width from which the plot stands beside it, and
least width."""


class FlowTable(QFrame):
    """Parameters, speed and likelihood of each flow."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        grid = QGridLayout(self)
        set_space(grid, 3, across=16)
        self.cells: dict[tuple[Role, int], PlainLabel] = {}
        self._names: dict[Role, PlainLabel] = {}
        self._rows: dict[Role, list[QWidget]] = {}
        right = Qt.AlignmentFlag.AlignRight
        for column, head in enumerate(_HEADS, 1):
            grid.addWidget(ToneLabel(head, parent=self), 0, column, right)
            grid.setColumnStretch(column, 1)
        for number, role in enumerate(LAB_ROLES):
            line = QFrame(self)
            line.setProperty("line", True)
            grid.addWidget(line, 2 * number + 1, 0, 1, len(_HEADS) + 1)
            name = self._names[role] = PlainLabel(NAMES[role], self)
            self._rows[role] = [line, name]
            grid.addWidget(name, 2 * number + 2, 0)
            for column, head in enumerate(_HEADS):
                cell = self.cells[role, column] = PlainLabel("–", self)
                cell.setObjectName(f"lab.table.{role}.{column}")
                cell.setAccessibleName(f"{NAMES[role]}, {head}")
                grid.addWidget(cell, 2 * number + 2, column + 1, right)
                self._rows[role].append(cell)
        self.restyle()

    def show_roles(self, roles: Collection[Role]) -> None:
        """Show only the rows of some flows."""
        for role, widgets in self._rows.items():
            for widget in widgets:
                widget.setVisible(role in roles)

    def show_flow(self, role: Role, texts: tuple[str, str, str]) -> None:
        """Show the figures of a flow."""
        for column, text in enumerate(texts):
            self.cells[role, column].setText(text)

    def restyle(self) -> None:
        """Apply the current theme."""
        for role, name in self._names.items():
            name.setStyleSheet(f"color: {role_colour(role)};")


class LabBuys(QWidget):
    """Shows how much of the gap to the teacher the student closes."""

    def __init__(self, lab: LabModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab = lab
        self._roles: Collection[Role] = LAB_ROLES
        self.figure = TypeLabel("large", "–", self)
        self.figure.setObjectName("lab.gap")
        self.figure.setAccessibleName("Gap closed")
        self.figure.setToolTip("(student alone − student) / (student alone − teacher), of the best held-out values.")
        self.reason = WrappedLabel(parent=self)
        self.reason.setObjectName("lab.gap_reason")
        self.plot = GainPlot(NAMES, self)
        self.plot.setObjectName("lab.gain")
        self.plot.setAccessibleName("Held-out negative log p over the steps")
        self.plot.setToolTip("Mean negative log p of held-out data. Thick: best so far; thin: newest.")
        self.table = FlowTable(self)
        self._beside = QWidget(self)
        limit_size(self._beside, least=(_FIGURE, 0), most=(_FIGURE, 0))
        left = QVBoxLayout(self._beside)
        set_space(left, 4)
        left.addWidget(self.figure)
        left.addWidget(self.reason)
        left.addStretch(1)
        top = QHBoxLayout()
        set_space(top, 16)
        top.addWidget(self._beside)
        top.addWidget(self.plot, 1)
        column = QVBoxLayout(self)
        set_space(column, 12, 12, 8, 12, 10)
        column.addLayout(top, 1)
        column.addWidget(self.table)

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_roles(self, roles: Collection[Role]) -> None:
        """Show only some of the flows; the share of the gap needs all three."""
        self._roles = roles
        self._beside.setVisible(set(roles) == set(LAB_ROLES))
        self.table.show_roles(roles)
        self.plot.show_names({role: NAMES[role] for role in LAB_ROLES if role in roles})
        self.show_frame()

    def show_frame(self) -> None:
        """Show the newest figures."""
        lab = self._lab
        closed = lab.gap_closed
        self.figure.setText("–" if math.isnan(closed) else format_percent(closed))
        self.reason.setText(self._explain(closed))
        known = {} if lab.frame is None else lab.frame.curves
        curves: dict[Role, np.ndarray] = {role: curve for role, curve in known.items() if role in self._roles}
        self.plot.show_curves(curves, self._steps())
        for role in LAB_ROLES:
            flow = None if lab.info is None else lab.info.flows.get(role)
            speed = format_count(flow.samples_per_second) if flow is not None else "–"
            parameters = format_count(flow.parameters) if flow is not None else "–"
            self.table.show_flow(role, (parameters, speed, format_measure(lab.best(role))))

    def _steps(self) -> int:
        lab = self._lab
        training = lab.state.training
        alone = lab.frame is not None and lab.frame.phase == "teacher"
        return training.teacher_steps if alone else training.student_steps

    def _explain(self, closed: float) -> str:
        lab, frame = self._lab, self._lab.frame
        if frame is None or frame.phase == "teacher":
            return "Known when the students train."
        if not math.isnan(closed):
            return f"of the gap to the teacher closed, at step {frame.step:,}"
        if math.isnan(lab.best("student")) or math.isnan(lab.best("baseline")):
            return "Known after the first steps: press Play."
        return "No gap to close: the teacher is not better than the student alone."

    # --- size ---------------------------------------------------------------------------------------------------------

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_NARROWEST), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.table.setVisible(self.height() >= scaled(_TABLE))
        self.plot.setVisible(self.width() >= scaled(_PLOT))

    def restyle(self) -> None:
        """Apply the current theme."""
        self.table.restyle()
        self.plot.update()
