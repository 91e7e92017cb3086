"""Dragging the end of a pair to another layer, or a new pair from a free layer of the student."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QGraphicsItem, QGraphicsPathItem, QStyleOptionGraphicsItem, QWidget

from nfkd.protocol.requests import LayerInfo
from nfkd.protocol.roles import Role, role_name
from nfkd_gui.model.layer_choice import LayerChoice, Names, Side, format_shape
from nfkd_gui.plotting.architecture.blocks import BlockItem
from nfkd_gui.plotting.architecture.pairs import PairItem
from nfkd_gui.plotting.architecture.scene import ArchitectureScene
from nfkd_gui.theme import font, scaled, tokens

_ABOVE = 14
"""Distance of a hint from the pointer."""


class PairDrag:
    """One end of a line follows the pointer until it is dropped or put back.

    Parameters
    ----------
    scene
        The drawing.
    choice, rows
        What may be matched, and all pairs with the one that is dragged.
    number
        The index of that pair.
    side, role
        The side that moves, and the flow whose layers it may end at.
    item
        Its line.
    """

    def __init__(
        self,
        scene: ArchitectureScene,
        choice: LayerChoice,
        rows: Sequence[Names],
        number: int,
        side: Side,
        role: Role,
        item: PairItem,
    ) -> None:
        self.number, self.rows, self.item = number, rows, item
        self.side: Side = side
        self._scene, self._choice, self._role = scene, choice, role
        self._hint = HintItem(4)
        self._pills = list[HintItem]()
        self._former = QGraphicsPathItem(item.path())
        pen = QPen(QColor(tokens().muted), 1, Qt.PenStyle.DashLine)
        self._former.setPen(pen)
        for each in (self._former, self._hint):
            scene.addItem(each)
        self._hint.hide()
        item.update_marks(selected=True, current=False, dragged=True)
        self._reasons = self._mark_blocks()

    def _mark_blocks(self) -> dict[BlockItem, str]:
        """Mark where the pair can end, and say at each level that is refused as a whole why it is."""
        row = [block for block in self._scene.blocks if block.box.role == self._role]
        reasons: dict[BlockItem, str] = {}
        for block in row:
            found = [self.refusal(layer) for layer in block.box.layers]
            reasons[block] = "" if "" in found else found[0]
            block.update_marks(mark="refused" if reasons[block] else "target")
        for _, group in groupby(row, key=lambda block: block.box.level):
            blocks = list(group)
            steps = [block for block in blocks if block.box.kind != "small"] or blocks
            if all(reasons[block] for block in blocks):
                self._add_pill(steps, reasons[steps[0]])
        return reasons

    def _add_pill(self, blocks: Sequence[BlockItem], reason: str) -> None:
        first, last = blocks[0].box.rect, blocks[-1].box.rect
        y = first.y + first.height + scaled(22) if self.side == "teacher" else first.y - scaled(22)
        pill = HintItem(11)
        pill.show_lines([f"Not here: {reason}"], QPointF((first.x + last.x + last.width) / 2, y), centred=True)
        self._scene.addItem(pill)
        self._pills.append(pill)

    def refusal(self, layer: LayerInfo) -> str:
        """Return why the pair cannot end at a layer; empty if it can."""
        return self._choice.refusal(self.rows, self.number, self.side, layer)

    def move(self, point: QPointF) -> None:
        """Follow the pointer, and say what a drop would do."""
        block = self._block_at(point)
        layer = self.layer_at(point)
        self.item.move_end(self.side, point)
        for other, reason in self._reasons.items():
            mark = "refused" if reason else "target"
            other.update_marks(mark=mark, current=other is block and not reason)
        self._hint.setVisible(block is not None)
        if block is None:
            return
        place = point + QPointF(scaled(_ABOVE), -scaled(_ABOVE) - scaled(42))
        if layer is not None:
            student, teacher = self.item.pair.labels
            student, teacher = (student, layer.label) if self.side == "teacher" else (layer.label, teacher)
            now = self.item.pair.error
            error = f" · error so far {now:.3g}" if now is not None else ""
            source = role_name(self.item.pair.source)
            title = f"Match student {student} with {source} {teacher}"
            lines = [title, f"{format_shape(layer.shape)} both{error}"]
            self._hint.show_lines(lines, place)
        else:
            self._hint.show_lines([f"Not here: {self._reason_at(block, point)}"], place)

    def layer_at(self, point: QPointF) -> LayerInfo | None:
        """Return the layer that a drop at a point would match; None if it is not possible there."""
        block = self._block_at(point)
        if block is None or self._reasons[block]:
            return None
        layer = block.box.layer_at(point.x())
        return None if self.refusal(layer) else layer

    def _reason_at(self, block: BlockItem, point: QPointF) -> str:
        return self.refusal(block.box.layer_at(point.x())) or self._reasons[block]

    def _block_at(self, point: QPointF) -> BlockItem | None:
        block = self._scene.block_at(point)
        return block if block in self._reasons else None

    def end(self) -> None:
        """Remove everything that only the drag shows."""
        for each in (self._former, self._hint, *self._pills):
            self._scene.removeItem(each)
        self._scene.mark()


class HintItem(QGraphicsItem):
    """Lines of text on a raised ground; the first is strong if there are several."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._radius = radius
        self.setZValue(9)
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)

    def show_lines(self, lines: list[str], place: QPointF, *, centred: bool = False) -> None:
        """Show lines below and right of a place, or around it; inside the drawing where possible."""
        self.prepareGeometryChange()
        self.lines = lines
        size = self.boundingRect()
        x, y = (place.x() - size.width() / 2, place.y() - size.height() / 2) if centred else (place.x(), place.y())
        if self.scene() is not None:
            x = min(x, self.scene().sceneRect().right() - size.width())
        self.setPos(max(x, 0.0), y)
        self.update()

    def _kind(self, number: int) -> str:
        return "strong" if number == 0 and len(self.lines) > 1 else "caption"

    def boundingRect(self) -> QRectF:
        widths = [QFontMetricsF(font(self._kind(n))).horizontalAdvance(text) for n, text in enumerate(self.lines)]
        return QRectF(0, 0, max(widths, default=0.0) + scaled(20), scaled(18) * len(self.lines) + scaled(6))

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        rect = self.boundingRect()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(QColor(tokens().raised))
        painter.setPen(QPen(QColor(tokens().control), 1))
        painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), scaled(self._radius), scaled(self._radius))
        for number, text in enumerate(self.lines):
            painter.setFont(font(self._kind(number)))
            painter.setPen(QColor(tokens().text if number == 0 else tokens().muted))
            line = QRectF(scaled(10), scaled(3) + number * scaled(18), rect.width(), scaled(18))
            painter.drawText(line, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
