"""A grid of runs: each cell with its figure on a ground that tells how good it is, or how far its runs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from nfkd_gui.model.value_grid import GridCell, ValueGrid
from nfkd_gui.theme import font, scaled, tokens
from nfkd_gui.widgets.labels import tip

_HEAD, _SIDE, _TITLE, _GAP, _BAR = 22, 96, 20, 2, 4
_WIDEST, _HIGHEST = 160, 72
"""Largest size of a cell."""
_NARROW = 44
"""Width of a cell below which it shows no text."""
_WORDS = {"queued": "waiting", "running": "", "paused": "paused", "interrupted": "interrupted", "stopped": "stopped"}
Place = tuple[int, int]


class ValueGridView(QWidget):
    """Paints a `ValueGrid`.

    Attributes
    ----------
    clicked
        Emitted with the groups of a cell.
    """

    clicked = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self._grid = ValueGrid((), (), {}, 0, 0, 0)
        self._shares: Mapping[Place, float] = {}
        self._titles = "", ""
        self._heads: tuple[Sequence[str], Sequence[str]] = ((), ())
        self._texts: Mapping[Place, str] = {}
        self._colours: Mapping[Place, str] = {}
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
        """
        self._grid, self._shares, self._titles, self._heads = grid, shares, titles, heads
        self._texts, self._colours = texts, colours
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
        return (scaled(_SIDE) if self._titles[1] else scaled(_GAP)), scaled(_TITLE + _HEAD)

    def _cell_size(self) -> tuple[float, float]:
        left, top = self._origin()
        width = (self.width() - left) / max(1, len(self._grid.columns))
        height = (self.height() - top) / max(1, len(self._grid.rows))
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
        for number, text in enumerate(self._heads[0]):
            place = QRectF(left + number * width, scaled(_TITLE), width, scaled(_HEAD))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, _fitting(painter, text, width - scaled(4)))
        for number, text in enumerate(self._heads[1] if self._titles[1] else ()):
            place = QRectF(0, top + number * height, left - scaled(8), height)
            right = middle | Qt.AlignmentFlag.AlignRight
            painter.drawText(place, right, _fitting(painter, text, place.width()))

    def _paint_cell(self, painter: QPainter, place: Place, cell: GridCell) -> None:
        colours, rect = tokens(), self.rect_of(place).adjusted(_GAP, _GAP, -_GAP, -_GAP)
        share = self._shares.get(place)
        failed = cell.state == "failed"
        ground = QColor(colours.error_soft if failed else colours.raised)
        if share is not None:
            ground = _blend(colours.panel, colours.fill, 0.12 + 0.88 * share)
        painter.setPen(QPen(QColor(colours.border), 1))
        if place in self._colours:
            painter.setPen(QPen(QColor(self._colours[place]), scaled(3)))
        painter.setBrush(ground)
        painter.drawRoundedRect(rect, scaled(4), scaled(4))
        if cell.state in {"running", "paused"}:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(colours.accent))
            bar = QRectF(rect.left(), rect.bottom() - scaled(_BAR), rect.width() * cell.progress, scaled(_BAR))
            painter.drawRect(bar)
        if rect.width() >= scaled(_NARROW):
            painter.setFont(font("body" if place in self._texts else "caption"))
            painter.setPen(_ink(ground, failed=failed))
            text = _fitting(painter, self._text(place, cell), rect.width() - scaled(8))
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)

    def _text(self, place: Place, cell: GridCell) -> str:
        if cell.state == "failed":
            return "failed"
        if place in self._texts:
            return self._texts[place]
        return _WORDS.get(cell.state, "") or (f"{100 * cell.progress:.0f} %" if cell.state == "running" else "–")

    # --- pointer --------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = self.place_at(event.position().toPoint())
        if place is not None and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(self._grid.cells[place].keys)

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


def _ink(ground: QColor, *, failed: bool) -> QColor:
    """Return the colour of text on a ground: the one with the larger contrast."""
    if failed:
        return QColor(tokens().error)
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
