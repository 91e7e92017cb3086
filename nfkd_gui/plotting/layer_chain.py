"""An example on its way through two flows: its states as small pictures, matched layers in one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from nfkd.protocol.roles import Role, role_label
from nfkd.text import subscript
from nfkd_gui.plotting.plots import AXIS_WIDTH
from nfkd_gui.theme import font, role_colour, scaled, tokens

_HEAD, _FOOT, _GAP, _WIDEST, _LARGEST, _SMALLEST = 36, 18, 34, 51, 72, 20
"""Room above and below the rows, least and widest gap between two, and the sides of a picture."""
_BEST, _APART, _THIN = 38, 3, 12
"""Width of a picture below which others are left out instead, the least room between two, and the width of a strip."""
_BREAK = 0.7
"""Room between two levels, in columns."""
_END = 1.0, 36
"""Least room behind the centre of the last column, in columns and in pixels; for the numbers at the lines' ends."""


@dataclass(frozen=True)
class ChainRow:
    """A flow's states.

    Attributes
    ----------
    pictures
        The example, then the state after each layer.
    columns
        Of the pictures, ascending.
    levels, numbers
        For each picture: the name of its level, and its number in that level; empty for the example.
    splits
        Numbers of the pictures after which latents leave.
    """

    role: Role
    pictures: Sequence[QImage]
    columns: Sequence[int]
    levels: Sequence[str]
    numbers: Sequence[str]
    splits: Sequence[int]


@dataclass(frozen=True)
class Join:
    """A line between matched states of both rows, in the colour of their error."""

    first: int
    second: int
    colour: QColor


