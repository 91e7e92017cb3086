"""The probe of the lab: a point, and the formula of change of variables with its numbers for every flow."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from PySide6.QtCore import QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from nfkd.protocol.lab import LAB_ROLES, ProbePath
from nfkd.protocol.roles import Role
from nfkd_gui.model.lab import LabModel
from nfkd_gui.numbers import format_measure
from nfkd_gui.panels.lab_cell import NAMES
from nfkd_gui.plotting.waterfall import Terms, Waterfall, common_range
from nfkd_gui.theme import fix_size, role_colour, scaled, set_space
from nfkd_gui.widgets.labels import MarkupLabel, PlainLabel, ToneLabel, TypeLabel
from nfkd_gui.widgets.number_field import DecimalField

_LIMIT = 20.0
_NARROWEST, _THREE, _WIDE = 300, 480, 740
"""Least width, and those from which there are three flows, and the formula beside the point."""
FORMULA = "log p(x) = log N(z) + Σ<sub>k</sub> log |det J<sub>k</sub>|"


def terms_of(role: Role, path: ProbePath) -> Terms:
    """Return the terms of a point's log p under a flow."""
    return Terms(role, path.base_log_prob, tuple(float(value) for value in path.log_dets))


def formula_text(terms: Terms) -> str:
    """Return the formula with its numbers: ``−2.13 + 0.32 − 0.08 = −1.89``."""
    added = "".join(f" {'+' if value >= 0 else '−'} {format_measure(abs(value), 2)}" for value in terms.layers)
    return f"{format_measure(terms.base, 2)}{added} = {format_measure(terms.total, 2)}"


class _Block(QWidget):
    """The terms of one flow."""

    def __init__(self, role: Role, parent: QWidget) -> None:
        super().__init__(parent)
        self.role: Role = role
        self.title = TypeLabel("strong", NAMES[role], self)
        self.total = TypeLabel("strong", parent=self)
        self.total.setObjectName(f"lab.log_prob.{role}")
        self.formula = ToneLabel(parent=self)
        self.formula.setObjectName(f"lab.formula.{role}")
        self.formula.setWordWrap(True)
        self.chart = Waterfall(self)
        self.chart.setObjectName(f"lab.terms.{role}")
        head, column = QHBoxLayout(), QVBoxLayout(self)
        set_space(head, 8)
        head.addWidget(self.title, 1)
        head.addWidget(self.total)
        set_space(column, 4)
        column.addLayout(head)
        column.addWidget(self.formula)
        column.addWidget(self.chart)
        column.addStretch(1)

    def show_terms(self, terms: Terms, span: tuple[float, float]) -> None:
        self.total.setText(f"{format_measure(terms.total)} nats")
        self.formula.setText(f"log p = {formula_text(terms)}")
        self.chart.show_terms(terms, span)

    def restyle(self) -> None:
        self.title.setStyleSheet(f"color: {role_colour(self.role)};")
        self.chart.update()


