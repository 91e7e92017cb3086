"""What a layer of the shown run makes of an example, beside the drawing of the flows."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QImage, QPixmap, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from nfkd.protocol.inspection import FlowStates, LayerState, Origin
from nfkd.protocol.roles import Role, find_role
from nfkd.text import subscript
from nfkd_gui.model.flow_states import FlowStatesModel
from nfkd_gui.model.run_config import FLOWS, RunConfig
from nfkd_gui.model.studio import Studio
from nfkd_gui.panels.pictures import draws_ink
from nfkd_gui.plotting.state_pictures import example_image, state_image
from nfkd_gui.theme import scaled, set_space
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel

_SIZE, _THIN = 40, 8
"""Largest side of a picture, and the least width of a vector's strip."""


class LayerGlance(QWidget):
    """Shows an example's state after a layer, what decoding from there gives, and the latents that left last.

    The example is the first of the validation data. The widget is hidden unless the shown run has the flows of the
    form, and their weights; it follows the weights of a running run.
    """

    flow_wanted = Signal(str, str)
    """The user wants to see the layer in the Flow panel: role and name."""

    def __init__(self, studio: Studio, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("architecture.glance")
        self._studio, self._config = studio, RunConfig()
        self._layer: tuple[Role, str] | None = None
        self._asked: tuple[int, bool] | None = None
        self._has_latents, self._is_wide = False, True
        self._states = FlowStatesModel(studio, 0, self)
        self._states.origin = Origin(kind="validation", index=0)
        self._states.layers_changed.connect(self._show)
        self._states.failed.connect(self.hide)
        self._states.refresh_due.connect(self._refresh)
        self._state, self._decoded, self._latents = (self._picture(name) for name in ("state", "decoded", "latents"))
        self._after, self._gone = ToneLabel(parent=self), ToneLabel(parent=self)
        self._after.setObjectName("architecture.after")
        link = QPushButton("Show in Flow", self)
        link.setObjectName("architecture.flow")
        link.setToolTip("Follow examples through the layers, in Train.")
        link.setProperty("link", True)
        link.clicked.connect(self._want_flow)
        line = QHBoxLayout(self)
        set_space(line, 8)
        before = ToneLabel("Example 0 after it", parent=self)
        for widget in (before, self._state, self._after, self._decoded, self._gone, self._latents, link):
            line.addWidget(widget)
        for signal in (studio.view_changed, studio.seed_changed):
            signal.connect(self.clear)
        studio.event_applied.connect(self._refresh)
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
        self._asked = self._weights_of(role)
        if self._asked is not None:
            self._layer = role, layer
            self._states.ask_layers()

    def widen(self, wide: bool) -> None:
        """Choose whether there is room for the picture of the latents; the tooltip tells their sizes in any case."""
        self._is_wide = wide
        self._fit()

    def clear(self) -> None:
        """Show nothing."""
        self._layer = None
        self._states.forget()
        self.hide()

    def _weights_of(self, role: Role) -> tuple[int, bool] | None:
        view = self._studio.view
        stage = view.find_stage(self._studio.seed, role) if view is not None else None
        return None if stage is None or stage.samples is None else (stage.samples.step, stage.samples.final)

    def _refresh(self) -> None:
        """Ask for the states of newer weights, if the last request is long enough ago."""
        if self._layer is None or not self.isVisible():
            return
        weights = self._weights_of(self._layer[0])
        if weights != self._asked and self._states.may_refresh():
            self._asked = weights
            self._states.ask_layers()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._refresh()

    def _want_flow(self) -> None:
        if self._layer is not None:
            self.flow_wanted.emit(*self._layer)

    # --- what is shown --------------------------------------------------------------------------------------------

    def _show(self) -> None:
        states = self._states.layers
        if states is None or self._layer is None:
            return
        role, name = self._layer
        flow = states.flows.get(role)
        layer = next((layer for layer in flow.layers if layer.name == name), None) if flow is not None else None
        if flow is not None and layer is not None:
            self._state.setPixmap(_fitted(state_image(layer.value)))
            self._state.setAccessibleName(f"State of example 0 after {layer.label}")
            self._show_decoded(flow, layer.splits)
            self._show_latents(flow, layer)
            self.show()

    def _show_decoded(self, flow: FlowStates, splits: int) -> None:
        self._decoded.setVisible(bool(flow.decoded))
        self._after.setText("decoded" if flow.decoded else "This flow cannot decode.")
        if not flow.decoded:
            return
        decoded = flow.decoded[splits]
        ink = draws_ink(self._studio, self._studio.view)
        self._decoded.setPixmap(_fitted(state_image(decoded) if decoded.ndim == 1 else example_image(decoded, ink=ink)))
        self._decoded.setAccessibleName("What decoding from there gives")
        self._decoded.setToolTip(
            "The example, decoded from this level on; latents that left at earlier levels are at their mean."
            if splits
            else "The example itself: no latents have left before this layer."
        )

    def _show_latents(self, flow: FlowStates, layer: LayerState) -> None:
        """Show the latents that left last before a layer."""
        self._has_latents = layer.splits > 0
        self._fit()
        self._state.setToolTip("")
        if layer.splits:
            name = f"z{subscript(layer.splits)}"
            self._gone.setText(f"{name} left")
            self._latents.setPixmap(_fitted(state_image(flow.latents[layer.splits - 1])))
            self._latents.setAccessibleName(f"Latents {name} that left before {layer.label}")
            sizes = ", ".join(
                f"z{subscript(number)}: {latents.size:,} values"
                for number, latents in enumerate(flow.latents[: layer.splits], start=1)
            )
            for label in (self._state, self._latents):
                label.setToolTip(f"Latents that left before this layer: {sizes}.")

    def _fit(self) -> None:
        for widget in (self._gone, self._latents):
            widget.setVisible(self._has_latents and self._is_wide)


def _fitted(image: QImage) -> QPixmap:
    """Return a small picture; the strip of a vector is made wide enough to be seen."""
    size = image.size().scaled(scaled(_SIZE), scaled(_SIZE), Qt.AspectRatioMode.KeepAspectRatio)
    return QPixmap.fromImage(image.scaled(max(size.width(), scaled(_THIN)), max(size.height(), scaled(_THIN))))