class LayerChain(QWidget):
    """Draws the rows, marks the present states, and tells which column was clicked."""

    chosen = Signal(int)
    """A column."""
    example_chosen = Signal()
    """The user clicked on the example itself."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("flow.chain")
        self.setAccessibleName("States of the example after each layer")
        self.setToolTip("Click on a state to go to its layer, on the example to inspect it.")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.rows: Sequence[ChainRow] = ()
        self.joins: Sequence[Join] = ()
        self.last = 0
        self.side = float(scaled(_SMALLEST))
        """The largest side of a picture."""
        self._breaks = list[int]()
        self.marked: Sequence[int] = ()

    def show_rows(self, rows: Sequence[ChainRow], joins: Sequence[Join], last: int) -> None:
        """Show other states; `last` is the column of the noise."""
        self.rows, self.joins, self.last = rows, joins, last
        self._breaks = sorted({row.columns[state] for row in rows for state in row.splits})
        self._measure()
        self.update()

    def mark(self, states: Sequence[int]) -> None:
        """Mark a state of each row."""
        if list(states) != list(self.marked):
            self.marked = states
            self.update()

    def minimumSizeHint(self) -> QSize:
        return QSize(scaled(160), scaled(_HEAD + _FOOT + _GAP + 2 * _SMALLEST))

    def sizeHint(self) -> QSize:
        return QSize(scaled(480), scaled(_HEAD + _FOOT + _GAP + 2 * 44))

    # --- where things are -----------------------------------------------------------------------------------------

    def position(self, column: float) -> float:
        """Return a column's position on the axis that the plot below has, too: there is room between two levels."""
        return column + _BREAK * sum(column > last for last in self._breaks)

    def x_of(self, column: float) -> float:
        """Return the centre of a column in pixels."""
        return scaled(AXIS_WIDTH) + (self.position(column) + 0.5) * self._room / (self.reach + 0.5)

    @property
    def _room(self) -> int:
        return self.width() - scaled(AXIS_WIDTH)

    @property
    def reach(self) -> float:
        """The position at the right edge."""
        last, (columns, pixels) = self.position(self.last), _END
        needed = scaled(pixels) * (last + 0.5) / max(self._room - scaled(pixels), 1)
        return last + max(columns, needed)

    def _measure(self) -> None:
        """Find the largest side of a picture, and leave the room that the rows do not need to the plot below."""
        rows, widest = max(1, len(self.rows)), self._widest()
        self.setMaximumHeight(int(scaled(_HEAD + _FOOT) + rows * widest + (rows - 1) * scaled(_WIDEST)))
        height = (self.height() - scaled(_HEAD) - scaled(_FOOT) - (rows - 1) * scaled(_GAP)) / rows
        self.side = max(min(height, widest), scaled(_SMALLEST))

    def _widest(self) -> float:
        """Return the largest side of a picture for which there is room in the width."""
        pitch = self.x_of(1) - self.x_of(0)
        return min(scaled(_LARGEST), max(pitch - scaled(_APART), scaled(_BEST)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._measure()

    def middle_of(self, row: int) -> float:
        """Return the height of a row's line."""
        rows = max(1, len(self.rows))
        used = scaled(_HEAD) + scaled(_FOOT) + rows * self.side
        gap = min((self.height() - used) / max(1, rows - 1), scaled(_WIDEST)) if rows > 1 else 0.0
        return scaled(_HEAD) + row * (self.side + gap) + self.side / 2

    def picture_rect(self, row: int, state: int) -> QRectF:
        """Return where the picture of a state is; pictures keep their aspect."""
        picture = self.rows[row].pictures[state]
        scale = self.side / max(picture.width(), picture.height())
        width, height = max(picture.width() * scale, scaled(_THIN)), max(picture.height() * scale, scaled(5))
        x, y = self.x_of(self.rows[row].columns[state]), self.middle_of(row)
        return QRectF(x - width / 2, y - height / 2, width, height)

    def visible_states(self, row: int) -> list[int]:
        """Return the states that are drawn: the marked and matched ones, and as many others as there is room for."""
        count = len(self.rows[row].pictures)
        joined = {(join.first, join.second)[row] for join in self.joins} if row < 2 else set[int]()
        marked = {self.marked[row]} if row < len(self.marked) else set[int]()
        spans = [self.picture_rect(row, state).adjusted(1 - scaled(_APART), 0, scaled(_APART) - 1, 0)
                 for state in range(count)]  # fmt: skip
        ends = [(span.left(), span.right()) for span in spans]
        shown: list[int] = []
        for state in sorted(range(count), key=lambda state: (state not in marked, state not in joined, _rank(state))):
            left, right = ends[state]
            if all(right <= ends[other][0] or left >= ends[other][1] for other in shown):
                shown.append(state)
        return sorted(shown)

    # --- drawing --------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        visible = [set(self.visible_states(row)) for row in range(len(self.rows))]
        for row in range(len(self.rows)):
            self._draw_line(painter, row)
        for join in self.joins:
            self._draw_join(painter, join)
        for row, states in enumerate(visible):
            for state in sorted(states):
                self._draw_state(painter, row, state)
        if self.rows:
            self._draw_levels(painter, visible[0])
        painter.end()

    def _draw_line(self, painter: QPainter, row: int) -> None:
        """Draw the name of a flow, its line, and the latents that leave."""
        shown, y = self.rows[row], self.middle_of(row)
        colour = QColor(role_colour(shown.role))
        painter.setFont(font("strong"))
        painter.setPen(colour)
        name = QRectF(0, y - scaled(11), scaled(AXIS_WIDTH), scaled(22))
        painter.drawText(name, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, role_label(shown.role))
        faint = QColor(colour)
        faint.setAlphaF(0.6)
        painter.setPen(QPen(faint, 1.5))
        painter.drawLine(QPointF(self.x_of(shown.columns[0]), y), QPointF(self.x_of(self.last), y))
        painter.setFont(font("caption"))
        for number, state in enumerate(shown.splits, start=1):
            x = (self.picture_rect(row, state).right() + self.picture_rect(row, state + 1).left()) / 2
            if shown.columns[state + 1] > shown.columns[state] + 1:
                x = self.x_of(shown.columns[state]) + (self.x_of(1) - self.x_of(0)) * (1 + _BREAK) / 2
            end = y + self.side / 2 + scaled(6)
            painter.setPen(QPen(colour, 1.5))
            painter.drawLine(QPointF(x, y), QPointF(x, end - scaled(3)))
            painter.setBrush(QColor(tokens().panel))
            painter.drawEllipse(QPointF(x, y), scaled(3.5), scaled(3.5))
            text = QRectF(x - scaled(20), end - scaled(3), scaled(40), scaled(14))
            painter.drawText(text, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, f"z{subscript(number)}")

    def _draw_join(self, painter: QPainter, join: Join) -> None:
        first, second = self.picture_rect(0, join.first), self.picture_rect(1, join.second)
        painter.setPen(QPen(join.colour, scaled(2)))
        painter.drawLine(QPointF(first.center().x(), first.bottom()), QPointF(second.center().x(), second.top()))

    def _draw_state(self, painter: QPainter, row: int, state: int) -> None:
        shown, rect = self.rows[row], self.picture_rect(row, state)
        present = row < len(self.marked) and self.marked[row] == state
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.drawImage(rect.toRect(), shown.pictures[state])  # whole pixels are drawn several times faster
        colour = tokens().accent if present else role_colour("data") if not state else tokens().border
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(colour), 2 if present else 1))
        painter.drawRect(rect.toRect().adjusted(-1, -1, 0, 0) if present else rect.toRect().adjusted(0, 0, -1, -1))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(font("caption"))
        above = row == 0
        y = self.middle_of(row) + (-self.side / 2 - scaled(16) if above else self.side / 2 + scaled(2))
        text = shown.numbers[state]
        if not state and above:
            text = "data"
        painter.setPen(QColor(tokens().accent if present else tokens().muted))
        room = QRectF(rect.center().x() - scaled(30), y, scaled(60), scaled(14))
        painter.drawText(room, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, text)

    def _draw_levels(self, painter: QPainter, visible: set[int]) -> None:
        """Write the name of each level above the middle of its columns."""
        row = self.rows[0]
        painter.setFont(font("caption"))
        painter.setPen(QColor(tokens().muted))
        top = self.middle_of(0) - self.side / 2 - scaled(34)
        for level in dict.fromkeys(row.levels):
            members = [state for state, name in enumerate(row.levels) if name == level]
            if level and visible.intersection(members):
                middle = (self.x_of(row.columns[members[0]]) + self.x_of(row.columns[members[-1]])) / 2
                room = QRectF(middle - scaled(60), top, scaled(120), scaled(14))
                painter.drawText(room, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, level)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        for row in range(len(self.rows)):
            for state in self.visible_states(row):
                if self.picture_rect(row, state).adjusted(-2, -2, 2, 2).contains(at):
                    self.chosen.emit(self.rows[row].columns[state])
                    if not state:
                        self.example_chosen.emit()
                    return


def _rank(state: int) -> tuple[int, int]:
    """Return the order in which states are drawn where there is no room for all: multiples of high powers of two."""
    return (-(state & -state) if state else -(1 << 30), state)
