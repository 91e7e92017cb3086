"""The blocks of the drawing: steps, small layers and folded groups of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from nfkd.protocol.requests import LayerInfo
from nfkd.protocol.roles import role_label
from nfkd_gui.model.layer_choice import format_shape
from nfkd_gui.numbers import format_count
from nfkd_gui.plotting.architecture.layout import Box
from nfkd_gui.plotting.architecture.levels import step_number
from nfkd_gui.theme import font, role_colour, scaled, tokens
from nfkd_gui.widgets.labels import tip

BAND_SHARES = {1: (1.0,), 2: (0.22, 0.78), 3: (0.09, 0.19, 0.72)}
"""Heights of the parts of a step, by their number."""
BAND_OPACITIES = {1: (0.85,), 2: (0.5, 0.85), 3: (0.25, 0.5, 0.85)}
VEIL = 0.62
"""Opacity of what covers a layer that cannot be matched."""
_HEAD, _INSET, _RADIUS, _LEAST = 24, 4, 4, 12
Mark = Literal["", "target", "refused"]


class BlockItem(QGraphicsItem):
    """Draws a `Box`.

    Attributes
    ----------
    box
        Where it is, and its layers.
    mark
        While a pair is dragged: whether it can end here.
    is_selected, is_current, is_lacking
        Whether it was chosen, has the keyboard's focus, and has no counterpart in the student.
    """

    def __init__(self, box: Box, bands: Sequence[str]) -> None:
        super().__init__()
        self.box, self._bands = box, bands
        self.mark: Mark = ""
        self.is_selected = self.is_current = self.is_lacking = False
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.setToolTip(tip(self.text()))
        self.setZValue(1)

    def text(self) -> str:
        """Return everything about the layers, for tooltips, the read-out and screen readers."""
        layers, role = self.box.layers, role_label(self.box.role)
        if self.box.kind == "group":
            total = sum(layer.parameters for layer in layers)
            names, shape = f"{layers[0].label} to {layers[-1].label}", format_shape(layers[0].shape)
            return f"{role}, {names} · {shape} · {format_count(total)} parameters · click to draw {len(layers)} steps"
        return layer_text(role, layers[0], self._bands if self.box.kind == "step" else ())

    def update_marks(
        self, *, mark: Mark = "", selected: bool = False, current: bool = False, lacking: bool = False
    ) -> None:
        """Set what is special about the block."""
        now = mark, selected, current, lacking
        if now != (self.mark, self.is_selected, self.is_current, self.is_lacking):
            self.mark, self.is_selected, self.is_current, self.is_lacking = now
            self.update()

    def boundingRect(self) -> QRectF:
        margin = scaled(4)
        return QRectF(*self.box.rect).adjusted(-margin, -margin, margin, margin)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        colours, rect = tokens(), QRectF(*self.box.rect)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        small = self.box.kind == "small"
        border = QColor(colours.control if small else role_colour(self.box.role))
        style = Qt.PenStyle.DashLine if self.is_lacking else Qt.PenStyle.SolidLine
        painter.setBrush(QColor(colours.panel))
        painter.setPen(QPen(border, 1, style))
        painter.drawRoundedRect(rect, scaled(_RADIUS), scaled(_RADIUS))
        if small:
            self._paint_name(painter, rect)
        else:
            self._paint_step(painter, rect)
        if self.mark == "refused":
            veil = QColor(colours.raised)
            veil.setAlphaF(VEIL)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(veil)
            painter.drawRect(self.boundingRect())
        self._paint_frame(painter, rect)

    def _paint_frame(self, painter: QPainter, rect: QRectF) -> None:
        """Draw what marks the block: a target or a selection (2 px), and the focus (a ring 2 px outside)."""
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.mark == "target" or self.is_selected:
            painter.setPen(QPen(QColor(tokens().accent), 2))
            painter.drawRoundedRect(rect, scaled(_RADIUS), scaled(_RADIUS))
        if self.is_current:
            painter.setPen(QPen(QColor(tokens().accent), 2))
            painter.drawRoundedRect(rect.adjusted(-3, -3, 3, 3), scaled(_RADIUS + 2), scaled(_RADIUS + 2))

    def _paint_name(self, painter: QPainter, rect: QRectF) -> None:
        painter.save()
        painter.setFont(font("caption"))
        painter.setPen(QColor(tokens().muted))
        painter.translate(rect.center())
        painter.rotate(-90)
        turned = QRectF(-rect.height() / 2, -rect.width() / 2, rect.height(), rect.width())
        text = self.box.layers[0].kind.replace("_", " ")
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(turned.width()) - scaled(6))
        painter.drawText(turned, Qt.AlignmentFlag.AlignCenter, shown)
        painter.restore()

    def _paint_step(self, painter: QPainter, rect: QRectF) -> None:
        head = QRectF(rect.x(), rect.y(), rect.width(), scaled(_HEAD))
        group = self.box.kind == "group"
        painter.setFont(font("strong"))
        painter.setPen(QColor(tokens().text))
        text = f"×{len(self.box.layers)}" if group else step_number(self.box.layers[0])
        painter.drawText(head, Qt.AlignmentFlag.AlignCenter, text)
        inset = scaled(_INSET)
        body = rect.adjusted(inset, head.height(), -inset, -inset)
        count = len(self._bands) if body.height() >= scaled(_LEAST) and len(self._bands) in BAND_SHARES else 1
        count = max(count, 1)
        painter.setPen(Qt.PenStyle.NoPen)
        gap, top = scaled(2) if count > 1 else 0, body.y()
        room = max(body.height(), 2.0) - gap * (count - 1)
        for share, opacity in zip(BAND_SHARES[count], BAND_OPACITIES[count], strict=True):
            colour = QColor(role_colour(self.box.role))
            colour.setAlphaF(opacity * (0.35 if self.is_lacking else 1.0))
            painter.setBrush(colour)
            painter.drawRect(QRectF(body.x(), top, body.width(), share * room))
            top += share * room + gap
        if group:
            self._paint_separators(painter, body)

    def _paint_separators(self, painter: QPainter, body: QRectF) -> None:
        """Divide a folded group into its steps."""
        painter.setPen(QPen(QColor(tokens().panel), 1))
        for number in range(1, len(self.box.layers)):
            x = body.x() + body.width() * number / len(self.box.layers)
            painter.drawLine(round(x), round(body.y()), round(x), round(body.bottom()))


def layer_text(role: str, layer: LayerInfo, bands: Sequence[str] = ()) -> str:
    """Return a layer's flow, label, kind, shape and parameters."""
    kind = f"{layer.kind.replace('_', ' ')} ({', '.join(bands)})" if bands else layer.kind.replace("_", " ")
    return f"{role}, {layer.label} · {kind} · {format_shape(layer.shape)} · {layer.parameters:,} parameters"
