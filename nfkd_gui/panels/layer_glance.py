"""What a layer of the shown run makes of an example, beside the drawing of the flows."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from nfkd.protocol.inspection import FlowStates, LayerStates, Origin, ReadLayers
from nfkd.protocol.requests import Reply
from nfkd.protocol.roles import Role, find_role
from nfkd_gui.model.inspection import Inspection
from nfkd_gui.model.run_config import FLOWS, RunConfig
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.pictures import data_kind
from nfkd_gui.plotting.mosaic import INK
from nfkd_gui.plotting.state_pictures import example_image, state_image
from nfkd_gui.theme import is_dark, scaled, set_space
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel

_SIZE = 40
_EXAMPLE = Origin(kind="validation", index=0)


class LayerGlance(QWidget):
    """Shows the state of the first validation example after a layer, and what decoding from there gives.

    It is hidden unless the shown run has the flows of the form, and their weights.
    """

    flow_wanted = Signal(str, str)
    """The user wants to see the layer in the Flow panel: role and name."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("architecture.glance")
        self._studio, self._config = studio, RunConfig()
        self._layer: tuple[Role, str] | None = None
        self._inspection = Inspection(studio, self)
        self._inspection.replied.connect(self._show)
        self._inspection.failed.connect(self.hide)
        self._state, self._decoded = (self._picture(name) for name in ("state", "decoded"))
        self._before, self._after = ToneLabel("Example 0 after it", parent=self), ToneLabel("decoded", parent=self)
        link = QPushButton("Show in Flow", self)
        link.setObjectName("architecture.flow")
        link.setToolTip("Follow examples through the layers, in Train.")
        link.setProperty("link", True)
        link.clicked.connect(self._want_flow)
        line = QHBoxLayout(self)
        set_space(line, 8)
        for widget in (self._before, self._state, self._after, self._decoded, link):
            line.addWidget(widget)
        for signal in (studio.view_changed, studio.seed_changed):
            signal.connect(self.clear)
        self.hide()

    def _picture(self, name: str) -> PlainLabel:
        label = PlainLabel("", self)
        label.setObjectName(f"architecture.{name}")
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        return label

    def show_layer(self, name: str, layer: str) -> None:
        """Ask for the state after a layer of a flow, if the shown run has it."""
        view, role = self._studio.view, find_role(name)
        self.clear()
        if view is None or role is None or not self._config.agrees(view, self._studio.experiment.config, FLOWS):
            return
        stage = view.find_stage(self._studio.seed, role)
        if stage is None or stage.samples is None:
            return
        self._layer = role, layer
        ticket, run = self._inspection.ticket, view.row.run
        self._inspection.ask(ReadLayers(run, seed=self._studio.seed, ticket=ticket, origin=_EXAMPLE))

    def clear(self) -> None:
        """Show nothing."""
        self._layer = None
        self.hide()

    def _want_flow(self) -> None:
        if self._layer is not None:
            self.flow_wanted.emit(*self._layer)

    def _show(self, reply: Reply) -> None:
        if not isinstance(reply, LayerStates) or self._layer is None:
            return
        role, name = self._layer
        states = reply.flows.get(role)
        if states is not None and any(layer.name == name for layer in states.layers):
            self._draw(states, name)
            self.show()

    def _draw(self, states: FlowStates, name: str) -> None:
        layer = next(layer for layer in states.layers if layer.name == name)
        view = self._studio.view
        ink = view is not None and not is_dark() and data_kind(view.config) in INK
        ink = ink and not self._studio.preferences.images_as_stored
        decoded = states.decoded[layer.splits]
        pictures = (state_image(layer.value), example_image(decoded, ink=ink))
        for label, image in zip((self._state, self._decoded), pictures, strict=True):
            label.setPixmap(
                QPixmap.fromImage(image).scaled(scaled(_SIZE), scaled(_SIZE), Qt.AspectRatioMode.KeepAspectRatio)
            )
        self._state.setAccessibleName(f"State of example 0 after {layer.label}")
        self._decoded.setAccessibleName("What decoding from there gives")
        self._decoded.setToolTip(
            "The example, decoded from this level on; latents that left at earlier levels are at their mean."
            if layer.splits
            else "The example itself: no latents have left before this layer."
        )
