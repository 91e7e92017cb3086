"""The marked state of an example, enlarged: what decoding from there gives, and the latents that have left."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from nfkd.protocol.inspection import FlowStates
from nfkd.protocol.roles import Role, role_label
from nfkd.text import subscript
from nfkd_gui.model.layer_columns import pictured
from nfkd_gui.numbers import format_measure
from nfkd_gui.plotting.state_pictures import example_image, state_image
from nfkd_gui.theme import role_colour, scaled, set_space, tokens
from nfkd_gui.widgets.caption import Caption
from nfkd_gui.widgets.labels import PlainLabel, ToneLabel, TypeLabel
from nfkd_gui.widgets.switch import Switch

_SIDE, _LATENT = 132, 56
RESTS = {"mean": ("Rest at its mean", ""), "noise": ("At fresh noise", "")}


class Picture(QWidget):
    """One picture with its aspect, as large as it fits, with a border."""

    def __init__(self, side: int, parent: QWidget) -> None:
        super().__init__(parent)
        self.image = QImage()
        self._side = side
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)

    def show_image(self, image: QImage, name: str) -> None:
        """Show another picture; its accessible name says what it is."""
        self.image = image
        self.setAccessibleName(name)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(self._side), scaled(self._side))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(self._side) // 2, scaled(self._side) // 2)

    def target(self) -> QRectF:
        """Return the rectangle of the picture."""
        if self.image.isNull():
            return QRectF()
        scale = min((self.width() - 2) / self.image.width(), (self.height() - 2) / self.image.height())
        return QRectF(1, 1, self.image.width() * scale, self.image.height() * scale)

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        if not self.image.isNull():
            painter.drawImage(self.target(), self.image)
            painter.setPen(QPen(QColor(tokens().border), 1))
            painter.drawRect(self.target())
        painter.end()


class DetailBlock(QWidget):
    """The state of one flow, and what belongs to it."""

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.role: Role | None = None
        self.title = TypeLabel("strong", parent=self)
        self.log_det = PlainLabel(parent=self)
        self.log_det.setObjectName(f"{name}.log_det")
        self.state, self.decoded = Picture(_SIDE, self), Picture(_SIDE, self)
        self.state.setObjectName(f"{name}.state")
        self.decoded.setObjectName(f"{name}.decoded")
        self.names = Caption(parent=self), Caption(parent=self)
        self.latents: list[tuple[Picture, Caption]] = []
        self._row = QHBoxLayout()
        head, grid = QHBoxLayout(), QGridLayout()
        set_space(head, 8)
        set_space(self._row, 8)
        set_space(grid, 4)
        head.addWidget(self.title, 1)
        head.addWidget(self.log_det)
        for index, picture in enumerate((self.state, self.decoded)):
            grid.addWidget(picture, 0, index)
            grid.addWidget(self.names[index], 1, index)
            grid.setColumnStretch(index, 1)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addLayout(head)
        column.addLayout(grid)
        column.addLayout(self._row)

    def show_state(self, role: Role, flow: FlowStates, state: int, *, ink: bool, rest: str) -> None:
        """Show a state of a flow, and what has left before it."""
        if role != self.role:
            self.role = role
            self.restyle()
        layers = pictured(flow)
        layer = layers[state - 1] if state else None
        self.title.setText(f"{role_label(role)}, {f'after {layer.label}' if layer else 'data'}")
        self.log_det.setText(f"log-det {format_measure(layer.log_det if layer else 0.0, 1)}")
        is_image = flow.example.ndim > 1
        value = layer.value if layer else flow.state
        image = state_image(value) if layer or not is_image else example_image(flow.example, ink=ink)
        size = "×".join(map(str, value.shape))
        self.state.show_image(image, f"State of {role_label(role).lower()}")
        self.names[0].show_texts([f"state, {size}", "state"])
        gone = layer.splits if layer else 0
        self.decoded.setVisible(is_image and bool(flow.decoded))
        self.names[1].setVisible(is_image)
        if is_image and flow.decoded:
            self.decoded.show_image(example_image(flow.decoded[gone], ink=ink), "Decoded from there")
            left = "rest at its mean" if rest == "mean" else "rest at fresh noise"
            self.names[1].show_texts([f"decoded, {left}" if gone else "decoded: the example", "decoded"])
        else:
            self.names[1].show_texts(["This flow cannot decode.", "cannot decode"])
        self._show_latents(flow, gone, at_end=layer is not None and layer is layers[-1])

    def _show_latents(self, flow: FlowStates, gone: int, *, at_end: bool) -> None:
        shown = flow.latents if at_end else flow.latents[:gone]
        while len(self.latents) < len(shown):
            self._add_latent()
        for number, (picture, caption) in enumerate(self.latents, start=1):
            for widget in (picture, caption):
                widget.setVisible(number <= len(shown))
            if number <= len(shown):
                name = f"z{subscript(number)}"
                picture.show_image(state_image(shown[number - 1]), f"Latents {name}")
                caption.show_texts([name])

    def _add_latent(self) -> None:
        picture, caption, cell = Picture(_LATENT, self), Caption(parent=self), QVBoxLayout()
        set_space(cell, 2)
        cell.addWidget(picture)
        cell.addWidget(caption)
        self._row.addLayout(cell, 1)
        self.latents.append((picture, caption))

    def restyle(self) -> None:
        """Apply the current theme."""
        if self.role is not None:
            self.title.setStyleSheet(f"color: {role_colour(self.role)};")


class LayerDetail(QFrame):
    """The marked states of two flows."""

    rest_chosen = Signal(str)
    """What replaces the latents that left, when decoding: ``mean`` or ``noise``."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rest = Switch("flow.rest", RESTS, self)
        self.rest.chosen.connect(self.rest_chosen)
        self.rest.setToolTip("What replaces the latents that left, when the example is decoded from a layer.")
        self.blocks = DetailBlock("flow.detail.first", self), DetailBlock("flow.detail.second", self)
        column = QVBoxLayout(self)
        set_space(column, 16, 12, 4, 4, 4)
        self._rest_name = ToneLabel("Decode with the latents that left:", parent=self)
        column.addWidget(self._rest_name)
        column.addWidget(self.rest)
        for block in self.blocks:
            column.addWidget(block)
        column.addStretch(1)

    def show_states(self, states: Sequence[tuple[Role, FlowStates, int]], *, ink: bool, rest: str) -> None:
        """Show a state of each flow."""
        self.rest.show_state(rest, list(RESTS))
        splits = any(len(flow.latents) > 1 for _, flow, _ in states)
        for widget in (self._rest_name, self.rest):
            widget.setVisible(splits)
        for block, shown in zip(self.blocks, [*states, None, None], strict=False):
            block.setVisible(shown is not None)
            if shown is not None:
                block.show_state(*shown, ink=ink, rest=rest)

    def restyle(self) -> None:
        """Apply the current theme."""
        for block in self.blocks:
            block.restyle()
