"""Parallel coordinates: a line for each run across axes, with brushes that choose lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPaintEngine,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from nfkd.text import plain
from nfkd_gui.model.slices import PAUSE
from nfkd_gui.plotting import parallel_paint as paint
from nfkd_gui.plotting.parallel_axes import Brush, ParallelAxis, nearest_line, passing, spread
from nfkd_gui.plotting.parallel_drag import AxisDrag, BrushDrag
from nfkd_gui.theme import scaled, tokens
from nfkd_gui.widgets.labels import tip

_SIDE, _ABOVE, _BELOW = 46, 56, 28
"""Pixels at 100 % beside, above and below the axes."""
_FEW, _SLICE = 24, 150
"""So many chosen lines are drawn wide; lines that are painted at once."""
_REACH, _LINE, _MOVED, _APART = 10, 6, 4, 2.5
"""Pixels: distance from an axis and from a line that still hits it, length of a drag that is none, and distance of
chosen lines that would hide each other."""


class ParallelPlot(QWidget):
    """Lines of many runs, of which some are chosen and have colours.

    Attributes
    ----------
    brushes
        The ranges that the user has marked.
    """

    brushed = Signal()
    """The user has changed the brushes."""
    toggled = Signal(int)
    """The number of the line that was clicked."""
    reordered = Signal(list)
    """The names of the axes in the order that the user gave them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Settings and results of all runs")
        self.setAccessibleDescription(
            "Left and Right choose an axis; with Ctrl they move it. Delete removes its ranges, Escape all."
        )
        self._axes: list[ParallelAxis] = []
        self._names: Sequence[str] = ()
        self._colours: Mapping[int, str] = {}
        self.brushes: list[Brush] = []
        self._ground: QPixmap | None = None
        self._painted = 0
        self._slices = QTimer(self, interval=PAUSE, singleShot=True)
        self._slices.timeout.connect(self.update)
        self._front: QPixmap | None = None
        self._hovered, self._pointer, self._current = -1, QPointF(), -1
        self._drag: BrushDrag | AxisDrag | None = None
        self._pressed: QPointF | None = None

    def show_lines(self, axes: Sequence[ParallelAxis], names: Sequence[str], colours: Mapping[int, str]) -> None:
        """Show lines with their names; the chosen ones have colours, as ``#RRGGBB``, the last on top.

        Other axes end a drag: what is dragged may be gone, or at another place.
        """
        if [axis.name for axis in axes] != self.axis_names():
            self._drag = self._pressed = None
        self._axes, self._names, self._colours = list(axes), names, colours
        self._hovered = -1
        self._redraw()

    def show_chosen(self, colours: Mapping[int, str]) -> None:
        """Show which lines are chosen."""
        if list(colours.items()) != list(self._colours.items()):
            self._colours, self._front = colours, None
            self.update()

    def clear_brushes(self) -> None:
        """Remove all brushes; nothing is reported."""
        if self.brushes:
            self.brushes = []
            self.update()

    def passing(self) -> list[int]:
        """Return the lines that pass all brushes."""
        return np.flatnonzero(passing(self._axes, self.brushes, len(self._names))).tolist()

    def restyle(self) -> None:
        """Apply the current theme."""
        self._redraw()

    def axis_names(self) -> list[str]:
        """Return the names of the axes from left to right."""
        return [axis.name for axis in self._axes]

    # --- geometry -------------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        return QSize(scaled(560), scaled(320))

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(160), scaled(120))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._redraw()

    def _redraw(self) -> None:
        self._ground = self._front = None
        self.update()

    def frame(self) -> paint.Frame:
        """Return where the axes are."""
        count = len(self._axes)
        left, right = scaled(_SIDE), self.width() - scaled(_SIDE)
        places = np.linspace(left, right, count) if count > 1 else np.array([(left + right) / 2] * count)
        return paint.Frame(places, float(scaled(_ABOVE)), float(self.height() - scaled(_BELOW)))

    def heights(self) -> np.ndarray:
        """Return where the lines cross the axes, in pixels from the top, (lines, axes)."""
        if not self._axes:
            return np.empty((len(self._names), 0))
        return self.frame().height_of(np.stack([axis.positions for axis in self._axes], axis=1))

    def _axis_at(self, point: QPointF) -> int:
        """Return the number of the axis under the pointer; −1 for none."""
        away = np.abs(self.frame().places - point.x())
        return int(away.argmin()) if len(away) and float(away.min()) <= scaled(_REACH) else -1

    def _title_at(self, point: QPointF) -> int:
        """Return the number of the axis whose title is under the pointer; −1 for none."""
        frame = self.frame()
        if not len(frame.places) or point.y() >= frame.top - 2:
            return -1
        away = np.abs(frame.places - point.x())
        return int(away.argmin()) if float(away.min()) <= frame.spacing / 2 else -1

    # --- painting -------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        ratio, heights = self.devicePixelRatioF(), self.heights()
        drawn_elsewhere = painter.deviceTransform().m11() != ratio or _is_vector(painter)
        if drawn_elsewhere:  # a saved picture has lines of its own resolution
            self._paint_ground(painter, heights)
            self._paint_front(painter, heights)
        else:
            if self._ground is None:
                self._ground = self._pixmap(lambda layer: paint.paint_axes(layer, self.frame(), self._axes))
                self._painted = 0
            if self._painted < len(heights):
                self._paint_slice(self._ground, heights)
            if self._front is None:
                self._front = self._pixmap(lambda layer: self._paint_front(layer, heights))
            painter.drawPixmap(0, 0, self._ground)
            painter.drawPixmap(0, 0, self._front)
        frame = self.frame()
        for brush in self.brushes:
            if brush.axis in self.axis_names():
                paint.paint_brush(painter, self._brush_rect(brush))
        if isinstance(self._drag, AxisDrag):
            paint.paint_moved_axis(painter, frame, self._pointer.x())
        if self.hasFocus() and 0 <= self._current < len(self._axes):
            paint.paint_focus(painter, frame, self._current)
        if 0 <= self._hovered < len(heights) and not drawn_elsewhere:
            colour = self._colours.get(self._hovered, tokens().text)
            paint.paint_line(painter, frame, heights[self._hovered], colour, 2.5)
            paint.paint_name(painter, self._pointer, plain(self._names[self._hovered], 60), self.rect())
        painter.end()

    def _pixmap(self, draw: paint.Draw) -> QPixmap:
        pixmap = QPixmap(self.size() * self.devicePixelRatioF())
        pixmap.setDevicePixelRatio(self.devicePixelRatioF())
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        draw(painter)
        painter.end()
        return pixmap

    def _paint_ground(self, painter: QPainter, heights: np.ndarray) -> None:
        frame = self.frame()
        paint.paint_axes(painter, frame, self._axes)
        for line in heights:
            paint.paint_line(painter, frame, line, tokens().control, 1.0)

    def _paint_slice(self, ground: QPixmap, heights: np.ndarray) -> None:
        """Paint the next lines of many; the others follow in further slices, so that the window stays responsive."""
        lines = heights[self._painted : self._painted + _SLICE]
        painter, frame = QPainter(ground), self.frame()
        for line in lines:
            paint.paint_line(painter, frame, line, tokens().control, 1.0)
        painter.end()
        self._painted += len(lines)
        if self._painted < len(heights):
            self._slices.start()

    def _paint_front(self, painter: QPainter, heights: np.ndarray) -> None:
        frame = self.frame()
        chosen = {line: colour for line, colour in self._colours.items() if line < len(heights)}
        if chosen:
            shown = heights[list(chosen)]
            shifts = np.stack([spread(column, scaled(_APART)) for column in shown.T], axis=1) if shown.size else shown
            width = 2.0 if len(chosen) <= _FEW else 1.0
            for line, colour in zip(shown + shifts, chosen.values(), strict=True):
                paint.paint_line(painter, frame, line, colour, width)
        paint.paint_labels(painter, frame, self._axes)

    def _brush_rect(self, brush: Brush) -> QRectF:
        frame = self.frame()
        x = float(frame.places[self.axis_names().index(brush.axis)])
        top, bottom = (float(frame.height_of(np.array(end))) for end in (brush.high, brush.low))
        return QRectF(x - scaled(paint.BRUSH) / 2, top, scaled(paint.BRUSH), bottom - top)

    # --- the pointer ----------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        point = self._pressed = event.position()
        title, axis = self._title_at(point), self._axis_at(point)
        if title >= 0:
            self._drag, self._current = AxisDrag(title), title
        elif axis >= 0:
            self._current = axis
            self._drag = BrushDrag.begin(self._axes[axis].name, self.brushes, self._position(point), self._end_reach())
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._pointer = event.position()
        far = self._pressed is not None and (self._pointer - self._pressed).manhattanLength() >= _MOVED
        if isinstance(self._drag, AxisDrag):
            self._move_axis(self._drag)
        elif isinstance(self._drag, BrushDrag):
            if far or self._drag.changed:
                self.brushes = self._drag.to(self._position(self._pointer))
                self.brushed.emit()
        else:
            self._hover()
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        drag, self._drag, pressed, self._pressed = self._drag, None, self._pressed, None
        if isinstance(drag, AxisDrag):
            if drag.moved:
                self.reordered.emit(self.axis_names())
        elif isinstance(drag, BrushDrag) and drag.changed:
            pass
        elif pressed is not None and self._hovered >= 0 and (event.position() - pressed).manhattanLength() < _MOVED:
            self.toggled.emit(self._hovered)
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Remove the brush under the pointer, or all of the axis."""
        self._drag = self._pressed = None
        axis = self._axis_at(event.position())
        if axis < 0:
            return
        name, at = self._axes[axis].name, self._position(event.position())
        under = [brush for brush in self.brushes if brush.axis == name and brush.low <= at <= brush.high]
        self._remove(under or [brush for brush in self.brushes if brush.axis == name])

    def _remove(self, brushes: Sequence[Brush]) -> None:
        if brushes:
            self.brushes = [brush for brush in self.brushes if brush not in brushes]
            self.brushed.emit()
            self.update()

    def _position(self, point: QPointF) -> float:
        """Return the position of a point on an axis, 0 to 1."""
        return self.frame().position_of(point.y())

    def _end_reach(self) -> float:
        return scaled(_MOVED) / self.frame().length

    def _hover(self) -> None:
        point, title = self._pointer, self._title_at(self._pointer)
        axis = self._axis_at(point) if title < 0 else -1
        line, away = nearest_line(self.heights(), self.frame().places, point.x(), point.y())
        self._hovered = line if title < 0 and away <= scaled(_LINE) else -1
        shapes = Qt.CursorShape
        shape = shapes.OpenHandCursor if title >= 0 else shapes.CrossCursor if axis >= 0 else shapes.ArrowCursor
        self.setCursor(shape)

    def _move_axis(self, drag: AxisDrag) -> None:
        """Let the axis that is dragged change places with the one that the pointer has passed."""
        places = self.frame().places
        wanted = int(np.abs(places - self._pointer.x()).argmin())
        if wanted != drag.index:
            self._axes.insert(wanted, self._axes.pop(drag.index))
            drag.index = self._current = wanted
            drag.moved = True
            self._redraw()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hovered = -1
        self.update()

    # --- the keyboard ---------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        keys = Qt.Key
        if event.key() in (keys.Key_Left, keys.Key_Right) and self._axes:
            self._step(1 if event.key() == keys.Key_Right else -1, move=_with_control(event))
        elif event.key() in (keys.Key_Delete, keys.Key_Backspace) and 0 <= self._current < len(self._axes):
            name = self._axes[self._current].name
            self._remove([brush for brush in self.brushes if brush.axis == name])
        elif event.key() == keys.Key_Escape and self.brushes:
            self._remove(list(self.brushes))
        else:
            super().keyPressEvent(event)

    def _step(self, by: int, *, move: bool) -> None:
        wanted = min(max(self._current + by, 0), len(self._axes) - 1)
        if move and 0 <= self._current < len(self._axes) and wanted != self._current:
            self._axes.insert(wanted, self._axes.pop(self._current))
            self._redraw()
            self.reordered.emit(self.axis_names())
        self._current = wanted
        self.update()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.describe_at(event.pos()), self)
            return True
        return super().event(event)

    def describe_at(self, point: QPoint) -> str:
        """Return what the axis at a point is."""
        title, axis = self._title_at(QPointF(point)), self._axis_at(QPointF(point))
        if title >= 0:
            scale = " (logarithmic)" if self._axes[title].logarithmic else ""
            return tip(f"{self._axes[title].title}{scale}\nDrag to move the axis.")
        return "Drag to choose a range; double-click to remove it." if axis >= 0 else ""


def _with_control(event: QKeyEvent) -> bool:
    return bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)


def _is_vector(painter: QPainter) -> bool:
    engine = painter.paintEngine()
    return engine is not None and engine.type() == QPaintEngine.Type.SVG
