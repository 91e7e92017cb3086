"""What the blocks of the drawing stand on: levels, the lines of the flows, latents, names and the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from nfkd.protocol.requests import FlowDescription
from nfkd.protocol.roles import Role, role_label
from nfkd.text import subscript
from nfkd_gui.model.layer_choice import format_shape
from nfkd_gui.numbers import format_count
from nfkd_gui.plotting.architecture.layout import Latent, Layout, Rect, Row
from nfkd_gui.theme import font, role_colour, scaled, tokens

_LINE = 1.5
_POINTS = 300


@dataclass(frozen=True)
class Backing:
    """What the backdrop shows besides the layout.

    Attributes
    ----------
    flows
        The flows' summaries and parameters.
    event_shape
        Shape of an example.
    learners
        The flow that each flow learns from, where the loss compares their latents (LKD).
    image, points
        An example, or (n, 2) points of the data, if there are any.
    """

    flows: Mapping[Role, FlowDescription] = field(default_factory=dict[Role, FlowDescription])
    event_shape: tuple[int, ...] = ()
    learners: Mapping[Role, Role] = field(default_factory=dict[Role, Role])
    image: QImage | None = None
    points: np.ndarray | None = None


class Backdrop(QGraphicsItem):
    """Draws everything that cannot be clicked.

    Attributes
    ----------
    notes
        Lines below the student, for each level: what it does not share with the teacher.
    """

    def __init__(self, layout: Layout, backing: Backing) -> None:
        super().__init__()
        self._layout, self._backing = layout, backing
        self.notes: Sequence[Sequence[str]] = ()
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.setZValue(0)

    def show_notes(self, notes: Sequence[Sequence[str]]) -> None:
        """Show other lines below the student."""
        self.notes = notes
        self.update()

    def boundingRect(self) -> QRectF:
        return QRectF(0, 0, *self._layout.size)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_bands(painter)
        self._paint_compared(painter)
        for row in reversed(self._layout.rows):
            self._paint_row(painter, row)
        for latent in self._layout.latents:
            self._paint_latent(painter, latent)
        self._paint_data(painter)
        self._paint_notes(painter)

    # --- levels ---------------------------------------------------------------------------------------------------

    def _paint_bands(self, painter: QPainter) -> None:
        colours, only = tokens(), len(self._layout.bands) == 1
        for band in self._layout.bands:
            rect = QRectF(*band.rect)
            painter.setPen(QPen(QColor(colours.border), 1))
            painter.setBrush(QColor(colours.raised))
            painter.drawRoundedRect(rect, scaled(6), scaled(6))
            head = QRectF(rect.x() + scaled(12), rect.y() + scaled(8), rect.width() - scaled(24), scaled(20))
            _text(painter, head, "Steps" if only else f"Level {band.level + 1}", "strong", colours.text)
            _text(painter, head, _shape_text(band.shape), "caption", colours.muted, Qt.AlignmentFlag.AlignRight)

    def _paint_notes(self, painter: QPainter) -> None:
        if not self._layout.rows:
            return
        boxes = self._layout.row_of(self._layout.rows[-1].role)
        bottom = max((box.rect.y + box.rect.height for box in boxes), default=0.0)
        for band, lines in zip(self._layout.bands, self.notes, strict=False):
            y = bottom + scaled(8)
            for line in lines:
                rect = QRectF(band.rect.x + scaled(8), y, band.rect.width - scaled(16), scaled(15))
                _text(painter, rect, line, "caption", tokens().warn, Qt.AlignmentFlag.AlignHCenter)
                y += scaled(15)

    # --- flows ----------------------------------------------------------------------------------------------------

    def _paint_row(self, painter: QPainter, row: Row) -> None:
        data, radius = self._layout.data, scaled(6)
        colour = QColor(role_colour(row.role))
        painter.setPen(QPen(colour, _LINE))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        y = data.middle[1]
        path = QPainterPath(QPointF(data.x + data.width, y))
        if abs(row.y - y) > radius:
            bend = radius if row.y > y else -radius
            path.lineTo(row.start - radius, y)
            path.quadTo(row.start, y, row.start, y + bend)
            path.lineTo(row.start, row.y - bend)
            path.quadTo(row.start, row.y, row.start + radius, row.y)
        else:
            path.lineTo(row.start, row.y)
        path.lineTo(row.end, row.y)
        painter.drawPath(path)
        flow = self._backing.flows.get(row.role)
        if flow is not None:
            lines = [(role_label(row.role), "strong", colour.name()), (flow.summary, "caption", tokens().muted),
                     (f"{format_count(flow.parameters)} parameters", "caption", tokens().muted)]  # fmt: skip
            top = row.label.y
            for text, kind, ink in lines:
                _text(painter, QRectF(row.label.x, top, row.label.width, scaled(18)), text, kind, ink)
                top += scaled(17)

    def _paint_latent(self, painter: QPainter, latent: Latent) -> None:
        colours, colour, rect = tokens(), QColor(role_colour(latent.role)), QRectF(*latent.rect)
        node = QPointF(*latent.node)
        painter.setPen(QPen(colour, _LINE))
        if not latent.final:
            painter.drawLine(node, rect.center())
            painter.setBrush(QColor(colours.panel))
            painter.drawEllipse(node, scaled(4), scaled(4))
        painter.setBrush(QColor(colours.panel))
        painter.drawRoundedRect(rect, rect.height() / 2, rect.height() / 2)
        single = sum(other.role == latent.role for other in self._layout.latents) == 1
        name = "z" if single else f"z{subscript(latent.level + 1)}"
        _text(painter, rect, name, "strong", colour.name(), Qt.AlignmentFlag.AlignHCenter)
        above = bool(self._layout.rows) and latent.role == self._layout.rows[0].role
        y = rect.y() - scaled(18) if above else rect.bottom() + scaled(3)
        caption = QRectF(rect.center().x() - scaled(36), y, scaled(72), scaled(15))
        _text(painter, caption, format_shape(latent.shape), "caption", colours.muted, Qt.AlignmentFlag.AlignHCenter)

    def _paint_compared(self, painter: QPainter) -> None:
        """Join the latents that the loss compares."""
        places = {(latent.role, latent.level): latent for latent in self._layout.latents}
        accent = QColor(tokens().accent)
        for learner, source in self._backing.learners.items():
            for (role, level), below in places.items():
                above = places.get((source, level))
                if role != learner or above is None or above.shape != below.shape:
                    continue
                start, end = self._compared_from(above), QPointF(below.node[0], below.node[1])
                end -= QPointF(0, below.rect.height / 2 if below.final else 0)
                dots = QPen(accent, 2, Qt.PenStyle.CustomDashLine, Qt.PenCapStyle.RoundCap)
                dots.setDashPattern([0.1, 2.4])
                painter.setPen(dots)
                painter.drawLine(start, end)
                middle = (start + end) / 2
                text = QRectF(middle.x() + scaled(5), middle.y() - scaled(8), scaled(40), scaled(16))
                _text(painter, text, "LKD", "caption", accent.name())

    def _compared_from(self, latent: Latent) -> QPointF:
        """Return where the line to the next flow's latent begins: below a pill and its caption."""
        x, y = latent.node
        if latent.role == self._layout.rows[0].role:
            return QPointF(x, latent.rect.y + latent.rect.height) if latent.final else QPointF(x, y)
        return QPointF(x, latent.rect.y + latent.rect.height + scaled(19))

    # --- data -----------------------------------------------------------------------------------------------------

    def _paint_data(self, painter: QPainter) -> None:
        colours, rect = tokens(), QRectF(*self._layout.data)
        ink = QColor(role_colour("data"))
        painter.setBrush(QColor(colours.panel))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawRect(rect)
        if self._backing.image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
            painter.drawImage(_fitted(rect, self._backing.image), self._backing.image)
        elif self._backing.points is not None:
            _paint_points(painter, rect, self._backing.points, ink)
        else:
            _paint_table(painter, rect, ink)
        painter.setPen(QPen(ink, _LINE))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(rect)
        box = Rect(rect.x() - scaled(8), rect.bottom() + scaled(3), rect.width() + scaled(40), 0)
        for number, (text, kind, colour) in enumerate(
            (("Data", "strong", ink.name()), (_shape_text(self._backing.event_shape), "caption", colours.muted))
        ):
            line = QRectF(box.x + scaled(8), box.y + number * scaled(17), box.width, scaled(17))
            _text(painter, line, text, kind, colour)


