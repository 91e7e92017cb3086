"""A flow of the flow panel: its name, what it is, the layer that is shown, and its picture or why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from nfkd.protocol.roles import Role, role_label
from nfkd_gui.plotting.flow_plane import FlowPlane
from nfkd_gui.theme import role_colour, set_space
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, TypeLabel


class FlowCell(QWidget):
    """A plane below the name of its flow; the role may change."""

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.role: Role | None = None
        self.title = TypeLabel("strong", parent=self)
        self.caption = Caption(parent=self)
        self.layer = PlainLabel(parent=self)
        self.layer.setObjectName(f"{name}.layer")
        self._reason = ToneLabel(parent=self)
        self._reason.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._reason.setWordWrap(True)
        self.plane = FlowPlane(self)
        self.plane.setObjectName(f"{name}.plane")
        self.pages = QStackedWidget(self)
        self.pages.addWidget(self._reason)
        self.pages.addWidget(self.plane)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        head = QHBoxLayout()
        set_space(head, 8)
        head.addWidget(self.title)
        head.addWidget(self.caption, 1)
        head.addWidget(self.layer)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addLayout(head)
        column.addWidget(self.pages, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        # Higher than wide, a plane would only show more of the void above and below.
        self.setMaximumHeight(self.width() + self.title.height())

    @property
    def shown(self) -> bool:
        """Whether the plane is shown."""
        return self.pages.currentWidget() is self.plane

    def show_role(self, role: Role, captions: Sequence[str]) -> None:
        """Name the flow, with captions from long to short."""
        self.caption.show_texts(captions)
        if role != self.role:
            self.role = role
            self.title.setText(role_label(role))
            self.plane.setAccessibleName(f"Points of {role_label(role).lower()}")
            self._colour()

    def show_plane(self) -> None:
        """Show the plane."""
        self.pages.setCurrentWidget(self.plane)

    def show_reason(self, reason: str) -> None:
        """Show why there is no plane."""
        self._reason.setText(reason)
        self.layer.setText("")
        self.pages.setCurrentWidget(self._reason)

    def show_layer(self, state: int, count: int) -> None:
        """Say which state is shown."""
        self.layer.setText(layer_text(state, count))

    def restyle(self) -> None:
        """Apply the current theme."""
        self._colour()
        self.plane.restyle()

    def _colour(self) -> None:
        if self.role is not None:
            self.title.setStyleSheet(f"color: {role_colour(self.role)};")


def layer_text(state: int, count: int) -> str:
    """Return what a state of a flow with `count` layers is."""
    return "data" if not state else f"after layer {state} of {count}"
