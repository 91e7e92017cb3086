"""A flow of the lab: its name and figures, its plane, and its layers, each of which can be switched off."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from nfkd.protocol.lab import LabFlow
from nfkd.protocol.roles import Role
from nfkd_gui.numbers import format_measure
from nfkd_gui.panels.lab_plane import LabPlane
from nfkd_gui.theme import font, role_colour, scaled, set_space, tokens
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, TypeLabel

NAMES: dict[Role, str] = {"teacher": "Teacher", "student": "Student", "baseline": "Student alone"}
"""What the lab calls its flows."""
LEARNERS: frozenset[Role] = frozenset({"student", "baseline"})
"""The flows that are the same but for the teacher."""
_CHIP, _MOST = 20, 20
"""Side of a chip, and layers that have one."""


class LayerChip(QAbstractButton):
    """Switches a layer on or off; it has the layer's number."""

    def __init__(self, role: Role, number: int, parent: QWidget) -> None:
        super().__init__(parent)
        self._role: Role = role
        self.setText(str(number))
        self.setCheckable(True)
        self.setChecked(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def sizeHint(self) -> QSize:
        return QSize(scaled(_CHIP), scaled(_CHIP))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(_CHIP) // 2, scaled(_CHIP))

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        colours, on = tokens(), self.isChecked()
        colour = QColor(role_colour(self._role))
        ground = QColor(colour)
        ground.setAlphaF(0.25 if on else 0.0)
        rect = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            focused = self.hasFocus()
            edge = QColor(colours.accent if focused else colours.control) if focused or not on else ground
            painter.setPen(QPen(edge, 2 if focused else 1))
            painter.setBrush(ground)
            painter.drawRoundedRect(rect, scaled(4), scaled(4))
            painter.setFont(font("caption"))
            painter.setPen(QColor(colours.text if on else colours.muted))
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, self.text())
            if not on:
                painter.drawLine(rect.bottomLeft() + QPointF(3, -3), rect.topRight() + QPointF(-3, 3))


class LayerChips(QWidget):
    """One chip for each layer of a flow."""

    switched = Signal(str, bool)
    """The layer's name, and whether it is on now."""

    def __init__(self, role: Role, parent: QWidget) -> None:
        super().__init__(parent)
        self._role: Role = role
        self.chips: dict[str, LayerChip] = {}
        self._line = QHBoxLayout(self)
        set_space(self._line, 4)

    def show_layers(self, names: Sequence[str], labels: Sequence[str], off: Sequence[str]) -> None:
        """Show these layers, some of which are off."""
        if list(self.chips) != list(names[:_MOST]):
            for chip in self.chips.values():
                self._line.removeWidget(chip)
                chip.deleteLater()
            self.chips = {}
            for number, (name, label) in enumerate(zip(names[:_MOST], labels, strict=False), 1):
                chip = self.chips[name] = LayerChip(self._role, number, self)
                chip.setObjectName(f"lab.layer.{self._role}.{name}")
                chip.setAccessibleName(f"{NAMES[self._role]}, {label}")
                chip.toggled.connect(self._switch)
                self._line.addWidget(chip)
        for name, chip in self.chips.items():
            chip.blockSignals(True)
            chip.setChecked(name not in off)
            chip.blockSignals(False)
            chip.update()
            does = "Leave this layer out of the pictures." if chip.isChecked() else "Use this layer again."
            chip.setToolTip(f"{chip.accessibleName()}. {does}")

    def _switch(self, on: bool) -> None:
        name = next(name for name, chip in self.chips.items() if chip is self.sender())
        self.switched.emit(name, on)


class LabCell(QWidget):
    """A plane below the name and the held-out value of its flow, and above its layers."""

    def __init__(self, role: Role, parent: QWidget) -> None:
        super().__init__(parent)
        self.role: Role = role
        self.title = TypeLabel("strong", NAMES[role], self)
        self.caption = Caption(parent=self)
        self.value = TypeLabel("strong", parent=self)
        self.value.setObjectName(f"lab.value.{role}")
        self.plane = LabPlane(role, self)
        self.plane.setObjectName(f"lab.plane.{role}")
        self.plane.setAccessibleName(f"{NAMES[role]} in the plane")
        self._reason = ToneLabel(parent=self)
        self._reason.setObjectName(f"lab.reason.{role}")
        self._reason.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._reason.setWordWrap(True)
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self._reason)
        self._pages.addWidget(self.plane)
        self.chips = LayerChips(role, self)
        self.layers = PlainLabel("Layers", self)
        self.state = Caption(parent=self)
        self.state.setObjectName(f"lab.state.{role}")
        self.state.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._lay_out()
        self.restyle()

    def _lay_out(self) -> None:
        head, self.foot = QHBoxLayout(), QWidget(self)
        set_space(head, 8)
        head.addWidget(self.title)
        head.addWidget(self.caption, 1)
        head.addWidget(self.value)
        foot = QHBoxLayout(self.foot)
        set_space(foot, 8)
        foot.addWidget(self.layers)
        foot.addWidget(self.chips)
        foot.addWidget(self.state, 1)
        column = QVBoxLayout(self)
        set_space(column, 6)
        column.addLayout(head)
        column.addWidget(self._pages, 1)
        column.addWidget(self.foot)

    def sizeHint(self) -> QSize:
        return QSize(scaled(372), scaled(372) + self.around())

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(150), scaled(150) + self.around())

    def around(self) -> int:
        """Return the height of what is above and below the plane."""
        foot = self.foot.sizeHint().height() + scaled(6) if not self.foot.isHidden() else 0
        return self.title.sizeHint().height() + scaled(6) + foot

    @property
    def shown(self) -> bool:
        """Whether the plane is shown."""
        return self._pages.currentWidget() is self.plane

    def show_flow(self, flow: LabFlow, captions: Sequence[str], off: Sequence[str]) -> None:
        """Name the flow, with captions from long to short, and show its layers."""
        self.caption.show_texts(captions)
        self.caption.setToolTip(f"{flow.summary}, {flow.parameters:,} parameters")
        self.chips.show_layers(flow.names, flow.labels, off)

    def show_value(self, newest: float, best: float, held_out: int) -> None:
        """Show the mean negative log p of the held-out examples."""
        self.value.setText(f"{format_measure(newest, 2)} nats" if math.isfinite(newest) else "")
        self.value.setToolTip(
            f"Mean negative log p of {held_out:,} held-out examples: lower is better. Best so far: "
            f"{format_measure(best)} nats."
        )

    def show_reason(self, reason: str) -> None:
        """Show why there is no plane; an empty reason shows the plane."""
        self._reason.setText(reason)
        self._pages.setCurrentWidget(self._reason if reason else self.plane)

    def show_state(self, share: float) -> None:
        """Say which state the plane shows."""
        flow = self.plane.flow
        count = 0 if flow is None else len(flow.names)
        number = share * count
        if share in (0, 1):
            texts = ["data"] if not share else ["noise"]
        else:
            texts = [f"after layer {number:.1f} of {count}".replace(".0 ", " "), f"{number:.1f} of {count}"]
        self.state.show_texts(texts)

    def restyle(self) -> None:
        """Apply the current theme."""
        self.title.setStyleSheet(f"color: {role_colour(self.role)};")
        self.plane.restyle()
        self.chips.update()
