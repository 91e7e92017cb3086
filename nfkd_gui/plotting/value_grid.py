"""A grid of runs: each cell with its figure on a ground that tells how good it is, or how far its runs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from nfkd_gui.model.value_grid import GridCell, ValueGrid
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.labels import tip

_HEAD, _TITLE, _GAP, _BAR, _LEGEND = 22, 20, 2, 4, 24
"""Heights of the columns' values and of the title, half the distance of cells, heights of progress and legend."""
_NARROWEST_SIDE, _WIDEST_SIDE = 32, 160
"""Width of the rows' values."""
_WIDEST, _HIGHEST = 220, 112
"""Largest size of a cell."""
_LOW = 20
"""Height of a cell up to which its text is small."""
_RAMP, _RAMP_STEPS, _TRACK = 120, 24, 60
"""Width of the legend's scale and its steps; opacity of the part of a bar that is not done, of 255."""
_ARROWS = {Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)}
_WORDS = {
    "queued": "waiting", "paused": "paused", "failed": "failed", "interrupted": "interrupted", "stopped": "stopped",
}  # fmt: skip
Place = tuple[int, int]


class ValueGridView(QWidget):
    """Paints a `ValueGrid`.

    Attributes
    ----------
    clicked
        Emitted with the groups of a cell: by a click, or by Space at the cell that the arrow keys lead to.
    """

    clicked = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._grid = ValueGrid((), (), {}, 0, 0, 0)
        self._shares: Mapping[Place, float] = {}
        self._titles = "", ""
        self._heads: tuple[Sequence[str], Sequence[str]] = ((), ())
        self._texts: Mapping[Place, str] = {}
        self._colours: Mapping[Place, str] = {}
        self._legend = ""
        self._cursor: Place = (0, 0)
        self.tip_of: Callable[[GridCell], str] = lambda _: ""

    def show_grid(
        self,
        grid: ValueGrid,
        *,
        shares: Mapping[Place, float],
        titles: tuple[str, str],
        heads: tuple[Sequence[str], Sequence[str]],
        texts: Mapping[Place, str],
        colours: Mapping[Place, str],
        legend: str = "",
    ) -> None:
        """Show a grid.

        Parameters
        ----------
        shares
            How good each cell is, 0 to 1.
        titles, heads
            Of columns and rows: the settings, and their values as texts.
        texts
            The figure of each cell that has one.
        colours
            The colours of chosen cells.
        legend
            The name of the figure, with its unit.
        """
        self._grid, self._shares, self._titles, self._heads = grid, shares, titles, heads
        self._texts, self._colours, self._legend = texts, colours, legend
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(scaled(360), scaled(240))

    # --- geometry -------------------------------------------------------------------------------------------------

    def rect_of(self, place: Place) -> QRectF:
        """Return the rectangle of a cell by (row, column)."""
        left, top = self._origin()
        width, height = self._cell_size()
        row, column = place
        return QRectF(left + column * width, top + row * height, width, height)

    def _origin(self) -> tuple[float, float]:
        return (self._side() if self._titles[1] else scaled(_GAP)), scaled(_TITLE + _HEAD)

    def _side(self) -> int:
        """Return the width that the rows' values need."""
        metrics = QFontMetrics(font("caption"))
        widest = max(map(metrics.horizontalAdvance, self._heads[1]), default=0) + scaled(16)
        return min(max(widest, scaled(_NARROWEST_SIDE)), scaled(_WIDEST_SIDE))

    def _cell_size(self) -> tuple[float, float]:
        left, top = self._origin()
        width = (self.width() - left) / max(1, len(self._grid.columns))
        height = (self.height() - top - scaled(_LEGEND)) / max(1, len(self._grid.rows))
        return min(width, scaled(_WIDEST)), min(height, scaled(_HIGHEST))

    def place_at(self, point: QPoint) -> Place | None:
        """Return the cell at a point; None where there is none with runs."""
        return next((place for place in self._grid.cells if self.rect_of(place).contains(point.toPointF())), None)

    # --- painting -------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_heads(painter)
        for place, cell in self._grid.cells.items():
            self._paint_cell(painter, place, cell)
        self._paint_legend(painter)
        painter.end()

    def _paint_heads(self, painter: QPainter) -> None:
        left, top = self._origin()
        width, height = self._cell_size()
        painter.setFont(font("strong"))
        painter.setPen(QColor(tokens().text))
        middle = Qt.AlignmentFlag.AlignVCenter
        title = f"{self._titles[1]}  ↓   {self._titles[0]}  →" if self._titles[1] else self._titles[0]
        painter.drawText(QRectF(0, 0, self.width(), scaled(_TITLE)), middle, _fitting(painter, title, self.width()))
        painter.setFont(font("caption"))
        painter.setPen(QColor(tokens().muted))
        widest = max(map(painter.fontMetrics().horizontalAdvance, self._heads[0]), default=0) + scaled(4)
        stride = max(1, min(-(-widest // max(1, round(width))), len(self._heads[0])))
        for number, text in list(enumerate(self._heads[0]))[::stride]:  # a value is left out rather than cut
            centre = left + (number + 0.5) * width
            place = QRectF(centre - stride * width / 2, scaled(_TITLE), stride * width, scaled(_HEAD))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, _fitting(painter, text, place.width()))
        for number, text in enumerate(self._heads[1] if self._titles[1] else ()):
            place = QRectF(0, top + number * height, left - scaled(8), height)
            right = middle | Qt.AlignmentFlag.AlignRight
            painter.drawText(place, right, _fitting(painter, text, place.width()))

    def _paint_cell(self, painter: QPainter, place: Place, cell: GridCell) -> None:
        colours, rect = tokens(), self.rect_of(place).adjusted(_GAP, _GAP, -_GAP, -_GAP)
        ground = self._ground(place, cell)
        painter.setPen(QPen(QColor(colours.border), 1))
        if place in self._colours:  # a ring, apart from the ground, which may have its colour
            painter.setPen(QPen(QColor(self._colours[place]), scaled(3)))
            painter.setBrush(QColor(colours.panel))
            painter.drawRoundedRect(rect, scaled(4), scaled(4))
            painter.setPen(Qt.PenStyle.NoPen)
            rect = rect.adjusted(scaled(4), scaled(4), -scaled(4), -scaled(4))
        painter.setBrush(ground)
        painter.drawRoundedRect(rect, scaled(4), scaled(4))
        texts = rect
        if cell.state in {"running", "paused"}:
            texts = rect.adjusted(0, 0, 0, -scaled(_BAR))
            painter.setPen(Qt.PenStyle.NoPen)
            bar = QRectF(rect.left(), rect.bottom() - scaled(_BAR), rect.width(), scaled(_BAR))
            ink = _ink(ground)
            painter.fillRect(bar, QColor(ink.red(), ink.green(), ink.blue(), _TRACK))
            bar.setWidth(rect.width() * cell.progress)
            painter.fillRect(bar, ink)
        self._paint_texts(painter, texts, place, cell, ground)
        if self.hasFocus() and place == self._cursor:
            painter.setPen(QPen(_ink(ground), 1, Qt.PenStyle.DashLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect.adjusted(4, 4, -4, -4), scaled(2), scaled(2))

    def _ground(self, place: Place, cell: GridCell) -> QColor:
        share = self._shares.get(place)
        if share is not None:
            return _shade(share)
        return QColor(tokens().error_soft if cell.state == "failed" else tokens().raised)

    def _paint_texts(self, painter: QPainter, rect: QRectF, place: Place, cell: GridCell, ground: QColor) -> None:
        """Write the figure, and below it the state of a cell that is not finished, each if it fits."""
        figure, state = self._texts.get(place, ""), self._state(cell)
        lines = [(figure, "strong" if self._shares.get(place) == 1.0 else "body")] if figure else []
        lines += [(state, "caption")] if state else []
        if not lines:
            lines = [("–", "caption")]
        heights = [QFontMetrics(font(kind)).height() for _, kind in lines]
        if sum(heights) > rect.height():
            lines, heights = lines[:1], heights[:1]
        top = rect.center().y() - sum(heights) / 2
        failed = cell.state == "failed" and not figure
        painter.setPen(QColor(tokens().error) if failed else _ink(ground))
        for (text, kind), height in zip(lines, heights, strict=True):
            for face in dict.fromkeys((kind, "caption") if rect.height() > scaled(_LOW) else ("caption",)):
                painter.setFont(font(face))
                if painter.fontMetrics().horizontalAdvance(text) <= rect.width() - scaled(2):
                    line = QRectF(rect.left(), top, rect.width(), height)
                    painter.drawText(line, Qt.AlignmentFlag.AlignCenter, text)
                    break
            top += height

    @staticmethod
    def _state(cell: GridCell) -> str:
        if cell.state == "running":
            return f"{100 * cell.progress:.0f} %"
        return "" if cell.state == "finished" else _WORDS[cell.state]

    def _paint_legend(self, painter: QPainter) -> None:
        """Paint the name of the figure, and the scale of colours from the worst to the best value."""
        by_share = sorted(self._shares, key=lambda place: self._shares[place])
        if not by_share:
            return
        place = QRectF(0, self.height() - scaled(_LEGEND), self.width(), scaled(_LEGEND))
        left, middle = place.left(), Qt.AlignmentFlag.AlignVCenter
        painter.setFont(font("caption"))
        painter.setPen(QColor(tokens().muted))
        worst, best = self._texts.get(by_share[0], ""), self._texts.get(by_share[-1], "")
        scale = worst != best
        for text in (self._legend, f"worst {worst}" if scale else ""):
            painter.drawText(place.adjusted(left, 0, 0, 0), middle, text)
            left += painter.fontMetrics().horizontalAdvance(text) + scaled(12)
        if not scale:
            return
        step, top = scaled(_RAMP) / _RAMP_STEPS, place.center().y() - scaled(5)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for number in range(_RAMP_STEPS):
            box = QRectF(left + number * step, top, step + 1, scaled(10))
            painter.fillRect(box, _shade(number / (_RAMP_STEPS - 1)))
        painter.drawText(place.adjusted(left + scaled(_RAMP) + scaled(8), 0, 0, 0), middle, f"best {best}")

    # --- pointer and keys -----------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = self.place_at(event.position().toPoint())
        if place is not None and event.button() == Qt.MouseButton.LeftButton:
            self._cursor = place
            self.clicked.emit(self._grid.cells[place].keys)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key == Qt.Key.Key_Space and self._cursor in self._grid.cells:
            self.clicked.emit(self._grid.cells[self._cursor].keys)
        elif key in _ARROWS:
            row, column = (place + step for place, step in zip(self._cursor, _ARROWS[key], strict=True))
            ends = len(self._grid.rows) - 1, len(self._grid.columns) - 1
            self._cursor = max(0, min(row, ends[0])), max(0, min(column, ends[1]))
            self.update()
        else:
            super().keyPressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        inside = self.place_at(event.position().toPoint()) is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if inside else Qt.CursorShape.ArrowCursor)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent):
            place = self.place_at(event.pos())
            text = self.tip_of(self._grid.cells[place]) if place is not None else ""
            QToolTip.showText(event.globalPos(), tip(text) if text else "", self)
            return True
        return super().event(event)


def _fitting(painter: QPainter, text: str, width: float) -> str:
    return painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, round(width))


def _blend(low: str, high: str, share: float) -> QColor:
    first, second = QColor(low), QColor(high)
    mixed = [
        round(one + share * (other - one))
        for one, other in zip(first.getRgb()[:3], second.getRgb()[:3], strict=True)  # type: ignore[index]
    ]
    return QColor(*mixed)


def _shade(share: float) -> QColor:
    """Return the ground of a cell, 0 for the worst and 1 for the best."""
    return _blend(tokens().panel, tokens().fill, 0.12 + 0.88 * share)


def _ink(ground: QColor) -> QColor:
    """Return the colour of text on a ground: the one with the larger contrast."""
    return max((QColor("#FFFFFF"), QColor("#171A1F")), key=lambda ink: contrast(ink, ground))


def contrast(one: QColor, other: QColor) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.1)."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: QColor) -> float:
    def linear(channel: float) -> float:
        return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(channel) for channel in (colour.redF(), colour.greenF(), colour.blueF()))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
