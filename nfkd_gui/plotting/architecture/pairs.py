"""The lines between matched layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPainterPathStroker, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from nfkd.protocol.roles import Role
from nfkd_gui.model.layer_choice import Side
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.labels import tip

WIDTH, HANDLE, REACH = 3, 9, 20
"""Width of a line; diameter of a handle, and of the area in which it can be grasped."""
_MARGIN = 12


@dataclass(frozen=True)
class Pair:
    """A matched pair of layers.

    Attributes
    ----------
    learner, source
        The flow that learns, and the flow that it learns from.
    index
        Its index among the pairs of the learner.
    student, teacher
        The names of the layers.
    labels
        Their labels.
    weight
        Its weight in the loss; 0 only measures it.
    error
        The last matching error of the shown run; None if there is none.
    problem
        What is wrong with it; may be empty.
    """

    learner: Role
    source: Role
    index: int
    student: str
    teacher: str
    labels: tuple[str, str]
    weight: float = 1.0
    error: float | None = None
    problem: str = ""

    @property
    def key(self) -> tuple[Role, int]:
        """What identifies it."""
        return self.learner, self.index

    @property
    def text(self) -> str:
        """Everything about it."""
        error = f" · error {self.error:.3g} (mean square)" if self.error is not None else ""
        weight = "measured only" if self.weight == 0 else f"weight {self.weight:g}"
        problem = f" · {self.problem}" if self.problem else ""
        learner, source = (role.replace("-", " ") for role in (self.learner, self.source))
        return f"{learner} {self.labels[0]} ↔ {source} {self.labels[1]} · {weight}{error}{problem}".capitalize()


class PairItem(QGraphicsItem):
    """Draws a `Pair` from the student's block up to the teacher's.

    Attributes
    ----------
    is_selected, is_current, is_dragged
        Whether it was chosen, has the keyboard's focus, or an end of it follows the pointer.
    labelled
        Whether its error is shown.
    """

    def __init__(self, pair: Pair, start: QPointF, end: QPointF) -> None:
        super().__init__()
        self.pair = pair
        self._start, self._end = start, end
        self._colour = QColor(tokens().muted)
        self.is_selected = self.is_current = self.is_dragged = False
        self.labelled = pair.error is not None
        self.setToolTip(tip(pair.text))
        self.setZValue(3)

    def end(self, side: Side) -> QPointF:
        """Return where it ends."""
        return self._start if side == "student" else self._end

    def move_end(self, side: Side, point: QPointF) -> None:
        """Let an end follow the pointer."""
        self.prepareGeometryChange()
        if side == "student":
            self._start = point
        else:
            self._end = point

    def show_error(self, error: float | None, colour: QColor) -> None:
        """Show another error in its colour."""
        if (error, colour) != (self.pair.error, self._colour):
            self.prepareGeometryChange()
            self.pair, self._colour = replace(self.pair, error=error), colour
            self.setToolTip(tip(self.pair.text))
            self.update()

    def update_marks(self, *, selected: bool, current: bool, dragged: bool = False) -> None:
        """Set what is special about it."""
        if (selected, current, dragged) != (self.is_selected, self.is_current, self.is_dragged):
            self.is_selected, self.is_current, self.is_dragged = selected, current, dragged
            self.setZValue(5 if dragged or selected else 3)
            self.update()

    @property
    def colour(self) -> QColor:
        """The colour of its line."""
        if self.is_dragged or (self.pair.error is None and self.is_selected):
            return QColor(tokens().accent)
        return QColor(tokens().error) if self.pair.problem else self._colour

    def path(self) -> QPainterPath:
        """Return its curve."""
        path, middle = QPainterPath(self._start), (self._start.y() + self._end.y()) / 2
        path.cubicTo(QPointF(self._start.x(), middle), QPointF(self._end.x(), middle), self._end)
        return path

    def label_rect(self) -> QRectF:
        """Return the rectangle of its label."""
        middle = self.path().pointAtPercent(0.5)
        width = QFontMetricsF(_label_font()).horizontalAdvance(self._label()) + scaled(12)
        height = scaled(20)
        return QRectF(middle.x() - width / 2, middle.y() - height / 2, width, height)

    def _label(self) -> str:
        return "" if self.pair.error is None else f"{self.pair.error:.3g}"

    def boundingRect(self) -> QRectF:
        margin = scaled(_MARGIN)
        return self.path().boundingRect().united(self.label_rect()).adjusted(-margin, -margin, margin, margin)

    def shape(self) -> QPainterPath:
        stroker = QPainterPathStroker()
        stroker.setWidth(scaled(_MARGIN))
        found = stroker.createStroke(self.path())
        if self.labelled:
            found.addRect(self.label_rect())
        return found

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        del option, widget
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.is_current or self.is_selected:
            glow = QColor(tokens().accent)
            glow.setAlphaF(0.35)
            painter.setPen(QPen(glow, scaled(WIDTH) + scaled(6)))
            painter.drawPath(self.path())
        style = Qt.PenStyle.DashLine if self.pair.weight == 0 else Qt.PenStyle.SolidLine
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self.colour, scaled(WIDTH), style))
        painter.drawPath(self.path())
        painter.setPen(QPen(self.colour, 2))
        painter.setBrush(self.colour if self.is_dragged else QColor(tokens().panel))
        radius = scaled(HANDLE) / 2
        for point in (self._start, self._end):
            painter.drawEllipse(point, radius, radius)
        if self.pair.error is not None and (self.labelled or self.is_selected or self.is_current):
            self._paint_label(painter)

    def _paint_label(self, painter: QPainter) -> None:
        rect = self.label_rect()
        painter.setPen(QPen(self.colour, 1))
        painter.setBrush(QColor(tokens().panel))
        painter.drawRoundedRect(rect, scaled(4), scaled(4))
        painter.setFont(_label_font())
        painter.setPen(QColor(tokens().text))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, self._label())


def _label_font() -> QFont:
    return font("caption")
