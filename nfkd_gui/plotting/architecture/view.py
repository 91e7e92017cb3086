"""The view of the drawing: mouse, keyboard, zoom."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QColor,
    QContextMenuEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QFrame, QGraphicsView, QWidget

from nfkd.protocol.roles import Role
from nfkd_gui.model.layer_choice import LayerChoice, Names, Side
from nfkd_gui.plotting.architecture.blocks import BlockItem
from nfkd_gui.plotting.architecture.drag import PairDrag
from nfkd_gui.plotting.architecture.keys import neighbour, next_target
from nfkd_gui.plotting.architecture.pairs import REACH, Pair, PairItem
from nfkd_gui.plotting.architecture.scene import ArchitectureScene, Subject
from nfkd_gui.theme import scaled, tokens

_SMALLEST, _LARGEST, _STEP = 0.2, 4.0, 1.15
_READABLE = 0.7
"""Smallest scale that the view chooses by itself; `ArchitectureView.fit` may choose a smaller one."""
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class ArchitectureView(QGraphicsView):
    """Shows an `ArchitectureScene`, and reports what the user wants to change."""

    block_chosen = Signal(str, str)
    """Role and name of a layer."""
    pair_chosen = Signal(str, int)
    """Learner and index of a pair."""
    cleared = Signal()
    """Nothing is chosen any more."""
    moved = Signal(int, str, str)
    """Index of a pair of the student, the side that moves, and its new layer."""
    added = Signal(str, str)
    """Layers of the student and of its teacher."""
    removed = Signal(int)
    """Index of a pair of the student."""
    menu_wanted = Signal(QPoint, object)
    """A place on the screen, and the item there: a block, a pair or None."""
    zoomed = Signal(float)
    """The new scale; 1 is natural size."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.drawing = ArchitectureScene(self)
        self.setScene(self.drawing)
        self.setObjectName("architecture.view")
        self.setAccessibleName("Architecture")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.AnchorUnderMouse)
        self.setMouseTracking(True)
        self.setMinimumSize(scaled(240), scaled(160))
        self.choice, self.rows = LayerChoice(), list[Names]()
        self.is_fitted, self._least = True, _READABLE
        self._subject, self._room = Subject(), QSize()
        self._drag: PairDrag | None = None
        self._pressed: tuple[QPoint, BlockItem | PairItem | None] | None = None
        self._panning = False

    # --- what is shown --------------------------------------------------------------------------------------------

    def show_subject(self, subject: Subject) -> None:
        """Draw other flows, or the same anew."""
        self._subject = subject
        self.rebuild()

    def show_pairs(self, pairs: Sequence[Pair], choice: LayerChoice, rows: Sequence[Names]) -> None:
        """Draw other pairs; `rows` are all pairs of the student, also those of unknown layers."""
        self._stop_drag()
        self.choice, self.rows = choice, list(rows)
        self.drawing.show_pairs(pairs)

    def rebuild(self) -> None:
        """Lay the drawing out for the room; keep the zoom unless it is fitted."""
        self._stop_drag()
        self.setBackgroundBrush(QColor(tokens().panel))
        # That without scroll bars: a drawing for the room beside them could need none, and so on without end.
        room = self._room = self.maximumViewportSize()
        self.drawing.build(self._subject, (room.width(), room.height()))
        if self.is_fitted and (scale := self._fit_scale()) < 1:  # use the height that the smaller scale makes free
            self.drawing.build(self._subject, (room.width(), room.height() / scale))

    def fit(self) -> None:
        """Show everything, not larger than its natural size."""
        self.is_fitted, self._least = True, _SMALLEST
        self.rebuild()

    def _fit_scale(self) -> float:
        room, size = self.maximumViewportSize(), self.sceneRect().size()
        scale = min(1.0, room.width() / max(size.width(), 1.0), room.height() / max(size.height(), 1.0))
        self._set_scale(max(scale, self._least))
        return max(scale, self._least)

    def zoom(self, factor: float) -> None:
        """Enlarge the drawing."""
        self.is_fitted = False
        self._set_scale(min(max(self.transform().m11() * factor, _SMALLEST), _LARGEST))

    def _set_scale(self, scale: float) -> None:
        self.resetTransform()
        self.scale(scale, scale)
        self.zoomed.emit(scale)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.is_fitted and self.drawing.blocks and self.maximumViewportSize() != self._room:
            self.rebuild()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in {QEvent.Type.PaletteChange, QEvent.Type.FontChange} and hasattr(self, "_subject"):
            self.rebuild()

    # --- mouse ----------------------------------------------------------------------------------------------------

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.zoom(_STEP ** (event.angleDelta().y() / 120))
            event.accept()
        else:
            super().wheelEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place, point = event.position().toPoint(), self.mapToScene(event.position().toPoint())
        if event.button() == Qt.MouseButton.MiddleButton:
            self._start_pan(place)
            return
        if event.button() != Qt.MouseButton.LeftButton:
            return
        fold = self.drawing.fold_at(point)
        if fold is not None:
            self._toggle(fold.band.level)
            return
        handle = self.drawing.handle_at(point, scaled(REACH) / 2 / self.transform().m11())
        if handle is not None:
            self._pressed = place, handle[0]
            self._start_drag(*handle)
            return
        item = self.drawing.pair_at(point) or self.drawing.block_at(point)
        if item is None:
            self._start_pan(place)
        self._pressed = place, item

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = event.position().toPoint()
        point = self.mapToScene(place)
        if self._panning and self._pressed is not None:
            offset = place - self._pressed[0]
            for bar, shift in ((self.horizontalScrollBar(), offset.x()), (self.verticalScrollBar(), offset.y())):
                bar.setValue(bar.value() - shift)
            self._pressed = place, self._pressed[1]
            return
        if self._drag is None and self._pressed is not None and isinstance(self._pressed[1], BlockItem):
            far = (place - self._pressed[0]).manhattanLength() >= QApplication.startDragDistance()
            if far and event.buttons() & Qt.MouseButton.LeftButton:
                self._start_new_pair(self._pressed[1], self.mapToScene(self._pressed[0]))
        if self._drag is not None:
            self._drag.move(point)
            self.ensureVisible(QRectF(point, QSizeF(1, 1)), scaled(24), scaled(24))
            return
        self._show_cursor(point)
        super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        pressed, self._pressed = self._pressed, None
        if self._panning:
            self._panning = False
            self.viewport().unsetCursor()
            if pressed is not None and pressed[1] is None and event.button() == Qt.MouseButton.LeftButton:
                self._choose(None)
            return
        if event.button() != Qt.MouseButton.LeftButton or pressed is None:
            return
        place = event.position().toPoint()
        if self._drag is not None and (place - pressed[0]).manhattanLength() >= QApplication.startDragDistance():
            self._drop(self.mapToScene(place))
            return
        self._stop_drag()
        self._choose(pressed[1])

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.mousePressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            item, place = self.drawing.current, self.mapToGlobal(self.rect().center())
            if item is not None:
                place = self.viewport().mapToGlobal(self.mapFromScene(item.sceneBoundingRect().center()))
        else:
            point = self.mapToScene(event.pos())
            handle = self.drawing.handle_at(point, scaled(REACH) / 2)
            item = handle[0] if handle else self.drawing.pair_at(point) or self.drawing.block_at(point)
            place = event.globalPos()
        self._stop_drag()
        self.menu_wanted.emit(place, item)

    def _show_cursor(self, point: QPointF) -> None:
        handle = self.drawing.handle_at(point, scaled(REACH) / 2 / self.transform().m11())
        item = handle or self.drawing.pair_at(point) or self.drawing.block_at(point)
        if item is None:
            self.viewport().unsetCursor()
        else:
            self.viewport().setCursor(Qt.CursorShape.OpenHandCursor if handle else Qt.CursorShape.PointingHandCursor)

    def _start_pan(self, place: QPoint) -> None:
        self._panning, self._pressed = True, (place, None)
        self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)

    # --- dragging a pair ------------------------------------------------------------------------------------------

    def _learns_from(self) -> Role:
        roles: list[Role] = list(self._subject.backing.flows)
        return roles[-2]

    def _start_drag(self, item: PairItem, side: Side) -> None:
        role: Role = "student" if side == "student" else item.pair.source
        self._drag = PairDrag(self.drawing, self.choice, self.rows, item.pair.index, side, role, item)

    def _start_new_pair(self, block: BlockItem, point: QPointF) -> None:
        """Draw a pair from a free block of the student, if it can have one."""
        self._pressed = self.mapFromScene(point), None
        layer = block.box.layer_at(point.x())
        if block.box.role != "student" or layer not in self.choice.student or layer.name in {s for s, _ in self.rows}:
            return
        number = self.choice.row_for(self.rows, layer.name)
        rows = [*self.rows[:number], (layer.name, ""), *self.rows[number:]]
        start = self.drawing.end_of("student", layer.name, "student")
        if start is None:
            return
        source = self._learns_from()
        item = PairItem(Pair("student", source, -1, layer.name, "", (layer.label, "")), start, start)
        self.drawing.addItem(item)
        self._drag = PairDrag(self.drawing, self.choice, rows, number, "teacher", source, item)

    def _drop(self, point: QPointF) -> None:
        if self._drag is None:
            return
        drag, layer = self._drag, self._drag.layer_at(point)
        pair = drag.item.pair
        self._stop_drag()
        if layer is None or layer.name == (pair.teacher if drag.side == "teacher" else pair.student):
            return
        if pair.index < 0:
            self.added.emit(pair.student, layer.name)
        else:
            self.moved.emit(pair.index, drag.side, layer.name)

    def _stop_drag(self) -> None:
        """Put the line back."""
        if self._drag is None:
            return
        drag, self._drag = self._drag, None
        drag.end()
        pair = drag.item.pair
        if pair.index < 0:
            self.drawing.removeItem(drag.item)
            return
        role: Role = "student" if drag.side == "student" else pair.source
        name = pair.student if drag.side == "student" else pair.teacher
        back = self.drawing.end_of(role, name, drag.side)
        if back is not None:
            drag.item.move_end(drag.side, back)

    # --- choosing -------------------------------------------------------------------------------------------------

    def _choose(self, item: BlockItem | PairItem | None, *, by_key: bool = False) -> None:
        drawing = self.drawing
        if isinstance(item, BlockItem) and item.box.kind == "group":
            self._toggle(item.box.level)
            return
        drawing.selected_block = drawing.selected_pair = None
        drawing.current = item if by_key else None
        if isinstance(item, BlockItem):
            drawing.selected_block = item.box.role, item.box.layers[0].name
            drawing.mark()
            self.block_chosen.emit(*drawing.selected_block)
        elif item is not None:
            drawing.selected_pair = item.pair.key
            drawing.mark()
            self.pair_chosen.emit(*drawing.selected_pair)
        else:
            drawing.mark()
            self.cleared.emit()

    def select_pair(self, learner: Role, index: int) -> None:
        """Choose a pair, as a click on its line does."""
        self._choose(self.drawing.item_of((learner, index)), by_key=self.drawing.current is not None)

    def _toggle(self, level: int) -> None:
        self.drawing.toggle({level})
        self.rebuild()

    # --- keyboard -------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, current = Qt.Key(event.key()), self.drawing.current
        if key == Qt.Key.Key_Escape and self._drag is not None:
            self._stop_drag()
            self._pressed = None
        elif key in _ARROWS:
            if event.modifiers() & Qt.KeyboardModifier.AltModifier:
                self._shift_end(_ARROWS[key][0], student=bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
            else:
                self._set_current(neighbour(self.drawing, current, *_ARROWS[key]))
        elif key in {Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space} and current is not None:
            self._choose(current, by_key=True)
        elif key in {Qt.Key.Key_Delete, Qt.Key.Key_Backspace}:
            self._remove()
        elif event.text() in {"+", "-"}:
            self.zoom(_STEP if event.text() == "+" else 1 / _STEP)
        else:
            super().keyPressEvent(event)

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Let Tab go from the blocks to the lines, and then on."""
        drawing = self.drawing
        in_pairs = isinstance(drawing.current, PairItem)
        if drawing.pairs and drawing.current is not None and forward != in_pairs:
            self._set_current(drawing.pairs[0] if forward else drawing.blocks[0])
            return True
        self._set_current(None)
        return super().focusNextPrevChild(forward)

    def focusInEvent(self, event: QEvent) -> None:
        super().focusInEvent(event)  # type: ignore[arg-type]
        reason = event.reason()  # type: ignore[attr-defined]
        if reason in {Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason}:
            stops = self.drawing.stops()
            back = reason == Qt.FocusReason.BacktabFocusReason and bool(self.drawing.pairs)
            self._set_current((self.drawing.pairs[0] if back else stops[0]) if stops else None)

    def _set_current(self, item: BlockItem | PairItem | None) -> None:
        self.drawing.current = item
        self.drawing.mark()
        if item is not None:
            self.ensureVisible(item.sceneBoundingRect(), scaled(24), scaled(24))
            text = item.text() if isinstance(item, BlockItem) else item.pair.text
            self.setAccessibleDescription(text)
            QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.DescriptionChanged))

    def _current_pair(self) -> PairItem | None:
        if isinstance(self.drawing.current, PairItem):
            return self.drawing.current
        selected = self.drawing.selected_pair
        return self.drawing.item_of(selected) if selected is not None else None

    def _remove(self) -> None:
        item = self._current_pair()
        if item is not None and item.pair.learner == "student":
            self.removed.emit(item.pair.index)

    def _shift_end(self, step: int, *, student: bool) -> None:
        """Move one end of the current pair to the next layer where it can be."""
        item = self._current_pair()
        if item is None or item.pair.learner != "student" or not step:
            return
        side: Side = "student" if student else "teacher"
        found = next_target(self.choice, self.rows, item.pair.index, side, step)
        if found is not None:
            self.moved.emit(item.pair.index, side, found.name)