def _text(
    painter: QPainter,
    rect: QRectF,
    text: str,
    kind: str,
    colour: str,
    side: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> None:
    painter.setFont(font(kind))
    painter.setPen(QColor(colour))
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(rect.width()))
    painter.drawText(rect, side | Qt.AlignmentFlag.AlignVCenter, shown)


def _shape_text(shape: Sequence[int]) -> str:
    if len(shape) != 1:
        return format_shape(shape)
    return f"{shape[0]:,} {'feature' if shape[0] == 1 else 'features'}"


def _fitted(rect: QRectF, image: QImage) -> QRectF:
    scale = min(rect.width() / image.width(), rect.height() / image.height())
    width, height = image.width() * scale, image.height() * scale
    return QRectF(rect.center().x() - width / 2, rect.center().y() - height / 2, width, height)


def _paint_points(painter: QPainter, rect: QRectF, points: np.ndarray, ink: QColor) -> None:
    finite = points[np.isfinite(points).all(axis=1)][:_POINTS]
    if not len(finite):
        return
    low, high = np.quantile(finite, (0.01, 0.99), axis=0)
    reach = max(float((high - low).max()), 1e-9) * 1.15
    centre = (low + high) / 2
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(ink)
    for x, y in (finite - centre) / reach:
        if abs(x) < 0.5 and abs(y) < 0.5:
            where = QPointF(rect.center().x() + x * rect.width(), rect.center().y() - y * rect.height())
            painter.drawEllipse(where, 1, 1)


def _paint_table(painter: QPainter, rect: QRectF, ink: QColor) -> None:
    """Draw the lines of a table."""
    faded = QColor(ink)
    faded.setAlphaF(0.4)
    painter.setPen(QPen(faded, 1))
    for share in (0.25, 0.5, 0.75):
        y, x = rect.y() + share * rect.height(), rect.x() + share * rect.width()
        painter.drawLine(QPointF(rect.x(), y), QPointF(rect.right(), y))
        painter.drawLine(QPointF(x, rect.y()), QPointF(x, rect.bottom()))