class LabProbePanel(QWidget):
    """Holds the fields of the point and the terms of its log p."""

    placed = Signal(float, float)
    """A place of the data that the user chose."""
    removed = Signal()

    def __init__(self, lab: LabModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lab = lab
        self._share = 0.0
        self._roles: Collection[Role] = LAB_ROLES
        self.fields = self._field("x"), self._field("y")
        self.likely = QPushButton("Most likely", self)
        self.likely.setObjectName("lab.probe_likely")
        self.likely.clicked.connect(self._place_likely)
        self.remove = QPushButton("Remove", self)
        self.remove.setObjectName("lab.probe_remove")
        self.remove.setToolTip("Remove the probe from the planes.")
        self.remove.clicked.connect(self.removed)
        self.message = ToneLabel("Click a plane, or drag the ring, to place the probe.", parent=self)
        self.message.setObjectName("lab.probe_message")
        self.blocks = {role: _Block(role, self) for role in LAB_ROLES}
        self._lay_out()
        self.restyle()

    def _field(self, name: str) -> DecimalField:
        field = DecimalField(self)
        field.setObjectName(f"lab.probe_{name}")
        field.setAccessibleName(f"{name} of the probe")
        field.setToolTip(f"{name} of the point in the plane of the data.")
        field.setRange(-_LIMIT, _LIMIT)
        field.setDecimals(2)
        field.setSingleStep(0.1)
        field.setKeyboardTracking(False)
        fix_size(field, 84)
        field.valueChanged.connect(self._place)
        return field

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        set_space(head, 8)
        self._formula = MarkupLabel(self)
        self._formula.setText(FORMULA)
        for name, field in zip("xy", self.fields, strict=True):
            label = PlainLabel(name, self)
            label.setBuddy(field)
            head.addWidget(label)
            head.addWidget(field)
        head.addWidget(self.likely)
        head.addWidget(self.remove)
        head.addStretch(1)
        inside = QWidget(self)
        line = QHBoxLayout(inside)
        set_space(line, 16)
        for block in self.blocks.values():
            line.addWidget(block, 1, Qt.AlignmentFlag.AlignTop)
        scroll = QScrollArea(self)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidgetResizable(True)
        scroll.setWidget(inside)
        column = QVBoxLayout(self)
        set_space(column, 8, 12, 8, 12, 8)
        self._head = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        set_space(self._head, 6)
        self._head.addLayout(head)
        self._head.addWidget(self._formula)
        column.addLayout(self._head)
        column.addWidget(self.message)
        column.addWidget(scroll, 1)

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_NARROWEST), super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide = self.width() >= scaled(_WIDE)
        self._head.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        self.show_probe()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def show_roles(self, roles: Collection[Role]) -> None:
        """Show only some of the flows."""
        self._roles = roles
        self.likely.setToolTip(f"Go to where the density of the {NAMES[self._first].lower()} is highest.")
        self.show_probe()

    @property
    def _first(self) -> Role:
        return next(role for role in LAB_ROLES if role in self._roles)

    def show_probe(self) -> None:
        """Show the terms of the probe."""
        probe = self._lab.probe
        flows: dict[Role, ProbePath] = {} if probe is None else probe.flows
        shown = {role: terms_of(role, flows[role]) for role in LAB_ROLES if role in flows and role in self._roles}
        span = common_range(list(shown.values()))
        room = len(shown) < len(LAB_ROLES) or self.width() >= scaled(_THREE)
        self.message.setVisible(not shown)
        self.remove.setEnabled(bool(self._lab.state.lab.probe))
        self.likely.setEnabled(self._lab.info is not None)
        for role, block in self.blocks.items():
            block.setVisible(role in shown and (role != "baseline" or room))
            if role in shown:
                block.show_terms(shown[role], span)
        if probe is not None:
            for field, value in zip(self.fields, probe.point, strict=True):
                with QSignalBlocker(field):
                    field.setValue(value)
        self.mark(self._share)

    def mark(self, share: float) -> None:
        """Mark the layer of each flow at a share of the way."""
        self._share = share
        for block in self.blocks.values():
            count = 0 if block.chart.terms is None else len(block.chart.terms.layers)
            block.chart.mark(math.ceil(share * count - 1e-9))

    # --- by the user --------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        self.placed.emit(*(field.value() for field in self.fields))

    def _place_likely(self) -> None:
        picture, info = self._lab.pictures.get(self._first), self._lab.info
        if picture is None or info is None:
            return
        rows, columns = picture.density.shape
        row, column = np.unravel_index(int(np.argmax(picture.density)), (rows, columns))
        x0, x1, y0, y1 = info.extent
        x = x0 + (int(column) + 0.5) / columns * (x1 - x0)
        self.placed.emit(x, y0 + (int(row) + 0.5) / rows * (y1 - y0))

    def restyle(self) -> None:
        """Apply the current theme."""
        for block in self.blocks.values():
            block.restyle()
