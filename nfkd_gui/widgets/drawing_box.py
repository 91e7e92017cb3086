"""The editor of points in the plane, drawn with the mouse or the keyboard, or typed as text."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from nfkd_gui.theme import limit_size, plot_colours, role_colour, set_space
from nfkd_gui.widgets.labels import ToneLabel

Points = list[list[float]]

EXTENT = 4.0
"""The canvas shows −4 to 4 in both directions."""
_TICKS = (-4, -2, 0, 2, 4)
_LEFT, _BOTTOM, _EDGE = 30, 22, 8
_DOT = 5.0
_SPACING = 7.0  # pixels between the points of a stroke
_REACH = 9.0  # largest distance of a click that removes a point, in pixels
_STEP, _FINE_STEP = 0.25, 0.05
_HELP = (
    "Click or drag to add points; right-click to remove them. "
    "Arrow keys move the cross, Space adds a point at the cross, Delete removes the nearest point."
)
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, 1),
    Qt.Key.Key_Down: (0, -1),
}


def parse_points(text: str) -> Points | None:
    """Return the points of a text such as ``0 1; 2.5 -1``, or None if it has another form."""
    try:
        pairs = [[float(word) for word in pair.split()] for pair in text.replace("−", "-").split(";") if pair.strip()]
    except ValueError:
        return None
    return pairs if all(len(pair) == 2 and all(map(math.isfinite, pair)) for pair in pairs) else None


def format_points(points: Points) -> str:
    """Return points as a text that `parse_points` reads."""
    return "; ".join(" ".join(repr(number).removesuffix(".0") for number in point) for point in points)


class Canvas(QWidget):
    """A square of the plane, on which the user draws points."""

    stroked = Signal()
    """Points were added or removed; emitted once per mouse stroke, at its end."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.points: Points = []
        self._cursor = QPointF(0.0, 0.0)
        self._stroke: Qt.MouseButton | None = None
        self._last = QPointF()
        self._changed = False
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        limit_size(self, least=(160, 160))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip(_HELP)
        self.setAccessibleName("Drawing")
        self.setAccessibleDescription(_HELP)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return min(width - _LEFT + _BOTTOM, 360)

    def sizeHint(self) -> QSize:
        return QSize(240, self.heightForWidth(240))

    def set_points(self, points: Points) -> None:
        self.points = [list(point) for point in points]
        self.update()

    # --- the plane and its pixels ---------------------------------------------------------------------------------

    def _frame(self) -> QRectF:
        side = min(self.width() - _LEFT, self.height() - _BOTTOM) - 2 * _EDGE
        return QRectF(_LEFT + (self.width() - _LEFT - side) / 2, _EDGE, side, side)

    def to_pixel(self, x: float, y: float) -> QPointF:
        """Return the pixel of a point of the plane."""
        frame = self._frame()
        scale = frame.width() / (2 * EXTENT)
        return QPointF(frame.left() + (x + EXTENT) * scale, frame.bottom() - (y + EXTENT) * scale)

    def _to_plane(self, pixel: QPointF) -> QPointF:
        frame = self._frame()
        scale = 2 * EXTENT / frame.width()
        return _clamped((pixel.x() - frame.left()) * scale - EXTENT, (frame.bottom() - pixel.y()) * scale - EXTENT)

    # --- the mouse --------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() in {Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton} and self._stroke is None:
            self._stroke, self._changed = event.button(), False
            self._draw(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._stroke is None:
            return
        if self._stroke is Qt.MouseButton.RightButton or _distance(event.position(), self._last) >= _SPACING:
            self._draw(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() is self._stroke:
            self._stroke = None
            if self._changed:
                self.stroked.emit()

    def _draw(self, pixel: QPointF) -> None:
        self._last = pixel
        self._cursor = self._to_plane(pixel)
        if self._stroke is Qt.MouseButton.LeftButton:
            self._add()
        else:
            self._remove(self._nearest(pixel, _REACH))

    # --- the keyboard -----------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in _ARROWS:
            step = _FINE_STEP if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else _STEP
            self._move(*(step * part for part in _ARROWS[key]))
            return
        self._changed = False
        if key in {Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self._add()
        elif key in {Qt.Key.Key_Delete, Qt.Key.Key_Backspace}:
            self._remove(self._nearest(self.to_pixel(self._cursor.x(), self._cursor.y()), math.inf))
        else:
            super().keyPressEvent(event)
        if self._changed:
            self.stroked.emit()

    def _move(self, right: float, up: float) -> None:
        self._cursor = _clamped(self._cursor.x() + right, self._cursor.y() + up)
        self.update()

    # --- points -----------------------------------------------------------------------------------------------------

    def _add(self) -> None:
        self.points.append([self._cursor.x(), self._cursor.y()])
        self._changed = True
        self.update()

    def _remove(self, index: int | None) -> None:
        if index is not None:
            del self.points[index]
            self._changed = True
            self.update()

    def _nearest(self, pixel: QPointF, reach: float) -> int | None:
        distances = [_distance(self.to_pixel(x, y), pixel) for x, y in self.points]
        nearest = min(range(len(distances)), key=lambda index: (distances[index], -index), default=None)
        return nearest if nearest is not None and distances[nearest] <= reach else None

    # --- painting ---------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        frame = self._frame()
        painter.fillRect(frame, QColor(plot_colours().background))
        self._paint_axes(painter, frame)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setClipRect(frame)
        pen = QPen(QColor(role_colour("data")), _DOT)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        painter.drawPoints(QPolygonF([self.to_pixel(x, y) for x, y in self.points]))
        if self.hasFocus():
            self._paint_cursor(painter)
        painter.end()

    def _paint_axes(self, painter: QPainter, frame: QRectF) -> None:
        text, grid = QColor(plot_colours().text), QColor(plot_colours().grid)
        height = painter.fontMetrics().height()
        for tick in _TICKS:
            label = str(tick).replace("-", "−")
            across, up = self.to_pixel(tick, -EXTENT), self.to_pixel(-EXTENT, tick)
            painter.setPen(grid)
            painter.drawLine(across, QPointF(across.x(), frame.top()))
            painter.drawLine(up, QPointF(frame.right(), up.y()))
            painter.setPen(text)
            below = QRectF(across.x() - 16, frame.bottom() + 4, 32, height)
            beside = QRectF(frame.left() - 36, up.y() - height / 2, 30, height)
            painter.drawText(below, int(Qt.AlignmentFlag.AlignHCenter), label)
            painter.drawText(beside, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), label)
        painter.setPen(self.palette().color(QPalette.ColorRole.Highlight) if self.hasFocus() else grid)
        painter.drawRect(frame)

    def _paint_cursor(self, painter: QPainter) -> None:
        centre = self.to_pixel(self._cursor.x(), self._cursor.y())
        painter.setPen(QPen(QColor(plot_colours().text), 1))
        for reach in (QPointF(6, 0), QPointF(0, 6)):
            painter.drawLine(centre - reach, centre + reach)


def _clamped(x: float, y: float) -> QPointF:
    return QPointF(*(round(min(EXTENT, max(-EXTENT, value)), 2) for value in (x, y)))


def _distance(one: QPointF, other: QPointF) -> float:
    return math.hypot(one.x() - other.x(), one.y() - other.y())


class DrawingBox(QWidget):
    """The canvas, the number of points, a Clear button, and the points as text.

    Attributes
    ----------
    typed
        Whether the last change was typed: undo merges typed changes, but not strokes.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.typed = False
        self._foreign: object = None
        self.canvas = Canvas(self)
        self.canvas.stroked.connect(self._stroked)
        self._count = ToneLabel(parent=self)
        self.clear_button = QPushButton("Clear", self)
        self.clear_button.setToolTip("Remove all points.")
        self.clear_button.clicked.connect(self._clear)
        self.line = QLineEdit(self)
        self.line.setPlaceholderText("x y; x y; …")
        self.line.setAccessibleName("Points as text")
        self.line.setToolTip("The same points as text: x and y of each, with semicolons between, such as 0 1; 2.5 -1.")
        self.line.textEdited.connect(self._typed)
        self.setFocusProxy(self.canvas)
        foot = QHBoxLayout()
        foot.addWidget(self._count, 1)
        foot.addWidget(self.clear_button)
        column = QVBoxLayout(self)
        set_space(column, 4)
        column.addWidget(self.canvas)
        column.addLayout(foot)
        column.addWidget(self.line)

    def value(self) -> object:
        """Return the points as lists of two numbers, or the document's value if it is no list of points."""
        return [list(point) for point in self.canvas.points] if self._foreign is None else self._foreign

    def set_value(self, value: object) -> None:
        """Show points; any other value is shown as text and kept."""
        points = _points_of(value)
        self._foreign = value if points is None else None
        self.canvas.set_points(points or [])
        text = format_points(points) if points is not None else str(value)
        if points is None or parse_points(self.line.text()) != points:  # do not change a text that the user is typing
            self.line.setText(text)
            self.line.setCursorPosition(0)
        self._show_count()

    def _stroked(self) -> None:
        self.typed, self._foreign = False, None
        self.line.setText(format_points(self.canvas.points))
        self.line.setCursorPosition(0)
        self._show_count()
        self.changed.emit()

    def _clear(self) -> None:
        self.canvas.set_points([])
        self._stroked()

    def _typed(self, text: str) -> None:
        points = parse_points(text)
        self.typed, self._foreign = True, text if points is None else None
        self.canvas.set_points(points or [])
        self._show_count()
        self.changed.emit()

    def _show_count(self) -> None:
        points = self.canvas.points
        outside = sum(max(abs(x), abs(y)) > EXTENT for x, y in points)
        text = f"{len(points):,} {'point' if len(points) == 1 else 'points'}"
        self._count.setText(f"{text}, {outside:,} outside the picture" if outside else text)
        self.clear_button.setEnabled(bool(points))


def _points_of(value: object) -> Points | None:
    """Return a document's value as points, or None if it is no list of points."""
    if value in (None, ""):
        return []
    if not isinstance(value, (list, tuple)):
        return None
    pairs = [list(pair) if isinstance(pair, (list, tuple)) else [] for pair in value]
    good = all(len(pair) == 2 and all(type(number) in {int, float} for number in pair) for pair in pairs)
    return [[float(number) for number in pair] for pair in pairs] if good else None
